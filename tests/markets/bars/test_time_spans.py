import datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError
from markets.bars.time_spans import Span, duration

DAYS = pd.date_range("2019-01-01", "2021-12-31", freq="7h")


@pytest.mark.parametrize(
    "end", ["2020", "2020-03", "2020-03-04", "20200304", "2020-03-04T10", "2020Q2", datetime.date(2020, 3, 4)]
)
def test_an_end_is_included_whole(end):
    rows = Span.of(end, end).rows(DAYS)
    end = end.isoformat() if isinstance(end, datetime.date) else end
    assert (DAYS[rows] == DAYS[DAYS.slice_indexer(end, end)]).all()


@given(st.datetimes(DAYS[0], DAYS[-1]), st.datetimes(DAYS[0], DAYS[-1]), st.sampled_from([None, "Europe/Berlin"]))
def test_rows_are_those_between(first, last, zone):
    index = DAYS.tz_localize(zone)
    if first <= last:
        rows = Span.of(first, last).rows(index)
        first, last = (
            pd.Timestamp(t).tz_localize(zone, ambiguous=True, nonexistent="shift_forward") for t in (first, last)
        )
        assert (index[rows] == index[(index >= first) & (index <= last)]).all()


def test_an_instant_is_converted_to_the_time_zone_of_the_data():
    index = pd.date_range("2020-01-01", periods=48, freq="h", tz="America/New_York")
    rows = Span.of("2020-01-01T10:00:00Z", pd.Timestamp("2020-01-01 12:00", tz="UTC")).rows(index)
    assert [str(t) for t in index[rows]][::2] == ["2020-01-01 05:00:00-05:00", "2020-01-01 07:00:00-05:00"]
    with pytest.raises(InputError, match="has a UTC offset, but the times of the data have none"):
        Span.of("2020-01-01T10:00:00Z", None).rows(DAYS)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("soon", None, "start 'soon' is not a time; write it as 2024-01-31"),
        (None, "01/02/2024", "end '01/02/2024' is not a time"),
        ("nan", None, "start 'nan' is not a time"),
        (pd.NaT, None, "start NaT is not a time"),
        ("2020", "2019", "start 2020 is later than end 2019"),
        ("2020-01-01T00:00Z", "2021", "both with a UTC offset, or both without"),
    ],
)
def test_wrong_spans_are_refused(start, end, message):
    with pytest.raises(InputError, match=message):
        Span.of(start, end)


def test_regression_long_durations_are_in_plain_digits():
    """A symbol that was delisted years ago was said to be silent for 1.96e+03 days."""
    day = 86400
    assert duration(1964 * day) == "1,964 days"
    assert [duration(s) for s in (day, 2.75 * day, 99.6 * day, 364 * day)] == [
        "1 day",
        "2.75 days",
        "99.6 days",
        "364 days",
    ]
    assert [duration(s) for s in (0, 90, 7200)] == ["0 seconds", "1.5 minutes", "2 hours"]
