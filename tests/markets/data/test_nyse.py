import pandas as pd
import pytest

from markets.data.nyse import nyse_holidays, nyse_sessions


def test_there_are_as_many_sessions_as_nyse_o_has_rows():
    days = nyse_sessions(pd.Timestamp("1962-07-03"), pd.Timestamp("1984-12-31"))
    assert len(days) == 5651
    assert (days[0], days[-1]) == (pd.Timestamp("1962-07-03"), pd.Timestamp("1984-12-31"))
    assert days.is_monotonic_increasing


def test_the_holidays_of_a_year_with_every_kind_of_observance():
    """Of 1964, in which four fall on a Saturday, and 1965, in which two fall on a Sunday and one on a Saturday."""
    found = nyse_holidays(pd.Timestamp("1964-01-01"), pd.Timestamp("1965-12-31"))
    assert [f"{day:%m-%d}" for day in found] == [
        *("01-01", "02-21", "03-27", "05-29", "07-03", "09-07", "11-03", "11-26", "12-25"),
        *("01-01", "02-22", "04-16", "05-31", "07-05", "09-06", "11-02", "11-25", "12-24"),
    ]


@pytest.mark.parametrize(
    ("day", "is_open"),
    [
        ("1963-11-22", True),  # the president is shot while the exchange is open
        ("1963-11-25", False),  # his funeral
        ("1967-11-07", False),  # election day, every year until 1968
        ("1968-06-12", False),  # the first closed Wednesday of the paperwork crisis
        ("1969-11-04", True),  # and no more
        ("1965-12-31", True),  # the next day is New Year's, a Saturday: not moved into the old year
        ("1970-01-01", False),  # exchange-calendars' own
    ],
)
def test_days_that_are_known(day, is_open):
    day = pd.Timestamp(day)
    near = nyse_sessions(day - pd.Timedelta(days=10), day + pd.Timedelta(days=10))
    assert (day in near) == is_open


def test_only_the_sixties_are_by_rule():
    assert len(nyse_holidays(pd.Timestamp("1970-01-01"), pd.Timestamp("2026-01-01"))) == 0
    assert len(nyse_holidays(pd.Timestamp("1950-01-01"), pd.Timestamp("1962-07-02"))) == 0
    every = nyse_holidays(pd.Timestamp("1900-01-01"), pd.Timestamp("2026-01-01"))
    assert (every[0], every[-1]) == (pd.Timestamp("1962-07-04"), pd.Timestamp("1969-12-25"))
