"""`Span`: a requested time span, which may or may not have a UTC offset; and the time between bars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

import numpy as np
import pandas as pd

from markets.common.errors import InputError

SPACING = 1.5  # largest ratio of the median times between bars of the same length; holidays and sessions differ


class NoRows(InputError):
    """There are no rows in the requested span."""


@dataclass(frozen=True)
class Span:
    """Time span from `first` to `last`, both included; None means open-ended.

    A bound without a UTC offset is in the time zone of the data.
    """

    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None

    @classmethod
    def of(cls, start: str | date | None, end: str | date | None) -> Span:
        """Parse two bounds as slices of `Bars` do: with ``"2012"`` as `end`, all of 2012 is included.

        Raises
        ------
        InputError
            When a bound is not a time, only one has a UTC offset, or the span is empty.
        """
        first = None if start is None else _ends("start", start)[0]
        last = None if end is None else _ends("end", end)[1]
        span = cls(first, last)
        if first is not None and last is not None:
            if (first.tz is None) != (last.tz is None):
                raise InputError("give start and end both with a UTC offset, or both without one")
            if last < first:
                raise InputError(f"start {start} is later than end {end}")
        return span

    def on(self, zone: tzinfo | None) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
        """Both bounds converted to the time zone `zone` (None for times without a zone).

        Raises
        ------
        InputError
            When the bounds have a UTC offset and `zone` is None.
        """
        return _on(self.first, zone), _on(self.last, zone)

    def rows(self, index: pd.DatetimeIndex) -> slice:
        """Rows of a sorted index that are inside the span."""
        first, last = self.on(index.tz)
        # A bound finer than the resolution of the index is rounded towards the inside of the span.
        return slice(
            0 if first is None else int(index.searchsorted(first.ceil(index.unit), side="left")),
            len(index) if last is None else int(index.searchsorted(last.floor(index.unit), side="right")),
        )

    def __str__(self) -> str:
        return f"from {self.first or 'the beginning'} to {self.last or 'the end'}"


def moment(name: str, value: str | date, zone: tzinfo | None) -> pd.Timestamp:
    """A point in time (of a day, a month or a year its beginning) in the time zone of the data; None for data without one.

    Raises
    ------
    InputError
        When it is not a time, or has a UTC offset and the data have none. The message begins with `name`.
    """
    first = _ends(name, value)[0]
    if first.tz is not None and zone is None:
        raise InputError(f"{name} {value} has a UTC offset, but the times of the data have none; give it without one")
    found = _on(first, zone)
    assert found is not None
    return found


def median_spacing(index: pd.DatetimeIndex) -> float:
    """Median time between the times of `index`, in seconds; NaN for a single one."""
    steps = np.diff(index.as_unit("us").asi8)
    return float(np.median(steps)) / 1e6 if len(steps) else np.nan


def same_spacing(one: float, other: float) -> bool:
    """Whether bars `one` and `other` seconds apart are of the same length, within a factor of `SPACING`, or it is not known."""
    return not (one > SPACING * other or other > SPACING * one)


def age(last: pd.Timestamp, spacing: float, now: pd.Timestamp) -> float:
    """Seconds from the end of the bar at `last` to `now`; at least 0.

    A date of daily or longer bars stands for the end of its day. A time without a zone is taken for UTC.
    """
    end = last if last.tz else last.tz_localize("UTC")
    if last == last.normalize() and spacing >= 86_400:
        end += pd.Timedelta("1D")
    return max((now - end).total_seconds(), 0.0)


def duration(seconds: float) -> str:
    """A time span in its largest fitting unit: "1 hour", "4 days"."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length or unit == "second":
            count = seconds / length
            return f"{f'{count:.3g}' if count < 100 else f'{count:,.0f}'} {unit}{'' if count == 1 else 's'}"
    raise AssertionError


def _ends(name: str, value: str | date) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last instant of a year, month, day or point in time."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    try:
        if not isinstance(value, str):
            point = pd.Timestamp(value)
        elif not re.match(r"\d{4}(\b|Q)|\d{8}$", value):
            raise ValueError
        elif re.search(r"(Z|\d:\d\d.*[+-]\d\d:?\d\d)$", value):
            point = pd.Timestamp(value)
        else:
            period = pd.Period(value)
            return period.start_time, period.end_time
    except (ValueError, TypeError, AttributeError):  # AttributeError: pandas parses "nan" as a period
        raise InputError(f"{name} {value!r} is not a time; write it as 2024-01-31") from None
    if pd.isna(point):
        raise InputError(f"{name} {value!r} is not a time; write it as 2024-01-31")
    return point, point


def _on(point: pd.Timestamp | None, zone: tzinfo | None) -> pd.Timestamp | None:
    if point is None:
        return None
    if point.tz is None:
        return point if zone is None else point.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    if zone is None:
        raise InputError(f"{point} has a UTC offset, but the times of the data have none; give the span without one")
    return point.tz_convert(zone)
