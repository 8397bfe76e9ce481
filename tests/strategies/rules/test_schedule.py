import numpy as np
import pandas as pd
import pytest

from markets import Bars, InputError
from strategies.rules.schedule import check_period, period_starts

INDEX = pd.date_range("2023-12-27", "2025-01-03")


def bars_on(index):
    return Bars.make(index, ["A"], np.full((len(index), 1), 10.0))


@pytest.mark.parametrize(("every", "freq"), [("week", "W"), ("month", "M"), ("quarter", "Q"), ("year", "Y")])
def test_periods_are_those_of_pandas(every, freq):
    period = INDEX.to_period(freq)
    expected = np.append(True, period[1:] != period[:-1])
    np.testing.assert_array_equal(period_starts(bars_on(INDEX), every), expected)
    assert period_starts(bars_on(INDEX), "day").all()


def test_a_month_starts_in_the_bars_own_zone():
    index = pd.date_range("2024-01-31 20:00", periods=10, freq="h", tz="America/New_York")
    assert np.flatnonzero(period_starts(bars_on(index), "month")).tolist() == [0, 4]  # it is 5 in the morning in UTC
    assert np.flatnonzero(period_starts(bars_on(index.tz_convert("UTC")), "month")).tolist() == [0]


def test_a_period_starts_when_something_trades():
    close = np.full((len(INDEX), 1), 10.0)
    close[[0, 5, 6, 7]] = np.nan  # 5 is New Year's Day
    starts = period_starts(Bars.make(INDEX, ["A"], close), "year")
    assert np.flatnonzero(starts).tolist() == [1, 8, int(INDEX.get_loc("2025-01-01"))]
    there = np.isfinite(close[:, 0])
    np.testing.assert_array_equal(period_starts(Bars.make(INDEX, ["A"], close), "bar"), there)


def test_history_counts():
    whole = period_starts(bars_on(INDEX), "month")
    np.testing.assert_array_equal(period_starts(bars_on(INDEX)[40:60], "month"), whole[:60])


def test_what_is_no_period():
    with pytest.raises(InputError, match="every is 'fortnight'; use bar, day, week, month"):
        check_period("rule", "fortnight")
