"""`Span`: the stretch of time that is asked for, before it is known what clock the data keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

import pandas as pd

from markets.common.errors import InputError


class NoRows(InputError):
    """There is nothing in the span that was asked for."""


@dataclass(frozen=True)
class Span:
    """From `first` to `last`, both included; None is open.

    A naive end is meant on the clock of the data; one with a UTC offset is an instant.
    """

    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None

    @classmethod
    def of(cls, start: str | date | None, end: str | date | None) -> Span:
        """Read two ends as `Bars` slices do: ``"2012"`` as an end is the whole of 2012.

        Raises
        ------
        InputError
            If an end is no time, or the span is empty.
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
        """Both ends on the clock `zone` (None for naive times).

        Raises
        ------
        InputError
            If the span is of instants and the data keeps no clock that could place them.
        """
        return _on(self.first, zone), _on(self.last, zone)

    def rows(self, index: pd.DatetimeIndex) -> slice:
        """Rows of a sorted index inside the span."""
        first, last = self.on(index.tz)
        # A bound finer than the clock of the data is rounded into the span.
        return slice(
            0 if first is None else int(index.searchsorted(first.ceil(index.unit), side="left")),
            len(index) if last is None else int(index.searchsorted(last.floor(index.unit), side="right")),
        )

    def __str__(self) -> str:
        return f"from {self.first or 'the beginning'} to {self.last or 'the end'}"


def _ends(name: str, value: str | date) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last instant of a year, month, day or moment."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    try:
        if not isinstance(value, str):
            moment = pd.Timestamp(value)
        elif not re.match(r"\d{4}(\b|Q)", value):
            raise ValueError
        elif re.search(r"(Z|\d:\d\d.*[+-]\d\d:?\d\d)$", value):
            moment = pd.Timestamp(value)
        else:
            period = pd.Period(value)
            return period.start_time, period.end_time
    except (ValueError, TypeError, AttributeError):  # AttributeError: "nan" is a period to pandas
        raise InputError(f"{name} {value!r} is not a time; write it as 2024-01-31") from None
    if pd.isna(moment):
        raise InputError(f"{name} {value!r} is not a time; write it as 2024-01-31")
    return moment, moment


def _on(moment: pd.Timestamp | None, zone: tzinfo | None) -> pd.Timestamp | None:
    if moment is None:
        return None
    if moment.tz is None:
        return moment if zone is None else moment.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
    if zone is None:
        raise InputError(f"{moment} has a UTC offset, but the times of the data have none; give the span without one")
    return moment.tz_convert(zone)
