import pytest

from markets import InputError
from strategies.named import strategy_from_name


def test_windows_that_are_not_given_suit_the_bars():
    assert strategy_from_name("momentum", year=12).window == 12
    assert strategy_from_name("momentum:7", year=12).window == 7
    assert strategy_from_name("inverse_volatility", volatility=13).window == 13


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("equal_weight", "equal weight"),
        ("buy_and_hold", "buy and hold"),
        ("inverse_volatility", "inverse volatility"),
        ("inverse_volatility:20", "inverse volatility"),
        ("momentum:60", "momentum 60"),
        ("momentum", "momentum 252"),
    ],
)
def test_rules_by_name(text, name):
    assert strategy_from_name(text).name == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("luck", "rule 'luck' is unknown; use equal_weight"),
        ("momentum:²", "window must be a whole number"),
        ("equal_weight:5", "is unknown"),
        ("nowhere.py:Thing", "nowhere.py: no such file"),
    ],
)
def test_what_is_no_rule(text, message):
    with pytest.raises(InputError, match=message):
        strategy_from_name(text)
