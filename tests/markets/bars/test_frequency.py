import numpy as np
import pandas as pd
import pytest

from markets import Bars, InputError, check, load
from markets.bars.frequency import differing, resampled_together, spacings
from markets.quality.calendars import sessions

AT = sessions("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-03-28"))


def hours(zone=None):
    """Hourly bars of New York's sessions, six a day, stamped at their ends in New York's time."""
    index = pd.DatetimeIndex(np.concatenate([pd.date_range(o, periods=7, freq="h")[1:] for o in AT.opens]))
    index = index.tz_convert("America/New_York")
    return index if zone else index.tz_localize(None)


def panel(**series):
    """Bars of the union of the symbols' times."""
    frame = pd.concat(series, axis=1).sort_index()
    return Bars.make(frame.index, list(frame.columns), frame.to_numpy())


def ramp(index, start=100.0):
    return pd.Series(start + np.arange(len(index)), index)


def test_regression_hourly_beside_daily_bars_are_seen(tmp_path):
    """They were "Spacing 1:00:00", and everything was annualised by 531 bars a year."""
    mixed = panel(HOURLY=ramp(hours()), DAILY=ramp(AT.days))
    assert [str(s) for s in spacings(mixed).values()] == ["intraday (every 01:00:00)", "daily"]
    assert differing(mixed) == "HOURLY is intraday (every 01:00:00), DAILY is daily: resample all to 1D"
    report = check(mixed)
    (found,) = [f for f in report.findings if f.kind == "mixed frequency"]
    assert (found.symbol, found.severity, found.detail) == ("(all)", "error", differing(mixed))
    assert report.facts["spacing"] == "differs from symbol to symbol"
    for symbol, index in (("HOURLY", hours()), ("DAILY", AT.days)):
        ramp(index).rename("close").rename_axis("date").to_csv(tmp_path / f"{symbol}.csv")
    with pytest.raises(
        InputError, match=r"HOURLY is intraday .* resample all to 1D, with load\(..., resample=\) or --res"
    ):
        load(tmp_path)
    daily = load(tmp_path, resample="1D")
    assert differing(daily) == ""
    assert daily.bars_per_year == pytest.approx(252, abs=8)


def test_regression_a_date_is_resampled_with_the_hours_of_its_day():
    """Joined at midnight, the close of a date would have stood beside the hours of the day before: lookahead."""
    both = resampled_together(panel(HOURLY=ramp(hours()), DAILY=ramp(AT.days, 1000.0)), "1D")
    assert both.index.equals(AT.days)
    last = ramp(hours()).groupby(hours().normalize()).last()
    np.testing.assert_array_equal(both.close[:, both.symbols.index("HOURLY")], last.to_numpy())
    np.testing.assert_array_equal(both.close[:, both.symbols.index("DAILY")], ramp(AT.days, 1000.0).to_numpy())
    weeks = resampled_together(panel(HOURLY=ramp(hours()), DAILY=ramp(AT.days, 1000.0)), "W-FRI")
    assert weeks.index[0] == pd.Timestamp("2024-01-05")
    assert dict(zip(weeks.symbols, weeks.close[0], strict=True)) == {"DAILY": 1003.0, "HOURLY": 123.0}


def test_one_frequency_is_resampled_as_bars_do():
    bars = panel(A=ramp(hours()), B=ramp(hours()))
    np.testing.assert_array_equal(resampled_together(bars, "1D").close, bars.resample("1D").close)


def test_weekly_beside_daily_bars_are_seen():
    weeks = AT.days[AT.days.day_of_week == 4]
    assert "DAILY is daily, WEEKLY is weekly: resample all to W-FRI" in differing(
        panel(DAILY=ramp(AT.days), WEEKLY=ramp(weeks))
    )


def test_different_hours_or_quiet_symbols_are_no_other_frequency():
    every = pd.date_range(AT.days[0], AT.days[-1])
    assert differing(panel(COIN=ramp(every), STOCK=ramp(AT.days))) == ""
    minutes = pd.date_range("2024-03-01 09:30", periods=3000, freq="min")
    assert differing(panel(BUSY=ramp(minutes), QUIET=ramp(minutes[::30]))) == ""
    rare = AT.days[np.sort(np.random.default_rng(0).choice(len(AT.days), 12, replace=False))]
    assert differing(panel(DAILY=ramp(AT.days), RARE=ramp(rare))) == ""
    assert differing(panel(DAILY=ramp(AT.days), NEW=ramp(AT.days[-3:]))) == ""
