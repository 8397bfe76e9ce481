"""Sessions of the New York Stock Exchange since July 1962, with the holidays of its first years by rule.

The library exchange-calendars knows the regular holidays of ``XNYS`` from 1970 on, and before that only single closures: the
Wednesdays of 1968, funerals, snow. With these rules there are the sessions of every year since 1962, as many as data sets of
that time have rows (5,651 from 1962-07-03 to 1984-12-31). A holiday on a Sunday is kept on the Monday, one on a Saturday on the
Friday, except New Year's Day, since the books of a year are closed on its last weekday. The list of closings since 1885:
https://github.com/rsheftel/pandas_market_calendars/files/6827110/Stocks.NYSE-Closings.pdf
"""

from __future__ import annotations

import pandas as pd
from pandas.tseries.holiday import (
    AbstractHolidayCalendar,
    GoodFriday,
    Holiday,
    USLaborDay,
    USThanksgivingDay,
    nearest_workday,
    sunday_to_monday,
)
from pandas.tseries.offsets import DateOffset

TUESDAY = DateOffset(weekday=1)  # on or after
FIRST, LAST = pd.Timestamp("1962-07-03"), pd.Timestamp("1969-12-31")


class NyseRules(AbstractHolidayCalendar):
    """The nine regular holidays of those years. There was an election, and a holiday for it, every year until 1968."""

    rules = [  # noqa: RUF012 (as pandas has it)
        Holiday("New Year's Day", month=1, day=1, observance=sunday_to_monday),
        Holiday("Washington's Birthday", month=2, day=22, observance=nearest_workday),
        GoodFriday,
        Holiday("Memorial Day", month=5, day=30, observance=nearest_workday),
        Holiday("Independence Day", month=7, day=4, observance=nearest_workday),
        USLaborDay,
        Holiday("Election Day", month=11, day=2, offset=TUESDAY, end_date=pd.Timestamp("1968-12-31")),
        USThanksgivingDay,
        Holiday("Christmas", month=12, day=25, observance=nearest_workday),
    ]


def nyse_holidays(first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Regular holidays between two dates, both included, as far as they are before 1970 and after `FIRST`."""
    first, last = max(first, FIRST), min(last, LAST)
    return pd.DatetimeIndex(NyseRules().holidays(first, last) if first <= last else [])


def nyse_sessions(first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Dates on which the exchange was open, between two dates, both included."""
    import exchange_calendars

    # a week more at either end, because exchange-calendars needs at least one session in the span
    week = pd.Timedelta(days=7)
    days = exchange_calendars.get_calendar("XNYS", start=first - week, end=last + week).sessions
    days = days[(days >= first) & (days <= last)]
    return pd.DatetimeIndex(days[~days.isin(nyse_holidays(first, last))].to_numpy()).as_unit("us")
