"""`External`: series from outside the bars, such as VIX or interest rates, joined to them as they were known at each bar.

At bar t the value is the last one known at the time of the bar `lag` bars before: nothing later is read, whatever the series
holds. A value is known at its time, or when it was published. Of two values the one of the later time counts, also if the
earlier one was published after it. The last one stands for good: `External.ages` says how old it is, and a deployed model
refuses one that is older than any was at registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.features.parts import LARGEST, ByFunction
from markets.features.program import Program


@dataclass(frozen=True)
class Records:
    """The values of an external series, in a form that JSON can hold.

    Attributes
    ----------
    columns : tuple of str, length C
    known : tuple of int, length N
        Microseconds since 1970 at which each row is known: in UTC if `aware`, else in the zone of the bars.
    rows : tuple of N tuples of C floats
        In ascending order of the times that they are about.
    aware : bool
        Whether the times have a zone.
    dates : bool
        Whether the times are dates, of which it is not said when on the day values are known.
    """

    columns: tuple[str, ...]
    known: tuple[int, ...]
    rows: tuple[tuple[float, ...], ...]
    aware: bool
    dates: bool

    def __deepcopy__(self, memo: dict[int, Any]) -> Records:
        return self  # a policy is copied often, and this never changes


@dataclass(frozen=True)
class External(ByFunction):
    """External series as features of every symbol, one a column; the values as they are.

    Features are bounded to ±8, so a level like VIX is refused: scale it before, as ``External(np.log(vix) - 3)`` does. A rule
    of your own reads any values with `joined`. Bars before the first value have none, and a policy holds its base there.

    Attributes
    ----------
    frame : Series or DataFrame
        Named columns of finite numbers, by time in ascending order. Times have a zone if those of the bars have one. What a
        model saves of it is a `Records`.
    lag : int
        Bars of the market between the last value that may be read and the bar; at least 0. With 0 a value is read on the bar
        of the same time, which is right for what is known at the bar's close.
    published : str or sequence of times, optional
        When values are known: a time after each row's own, such as ``"1D"`` or ``"28D"`` (days of the calendar in the zone of
        the series), or a time for each row. By default each row's own time. Dates beside bars within the day need it, as a
        day's value is not known as the day begins.

    Raises
    ------
    InputError
        When a time or value is missing, times are not strictly ascending (the message names the row), values are published
        before the time that they are about, or `lag` is below 0. When joined: the bars have a time zone and the series has
        none or the other way around, or the series has dates and the bars have times of day. As a feature: a value is beyond
        ±8.
    """

    frame: Any
    lag: int = 1
    published: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.lag, (int, np.integer)) or isinstance(self.lag, bool) or self.lag < 0:
            raise InputError(f"external series: lag is {self.lag!r}; it must be a number of bars of at least 0")
        object.__setattr__(self, "lag", int(self.lag))
        if not isinstance(self.frame, Records):
            frame = self.frame
            found = _saved(frame) if isinstance(frame, Mapping) else _records(frame, self.published)
            object.__setattr__(self, "frame", found)
        object.__setattr__(self, "published", None)  # it is in `Records.known` from here on

    @property
    def names(self) -> tuple[str, ...]:
        lag = "" if self.lag == 1 else f"_lag_{self.lag}"
        return tuple(f"external_{column.replace(' ', '_')}{lag}" for column in self.frame.columns)

    @property
    def lookback(self) -> int:
        return self.lag

    @property
    def follows(self) -> bool:
        return True

    def joined(self, bars: Bars) -> np.ndarray:
        """The values known at each visible bar, shape (T, C); NaN before the first. For rules of your own.

        Raises
        ------
        InputError
            When the times of the series and of the bars cannot be compared.
        """
        place, _ = self._places(bars)
        found = self._values[self._order[1][np.maximum(place, 0)]]
        return np.where((place >= 0)[:, None], found, np.nan)

    def ages(self, bars: Bars) -> np.ndarray:
        """Age of the value of each visible bar at the time that it is read at, in seconds, shape (T,); NaN without a value."""
        place, cut = self._places(bars)
        return np.where(place >= 0, (cut - self._order[0][np.maximum(place, 0)]) / 1e6, np.nan)

    def continued(self, frame: pd.Series | pd.DataFrame) -> External:
        """The same series with the later rows of `frame`, whose times are those at which values get known.

        Each row is news: leave out a value that was published late, when one about a later time was known.

        Raises
        ------
        InputError
            As for the class; or when columns differ.
        """
        more, last = _records(frame, "0D"), self.frame
        if more.columns != last.columns or more.aware != last.aware:
            zones = ["with" if records.aware else "without" for records in (last, more)]
            raise InputError(
                f"external series: it goes on with {', '.join(more.columns)}, {zones[1]} a time zone, and has been "
                f"{', '.join(last.columns)}, {zones[0]} one"
            )
        later = [row for row, time in enumerate(more.known) if time > max(last.known)]
        known, rows = (
            old + tuple(new[row] for row in later) for old, new in ((last.known, more.known), (last.rows, more.rows))
        )
        return External(Records(last.columns, known, rows, last.aware, last.dates), self.lag)

    def _places(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """For each visible bar the place in `_order` of the value that it reads, or −1, and the time that it is read at."""
        held, records = bars.with_past(), self.frame
        zone = held.index.tz
        if (zone is not None) != records.aware:
            has, lacks = (bars.name, "the series") if zone is not None else ("the series", bars.name)
            raise InputError(
                f"{self.names[0]}: the times of {has} have a time zone, and those of {lacks} have none; give both one, as with "
                "frame.tz_localize('America/New_York'), or neither"
            )
        if records.dates and (held.index != held.index.normalize()).any():
            raise InputError(
                f"{self.names[0]}: the series has dates, and {bars.name} times of day; say when a value is known, as in "
                "published='1D' for the end of its day"
            )
        rows = np.flatnonzero(np.isfinite(held.close).any(axis=1))  # others are no bars
        at = rows.searchsorted(np.arange(bars.past, len(held)), side="right") - 1 - self.lag
        times = (held.index if zone is None else held.index.tz_convert("UTC")).as_unit("us").asi8
        cut = times[rows[np.maximum(at, 0)]] if len(rows) else times[bars.past :]
        return np.where(at >= 0, self._order[0].searchsorted(cut, side="right") - 1, -1), cut

    def values(self, bars: Bars) -> np.ndarray:
        """The same for every symbol, shape (T, A, C)."""
        return np.repeat(self.joined(bars)[:, None], bars.shape[1], axis=1)

    @cached_property
    def _values(self) -> np.ndarray:
        return np.array(self.frame.rows, dtype=np.float64)

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Times at which something gets known, sorted, and the latest row known then."""
        known = np.array(self.frame.known, dtype=np.int64)
        order = np.argsort(known, kind="stable")
        return known[order], np.maximum.accumulate(order)

    def _plan(self, program: Program) -> None:
        beyond = np.abs(self._values) > LARGEST
        if beyond.any():
            row, column = (int(i) for i in np.argwhere(beyond)[0])
            raise InputError(
                f"{self.names[column]} is {self._values[row, column]:g} in row {row}, and features are bounded to ±{LARGEST:g}; "
                "scale the series before, as in External(np.log(vix) - 3)"
            )
        super()._plan(program)


def _records(frame: pd.Series | pd.DataFrame, published: Any) -> Records:
    """Check a table, and take what a feature needs of it."""
    if isinstance(frame, pd.Series):
        frame = frame.to_frame()
    if not isinstance(frame, pd.DataFrame) or not isinstance(frame.index, pd.DatetimeIndex):
        raise InputError(
            f"external series: give a Series or DataFrame by time, not {type(frame).__name__}"
            f"{f' by {type(frame.index).__name__}' if isinstance(frame, pd.DataFrame) else ''}"
        )
    names = [str(name) for name in frame.columns]
    if not names or not len(frame) or names == ["0"] or len(set(names)) < len(names):
        raise InputError(
            "external series: it must have rows, and columns of different names; name it, as in frame.rename('vix')"
        )
    index = frame.index
    if index.hasnans:
        raise InputError(f"external series: row {int(np.argmax(index.isna()))} has no time")
    steps = np.diff(index.asi8)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        what = "appears twice" if steps[row - 1] == 0 else f"comes after {index[row - 1]}"
        raise InputError(f"external series: row {row} ({index[row]}) {what}; sort by time, and keep one row a time")
    try:
        values = frame.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"external series: its values must be numbers ({error})") from None
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(
            f"external series: {names[column]} is {values[row, column]} in row {row} ({index[row]}); drop that row, and the "
            "value before it stands on"
        )
    known = _published(index, published)
    dates = published is None and bool((index == index.normalize()).all())
    rows = tuple(tuple(row) for row in values.tolist())
    return Records(tuple(names), tuple(known.tolist()), rows, index.tz is not None, dates)


def _published(index: pd.DatetimeIndex, published: Any) -> np.ndarray:
    """When each row is known, in microseconds."""
    if published is None:
        times = index
    elif isinstance(published, (str, pd.Timedelta)):
        try:
            times = _later(index, pd.Timedelta(published))
        except ValueError:
            raise InputError(
                f"external series: published is {published!r}; write a time such as '1D' or '28D'"
            ) from None
    else:
        times = pd.DatetimeIndex(published)
        if len(times) != len(index) or (times.tz is None) != (index.tz is None):
            raise InputError(
                f"external series: published has {len(times)} times {'with' if times.tz else 'without'} a zone; give one for "
                f"each of the {len(index)} rows, {'with' if index.tz else 'without'}"
            )
    unit = times.tz_convert("UTC").as_unit("us") if times.tz is not None else times.as_unit("us")
    early = times.isna() | (times < index)
    if early.any():
        row = int(np.argmax(early))
        raise InputError(
            f"external series: row {row} ({index[row]}) is published at {times[row]}, which is before it or no time"
        )
    return unit.asi8


def _later(index: pd.DatetimeIndex, delay: pd.Timedelta) -> pd.DatetimeIndex:
    """Times after the delay. Whole days are those of the calendar, of which one a year has 23 hours, and one 25."""
    if index.tz is None or delay % pd.Timedelta("1D"):
        return index + delay
    later = index.tz_localize(None) + delay
    # of an hour that comes twice it is the second, and of one that is left out the first after it
    return later.tz_localize(index.tz, ambiguous=np.zeros(len(index), dtype=bool), nonexistent="shift_forward")


def _saved(config: Mapping[str, Any]) -> Records:
    """`Records` from ``dataclasses.asdict`` after a round trip through JSON."""
    rows = tuple(tuple(float(value) for value in row) for row in config["rows"])
    return Records(tuple(config["columns"]), tuple(config["known"]), rows, config["aware"], config["dates"])
