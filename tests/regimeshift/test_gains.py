import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.significance import Interval, paired
from regimeshift.gains import show_gains, worded
from strategies import BuyAndHold, EqualWeight, InverseVolatility


def test_a_difference_in_plain_words():
    gap = Interval(np.log(0.86), np.log(0.8), np.log(0.92), 5.0)
    assert worded(gap, np.expm1, 0) == "−14 % [−20 %, −8 %]"
    assert worded(Interval(0.006, -0.002, 0.014, 5.0), float, 1) == "+0.6 % [−0.2 %, +1.4 %]"
    assert worded(Interval(0.006, np.nan, np.nan, np.nan), float, 1) == "+0.6 %, of too few bars for an interval"
    assert worded(Interval(np.nan, np.nan, np.nan, np.nan), float, 1) == "cannot be told"


def test_the_gain_is_that_of_the_paired_accounts(capsys):
    bars = samples.regime_bars(600, 3, 0)
    result = walk_forward([InverseVolatility(20), EqualWeight(), BuyAndHold()], bars, progress=False)
    name, other = result.backtests[0].name, "equal weight"
    found = show_gains(result, name, (other, name))
    gap = paired(result[name], result[other], "log variance")
    assert found["gain/log variance/equal weight/value"] == pytest.approx(np.expm1(gap.value))
    assert found["gain/log variance/equal weight/low"] <= found["gain/log variance/equal weight/value"]
    text = capsys.readouterr().out
    assert worded(gap, np.expm1, 0) in text
    assert f"against {name}" in text
    assert "the same account" in text
    show_gains(result, name, (other,), of_variance=False)
    assert "variance" not in capsys.readouterr().out


def test_a_record_too_short_for_an_interval(capsys):
    bars = samples.regime_bars(40, 3, 0)
    result = walk_forward([EqualWeight(), InverseVolatility(5)], bars[20:], progress=False)
    found = show_gains(result, "equal weight", [result.backtests[1].name])
    assert not any(key.endswith(("low", "high")) for key in found)
    assert "of too few bars for an interval" in capsys.readouterr().out
