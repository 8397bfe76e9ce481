from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Features, InputError
from regimeshift.spans import spans
from regimeshift.windows import Windows
from strategies import Pool


def every(freq, length=1000):
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (length, 1)).cumsum(axis=0))
    return Bars.make(pd.date_range("2000-01-31", periods=length, freq=freq), ["A"], close)


@pytest.mark.parametrize(
    ("freq", "year", "quarter", "volatility", "task"),
    [
        ("min", 252, 63, 63, 60),
        ("D", 252, 63, 63, 60),
        ("B", 252, 63, 63, 60),
        ("W-FRI", 52, 13, 13, 12),
        ("ME", 12, 3, 12, 12),
    ],
)
def test_windows_are_of_the_same_time_for_longer_bars(freq, year, quarter, volatility, task):
    found = Windows.of(every(freq))
    assert (found.year, found.lookback, found.quarter, found.volatility, found.task) == (
        year,
        year,
        quarter,
        volatility,
        task,
    )
    assert found.features == Features.scaled(year)
    assert found.features.lookback == year


@pytest.mark.parametrize(("freq", "year"), [("1D", 252), ("2D", 183), ("3D", 122), ("4D", 91)])
def test_regression_bars_of_some_days_have_the_windows_of_the_same_time(freq, year):
    """Those of two and three days had 252 bars in a year."""
    assert Windows.of(every(freq)).year == year


def test_every_other_session_is_half_a_year_of_sessions():
    bars = every("B", 1001)
    other = Bars.make(bars.index[::2], ["A"], bars.close[::2])
    assert Windows.of(other).year == pytest.approx(126, abs=5)


def test_regression_rows_on_which_nothing_trades_are_no_bars():
    """On calendar days a task had more rows than it had on sessions."""
    bars = every("B", 700)
    index = pd.date_range(bars.index[0], bars.index[-1])
    close = pd.DataFrame(bars.close, index=bars.index).reindex(index).to_numpy()
    assert Windows.of(Bars.make(index, ["A"], close)) == Windows.of(bars)
    assert spans(Bars.make(index, ["A"], close), None, None) == spans(bars, None, None)


def test_a_lookback_shortens_the_features_alone():
    found = Windows.of(every("D"), lookback=50)
    assert (found.year, found.task, found.features.lookback) == (252, 60, 50)
    assert Windows.of(every("D", 500), lookback=50).task == 37  # a twelfth of what is left
    assert found.needed == 50 + 1 + 5 * 60


def test_the_pool_of_long_daily_bars_is_the_default_one():
    assert Windows.of(every("B", 6000)).pool == Pool()
    assert Windows.of(every("B", 6000)).query == 126
    shorter = Windows.of(every("B", 6000), lookback=126).pool
    assert (shorter.volatilities, shorter.window, shorter.shortest) == ((5, 10, 21, 32, 63, 126), 378, 63)
    assert Windows.of(every("min", 6000)).pool == replace(Pool(), every="bar")
    yearly = Windows.of(every("W-FRI", 3000)).pool
    assert (yearly.volatilities, yearly.window, yearly.every) == ((2, 4, 9, 13, 26, 52), 156, "bar")


@pytest.mark.parametrize("freq", ["B", "W-FRI", "ME", "min"])
@pytest.mark.parametrize("lookback", [None, 4, 30, 400])
def test_estimates_are_warm_before_the_test_on_the_fewest_bars(freq, lookback):
    found = Windows.of(every(freq, 1000), lookback)
    bars = every(freq, found.needed)
    fewest = Windows.of(bars, lookback)
    pool = fewest.pool
    row = int(fewest.lookback + 0.55 * (len(bars) - fewest.lookback))  # as `spans` has it
    assert pool.lookback + 1 <= row
    assert 2 <= pool.shortest <= fewest.lookback
    assert fewest.query >= fewest.shortest


def test_features_are_scaled_from_the_default():
    assert Features.scaled(252) == Features()
    assert [part.horizon for part in Features.scaled(12).parts[:3]] == [1, 3, 12]
    for lookback in (4, 5, 12, 20, 52, 100, 1000):
        assert Features.scaled(lookback).lookback == lookback
    with pytest.raises(InputError, match="lookback is 3; it must be at least 4"):
        Features.scaled(3)
