import pytest

from markets import InputError
from strategies import Momentum, MovingAverageCross
from strategies.classes import CLASSES, class_from_name


def test_names_are_those_of_the_rules():
    assert class_from_name("moving_average_cross") is MovingAverageCross
    assert class_from_name("momentum") is Momentum
    assert {"donchian", "equal_weight", "inverse_volatility"} <= set(CLASSES)


def test_a_class_of_a_users_file_takes_settings(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from strategies import Momentum\n"
        "class Mine(Momentum):\n"
        "    pass\n"
        "ready = Mine(3)\n"
    )  # fmt: skip
    assert class_from_name(f"{file}:Mine")(window=7).window == 7
    assert class_from_name(f"{file}:ready")().window == 3
    with pytest.raises(InputError, match="is a strategy already; give its class, which takes window"):
        class_from_name(f"{file}:ready")(window=7)


def test_what_is_unknown_is_refused():
    with pytest.raises(InputError, match=r"rule 'cross' is unknown; use .*buy_and_hold, "):
        class_from_name("cross")
