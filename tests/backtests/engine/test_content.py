import os
import subprocess
import sys
from enum import Enum

import numpy as np
import pandas as pd
import pytest
import torch

from backtests.engine.content import digest
from strategies import EqualWeight, InverseVolatility, Momentum


def test_equal_objects_have_equal_digests_and_others_do_not():
    assert digest(Momentum(50)) == digest(Momentum(50))
    different = [
        Momentum(50), Momentum(51), EqualWeight(), InverseVolatility(), 1, 1.0, True, "1", None, b"1", (1,), [1], {1: 1}, {1},
        np.ones(2), np.ones(3), np.ones(2, dtype=np.float32), np.zeros(2), torch.ones(2), pd.Timestamp("2020"),
        pd.Series([1.0], name="a"), pd.Series([1.0], name="b"), pd.DataFrame({"a": [1.0]}), pd.DateOffset(years=1),
        pd.DateOffset(years=2), Momentum, Momentum(50).plan, lambda: 1, lambda: 2, lambda: 1 + 1j,
    ]  # fmt: skip
    assert len({digest(x) for x in different}) == len(different)


def test_containers_are_told_by_content_not_order_of_insertion():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({1, 2, 3}) == digest({3, 2, 1})
    assert digest([1, 2]) != digest([2, 1])


def test_closures_defaults_and_enums_count():
    class Colour(Enum):
        RED = 1
        BLUE = 2

    def adder(n):
        return lambda x: x + n

    assert digest(adder(1)) != digest(adder(2))
    assert digest(adder(1)) == digest(adder(1))
    assert digest(Colour.RED) != digest(Colour.BLUE)


def test_circles_end():
    a: list = [1]
    a.append(a)
    assert digest(a) == digest(a)


def test_what_is_computed_and_kept_does_not_count(bars):
    before = digest(bars)
    assert bars.hash
    assert bars.listed.any()
    assert digest(bars) == before


def test_slots_and_what_cannot_be_told():
    class Slotted:
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

    assert digest(Slotted(1)) != digest(Slotted(2))
    with pytest.raises(TypeError, match="the content of a list_iterator"):
        digest(iter([1]))


def test_learners_and_policies(meta):
    from metalearner import MAML, RL2, Ensemble, Training

    assert digest(RL2()) == digest(RL2())
    assert digest(RL2()) != digest(RL2(training=Training(seed=1)))
    assert digest(Ensemble(MAML())) != digest(MAML())
    assert digest(meta) == digest(meta)
    assert digest(meta) != digest(meta.shrunk(0.5, meta.name))


@pytest.mark.process
def test_a_digest_is_the_same_in_another_process():
    code = (
        "from backtests.engine.content import digest; from metalearner import RL2; from strategies import Momentum; "
        "print(digest(RL2(), Momentum(3), {'b': 1, 'a': {2, 'x'}}))"
    )
    from metalearner import RL2

    expected = digest(RL2(), Momentum(3), {"a": {"x", 2}, "b": 1})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == expected


def test_a_users_file_counts_as_code(tmp_path):
    from strategies.user_file import load_strategy

    text = "from strategies import EqualWeight\n\n\nclass Mine(EqualWeight):\n    name = 'mine'\n"
    digests = []
    for k, more in enumerate(("", "\n# another\n")):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "mine.py").write_text(text + more)
        digests.append(digest(load_strategy(f"{folder / 'mine.py'}:Mine")()))
    assert digests[0] != digests[1]
