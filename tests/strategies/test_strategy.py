import numpy as np
import pytest

from strategies import Plan


def test_a_plan_is_checked():
    aim = np.zeros((3, 2))
    for change, message in (
        ({"aim": np.where(np.eye(3, 2) > 0, np.nan, aim)}, "aim at row 0, symbol 0 is nan"),
        ({"aim": aim, "band": aim - 1}, "band at row 0, symbol 0 is -1"),
        ({"aim": aim, "rate": aim + 2}, "rate at row 0, symbol 0 is 2"),
        ({"aim": aim, "band": np.zeros((2, 2))}, r"band has shape \(2, 2\), aim \(3, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Plan(**change)


def test_parts_join():
    one, two = Plan(np.ones((2, 1))), Plan(np.zeros((1, 1)), band=np.full((1, 1), 0.3))
    joined = Plan.join([one, two])
    assert joined.aim[:, 0].tolist() == [1, 1, 0]
    assert joined.band[:, 0].tolist() == [0, 0, 0.3]
    assert joined.rate is None
    assert joined[1:].aim[:, 0].tolist() == [1, 0]
