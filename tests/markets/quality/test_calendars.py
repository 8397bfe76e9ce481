"""Sessions of calendars, and their comparison with bar times."""

import numpy as np
import pandas as pd
import pytest

from markets import Bars, InputError
from markets.quality.calendars import check_index, sessions
from markets.quality.report import check

START, END = pd.Timestamp("2012-01-03"), pd.Timestamp("2016-12-30")
DAYS = sessions("XNYS", START, END).days


def kinds(index, calendar=None):
    findings, facts, missing = check_index(pd.DatetimeIndex(index), calendar)
    return {f.kind: f for f in findings}, facts, missing


def hours(name="XNYS", step="5min", first="2024-01-02", last="2024-03-28", label="end"):
    """Bar times of all sessions, in UTC."""
    at = sessions(name, pd.Timestamp(first), pd.Timestamp(last))
    days = [pd.date_range(o, c, freq=step) for o, c in zip(at.opens, at.closes, strict=True)]
    days = [day[1:] if label == "end" else day[:-1] for day in days]
    return pd.DatetimeIndex(np.concatenate([day.tz_localize(None) for day in days])).tz_localize("UTC")


def test_sessions_include_unscheduled_closures():
    days = sessions("XNYS", pd.Timestamp("2001-09-07"), pd.Timestamp("2001-09-18")).days
    assert [f"{day:%m-%d}" for day in days] == ["09-07", "09-10", "09-17", "09-18"]
    with pytest.raises(InputError, match="calendar 'XXXX' is unknown"):
        sessions("XXXX", START, END)
    with pytest.raises(InputError, match="'XKRX' is not available from 1900-01-01"):
        sessions("XKRX", pd.Timestamp("1900-01-01"), END)


@pytest.mark.parametrize(
    ("days", "name"),
    [
        (DAYS, "XNYS"),
        (pd.bdate_range(START, END), "24/5"),
        (pd.date_range(START, END), "24/7"),
        (DAYS[:5], "XNYS"),
        (DAYS[np.random.default_rng(0).random(len(DAYS)) < 0.7], "XNYS"),
    ],
)
def test_a_calendar_is_guessed_where_it_is_clear(days, name):
    found, facts, _ = kinds(days)
    assert facts["calendar"].startswith(f"{name}, ")
    assert set(found) <= {"missing session"}


def test_a_calendar_that_is_not_clear_is_not_guessed():
    days = sessions("XLON", START, END).days
    found, facts, _ = kinds(days)
    assert facts["calendar"].startswith("not guessed")
    assert found == {}
    found, facts, _ = kinds(days, "XLON")
    assert facts["calendar"] == f"XLON, as asked; bars on {len(days):,} of {len(days):,} sessions"
    assert found == {}
    found, _, _ = kinds(days, "XNYS")
    assert set(found) == {"missing session", "extra session"}


def test_missing_and_extra_sessions_are_named():
    days = DAYS.delete([100, 101, 102, 700]).union(pd.DatetimeIndex(["2014-07-04", "2015-08-08"]))
    found, facts, missing = kinds(days)
    assert facts["calendar"].startswith("XNYS, guessed")
    assert missing.tolist() == DAYS[[100, 101, 102, 700]].tolist()
    hole = found.pop("missing session")
    assert (hole.symbol, hole.severity, hole.first, hole.last, hole.count) == (
        "(all)", "warning", DAYS[100], DAYS[700], 4
    )  # fmt: skip
    assert f"the longest gap 3 from {DAYS[100]:%Y-%m-%d}" in hole.detail
    assert hole.rows.tolist() == [[99, 100], [697, 698]]
    extra = found.pop("extra session")
    assert (extra.count, extra.first, extra.last) == (2, pd.Timestamp("2014-07-04"), pd.Timestamp("2015-08-08"))
    assert found == {}


def test_data_that_lacks_most_sessions_is_an_error():
    days = DAYS[(np.arange(len(DAYS)) < 20) | (np.arange(len(DAYS)) > len(DAYS) - 200)]
    found, _, _ = kinds(days)
    assert found["missing session"].severity == "error"
    report = check(Bars.make(days, ["A"], np.arange(1.0, len(days) + 1)[:, None]))
    assert not report.ok


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        (DAYS, "no time zone, dates"),
        (DAYS.tz_localize("UTC"), "time zone UTC, dates"),
        (DAYS.tz_localize("America/New_York"), "time zone America/New_York, dates"),
        (DAYS.tz_localize("America/New_York").tz_convert("UTC"), "time zone UTC, dates"),
        (sessions("XNYS", START, END).closes, "time zone UTC, stamped at 16:00"),
        (DAYS + pd.Timedelta("16h"), "no time zone, stamped at 16:00"),
        (sessions("XNYS", START, END).closes.tz_localize(None), "no time zone, stamped at 20:00 and 21:00"),
    ],
)
def test_every_usual_stamp_of_a_day_is_the_same_day(stamps, words):
    found, facts, missing = kinds(stamps)
    assert facts["times"].startswith(words)
    assert facts["calendar"].endswith(f"bars on {len(DAYS):,} of {len(DAYS):,} sessions")
    assert len(missing) == 0
    assert found == {}


def test_tokyos_days_in_utc_are_tokyos_days():
    at = sessions("XTKS", START, END)
    found, facts, _ = kinds(at.days.tz_localize("Asia/Tokyo").tz_convert("UTC"), "XTKS")
    assert facts["calendar"].endswith(f"bars on {len(at.days):,} of {len(at.days):,} sessions")
    assert found == {}


def test_an_unfinished_last_bar_is_found():
    days = DAYS[:-1].append(pd.DatetimeIndex([DAYS[-1] + pd.Timedelta("14h32min")]))
    found, _, _ = kinds(days)
    bar = found.pop("bar time")
    assert (bar.severity, bar.count, bar.first) == ("warning", 1, DAYS[-1] + pd.Timedelta("14h32min"))
    assert "may be unfinished" in bar.detail
    assert found == {}


def test_weeks_are_not_compared_with_days():
    found, facts, _ = kinds(pd.date_range("2012-01-06", periods=200, freq="W-FRI"))
    assert found == {}
    assert facts["calendar"].startswith("not checked")


def test_whole_hours_of_an_exchange_have_no_finding():
    for index in (hours(), hours().tz_convert("Asia/Tokyo"), hours().tz_convert("America/New_York").tz_localize(None)):
        found, facts, _ = kinds(index)
        assert found == {}
        assert facts["calendar"].startswith("XNYS, guessed: 100.0% of the bars in its hours")
        assert facts["spacing"] == "00:05:00"
        assert facts["times"].endswith("stamped at their end")
    assert "read as America/New_York" in facts["calendar"]
    found, facts, _ = kinds(hours().tz_localize(None))
    assert found == {}
    assert "read as UTC" in facts["calendar"]


def test_no_bars_are_expected_in_a_lunch_break():
    index = hours("XHKG")
    local = index.tz_convert("Asia/Hong_Kong")
    lunch = (local.hour * 60 + local.minute > 12 * 60) & (local.hour * 60 + local.minute <= 13 * 60)
    assert kinds(index[~lunch], "XHKG")[0] == {}
    assert kinds(index[~lunch & (local.hour != 11)], "XHKG")[0].keys() == {"missing bars"}


def test_bars_stamped_at_their_start_are_a_warning():
    found, _, _ = kinds(hours(label="start"))
    assert set(found) == {"bar time"}
    assert found["bar time"].severity == "warning"
    assert "Add 0 days 00:05:00" in found["bar time"].detail


def test_missing_bars_and_missing_sessions():
    index = hours()
    day = index.normalize()
    index = index[(day != "2024-02-06") & ~((day == "2024-02-20") & (np.arange(len(index)) % 2 == 0))]
    found, _, missing = kinds(index)
    assert missing.tolist() == [pd.Timestamp("2024-02-06")]
    assert found.pop("missing session").count == 1
    bars = found.pop("missing bars")
    assert bars.count == 39
    assert f"{bars.first:%Y-%m-%d}" == f"{bars.last:%Y-%m-%d}" == "2024-02-20"
    assert found == {}


def test_bars_out_of_hours_are_noted():
    index = hours()
    early = pd.DatetimeIndex(["2024-02-06 12:00", "2024-02-07 12:05"], tz="UTC")
    found, _, _ = kinds(index.union(early), "XNYS")
    assert set(found) == {"off hours"}
    assert (found["off hours"].severity, found["off hours"].count, found["off hours"].first) == ("note", 2, early[0])


def test_a_wrong_zone_is_a_warning():
    index = hours().tz_localize(None).tz_localize("Asia/Tokyo")
    assert kinds(index)[1]["calendar"].startswith("not guessed")
    found, _, _ = kinds(index, "XNYS")
    assert found["off hours"].severity == "warning"
    assert "another zone" in found["off hours"].detail


def test_a_market_that_never_closes():
    index = pd.date_range("2024-01-01", "2024-02-01", freq="h", tz="UTC")
    found, facts, _ = kinds(index)
    assert found == {}
    assert facts["calendar"].startswith("24/7, guessed")
    lost = (index >= "2024-01-10 05:00") & (index < "2024-01-10 09:00")
    found, _, _ = kinds(index[~lost])
    assert found["missing bars"].count == 4


def test_times_without_a_regular_step_are_irregular():
    rng = np.random.default_rng(0)
    index = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(rng.integers(1, 4000, 3000)), unit="s")
    found, facts, _ = kinds(index)
    assert facts["spacing"].endswith("irregular")
    assert "missing bars" not in found


def test_regression_a_span_without_a_session():
    index = pd.date_range("2024-01-06 10:00", periods=50, freq="min", tz="America/New_York")  # a Saturday
    found, _, _ = kinds(index, "XNYS")
    assert found["off hours"].count == 50


def test_regression_sessions_of_the_sixties_have_their_holidays():
    """exchange-calendars knows no regular holiday before 1970, so each was reported as a missing session."""
    days = sessions("XNYS", pd.Timestamp("1962-07-03"), pd.Timestamp("1984-12-31")).days
    assert len(days) == 5651
    found, facts, missing = kinds(days)
    assert (found, len(missing)) == ({}, 0)
    assert facts["calendar"].startswith("XNYS, guessed: no bars on 100% of its 219 holidays")
