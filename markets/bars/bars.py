"""`Bars`, the market-data type used throughout.

A slice of `Bars` keeps the earlier rows as history: ``bars["2008":]`` shows the rows from 2008 on and still holds the rows
before, so that a moving average is defined on the first visible row. It never holds anything later than its last row.
Slicing therefore cannot cause lookahead, and no warm-up is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numba import njit

from markets.bars.listing import Listing, sessions
from markets.bars.resampling import resampled
from markets.bars.time_spans import Span, moment
from markets.common.errors import InputError
from markets.common.statistics import bars_per_year

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Source:
    """What is known about where bars come from, whatever they are called.

    Attributes
    ----------
    survivorship : str
        How the symbols were chosen, if that flatters results; shown beside every result.
    adjusted : bool
        Whether prices are known to be adjusted for splits.
    origin : str
        What the set is, and which package and file it was read from.
    caveats : tuple of str
        What else a reader of results must know, such as hidden names or dates that were reconstructed.
    costs : str
        What a trade honestly costs per side, as `Costs.parse` and ``--costs`` take it.
    pegged : tuple of str
        Symbols whose price was fixed by decree for years, such as currencies under a currency board. That such a price stands
        still is no fault.
    """

    survivorship: str = ""
    adjusted: bool = False
    origin: str = ""
    caveats: tuple[str, ...] = ()
    costs: str = ""
    pegged: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Bars:
    """Immutable open/high/low/close/volume bars of T times by A symbols.

    Create them with `Bars.make`, which validates, or `markets.load`. The constructor does not validate; it is for slices of
    existing bars.

    Attributes
    ----------
    index : DatetimeIndex of shape (T,)
        Bar times, strictly increasing. A bar's values are known at its time, not before.
    symbols : tuple of str, length A
    close : ndarray of shape (T, A)
        Float64, in the quote currency. NaN where a symbol did not trade (a gap): the bar is untradable, and positions keep
        their last mark.
    open, high, low : ndarray of shape (T, A) or None
    volume : ndarray of shape (T, A) or None
        Shares or contracts.
    spread : ndarray of shape (T, A) or None
        Quoted bid–ask spread as a fraction of the price; NaN where none was quoted.
    tradable : ndarray of bool, shape (T, A)
        Whether a symbol can be traded at this bar.
    external : ndarray of bool, shape (A,)
        Whether a symbol has not been tradable so far: a series to read (`markets.Exogenous`), such as VIX beside stocks. It is
        not listed, so it gets no weight, and takes no part in ranks, means or the market's return.
    name : str
        Name of the data set, for titles and logs.
    past : int
        Number of rows of history before the first visible row.
    source : Source
        What is known about where the bars come from.
    """

    _index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    _fields: dict[str, np.ndarray]
    _tradable: np.ndarray
    name: str = "bars"
    past: int = 0  # rows held before the first visible one
    _delisted_from: tuple[pd.Timestamp | None, ...] = ()  # by symbol; empty when none is delisted
    source: Source = Source()

    # ------------------------------------------------------------------ construction

    @classmethod
    def make(
        cls,
        index: pd.DatetimeIndex,
        symbols: Sequence[str],
        close: np.ndarray,
        *,
        open: np.ndarray | None = None,
        high: np.ndarray | None = None,
        low: np.ndarray | None = None,
        volume: np.ndarray | None = None,
        spread: np.ndarray | None = None,
        tradable: np.ndarray | None = None,
        delisted: Mapping[str, str | pd.Timestamp] | None = None,
        name: str = "bars",
        source: Source = Source(),
    ) -> Bars:
        """Validate and copy arrays into `Bars`.

        Parameters
        ----------
        index : DatetimeIndex of shape (T,)
        symbols : sequence of str, length A
        close, open, high, low, volume : array_like of shape (T, A)
            NaN marks a gap. If opens are given, a bar needs both `open` and `close` to be tradable.
        spread : array_like of shape (T, A), optional
            Quoted bid–ask spread as a fraction of the price, at least 0 and below 1; NaN where none was quoted.
        tradable : array_like of bool, shape (T, A), optional
            False makes further bars untradable; gaps always are.
        delisted : mapping of str to time, optional
            First time at which a symbol no longer exists, in the time zone of the index unless it has a UTC offset. Without
            it, a symbol whose closes end early is halted: it keeps its last mark from then on and cannot be sold.
        name : str
        source : Source

        Raises
        ------
        InputError
            When times are not strictly increasing, a symbol is duplicated, shapes do not match or a value is impossible. The
            message names the time and the symbol of the first such value.
        """
        index = pd.DatetimeIndex(index)
        symbols = tuple(str(s) for s in symbols)
        shape = (len(index), len(symbols))
        _check_index(index)
        if len(set(symbols)) < len(symbols):
            twice = next(s for i, s in enumerate(symbols) if s in symbols[:i])
            raise InputError(f"symbol {twice!r} appears twice; give every symbol one column")
        fields: dict[str, np.ndarray] = {}
        for field, values in zip((*FIELDS, "spread"), (open, high, low, close, volume, spread), strict=True):
            if values is None:
                continue
            # A copy in C order: pandas returns read-only views, and numba kernels need contiguous arrays.
            array = np.array(values, dtype=np.float64, order="C", copy=True)
            if array.shape != shape:
                raise InputError(f"{field} has shape {array.shape}, but index and symbols need {shape}")
            fields[field] = array
        _check_values(index, symbols, fields)
        mask = np.isfinite(fields["close"])
        if "open" in fields:
            mask &= np.isfinite(fields["open"])
        if tradable is not None:
            mask &= np.asarray(tradable, dtype=bool)
        for array in (*fields.values(), mask):
            array.setflags(write=False)
        gone = _check_delisted(index, symbols, mask, delisted)
        return cls(index, symbols, fields, mask, name, 0, gone, source)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # a copy, or a pickle, of a read-only array is writable
        for array in (*self._fields.values(), *self.__dict__.values()):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)

    # ------------------------------------------------------------------ reading

    @property
    def index(self) -> pd.DatetimeIndex:
        return self._index[self.past :] if self.past else self._index  # slicing an index is slow

    @property
    def fields(self) -> dict[str, np.ndarray]:
        """The available prices and volumes, of shape (T, A), by name and in the order of `FIELDS`."""
        return {name: self._fields[name][self.past :] for name in FIELDS if name in self._fields}

    def _field(self, name: str) -> np.ndarray | None:
        values = self._fields.get(name)
        return None if values is None else values[self.past :]

    @property
    def open(self) -> np.ndarray | None:
        return self._field("open")

    @property
    def high(self) -> np.ndarray | None:
        return self._field("high")

    @property
    def low(self) -> np.ndarray | None:
        return self._field("low")

    @property
    def close(self) -> np.ndarray:
        return self._fields["close"][self.past :]

    @property
    def volume(self) -> np.ndarray | None:
        return self._field("volume")

    @property
    def spread(self) -> np.ndarray | None:
        return self._field("spread")

    @property
    def tradable(self) -> np.ndarray:
        return self._tradable[self.past :]

    @property
    def external(self) -> np.ndarray:
        """Whether a symbol has closes up to the last row but was never tradable, bool of shape (A,): it is there to be read."""
        return np.isfinite(self._fields["close"]).any(axis=0) & ~self._tradable.any(axis=0)

    @property
    def delisted(self) -> np.ndarray:
        """Whether a symbol no longer exists, bool of shape (T, A)."""
        out = np.zeros(self.shape, dtype=bool)
        for column, time in enumerate(self._delisted_from):
            if time is not None:
                out[:, column] = self.index >= time
        return out

    @property
    def delisted_from(self) -> dict[str, pd.Timestamp]:
        """First time at which a symbol no longer exists, for each symbol that is ever delisted."""
        return {s: time for s, time in zip(self.symbols, self._delisted_from, strict=False) if time is not None}

    @property
    def shape(self) -> tuple[int, int]:
        """(T, A): visible bars by symbols."""
        return len(self), len(self.symbols)

    def __len__(self) -> int:
        return len(self._index) - self.past

    def __repr__(self) -> str:
        first, last = self.index[0], self.index[-1]
        extra = f", {self.past} earlier bars held" if self.past else ""
        symbols = "symbol" if len(self.symbols) == 1 else "symbols"
        return f"Bars({self.name}: {len(self)} bars x {len(self.symbols)} {symbols}, {first} to {last}{extra})"

    @property
    def marks(self) -> np.ndarray:
        """Last known close of every symbol, shape (T, A); NaN before a symbol's first bar.

        Closes are only carried forward, so row t uses nothing later than bar t.
        """
        return self._marks[self.past :]

    @cached_property
    def _marks(self) -> np.ndarray:
        close = self._fields["close"]
        if not np.isnan(close).any():
            return close  # without gaps, the marks equal the closes
        marks = carried(close)
        marks.setflags(write=False)
        return marks

    @cached_property
    def listed(self) -> np.ndarray:
        """Whether a symbol is listed, as known at each bar; bool of shape (T, A).

        True from the first bar at which it is tradable, unless it is delisted, or its last close is stale: older than 30 days
        and than three times the usual time between its closes (`markets.bars.listing`).
        """
        listed = Listing(len(self.symbols)).take(self._index, self._fields["close"], self._tradable)
        listed = listed[self.past :] & ~self.delisted
        listed.setflags(write=False)
        return listed

    @cached_property
    def sessions(self) -> np.ndarray:
        """Whether a bar is a session of the market, as known at each bar; bool of shape (T,).

        By a session, at least half of the listed symbols have traded since the session before.
        """
        held = self.with_past()
        found = sessions(held.close, held.listed)[self.past :]
        found.setflags(write=False)
        return found

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all rows, history included, in hexadecimal: of the whole data set, whatever part of it is visible."""
        digest = hashlib.sha256(
            repr((self.symbols, 0, sorted(self._fields))).encode()
        )  # 0: as earlier versions have it
        digest.update(self._index.as_unit("us").asi8.tobytes())
        for field in sorted(self._fields):
            digest.update(self._fields[field].tobytes())
        digest.update(self._tradable.tobytes())
        if any(time is not None for time in self._delisted_from):
            digest.update(repr(self._delisted_from).encode())
        return digest.hexdigest()

    @cached_property
    def span_hash(self) -> str:
        """The `hash` of the visible rows alone, whatever history is held before them."""
        return self.without_past().hash

    @property
    def bars_per_year(self) -> float:
        """Returns per year, to annualise by; NaN within a single day. See `markets.common.statistics`."""
        return bars_per_year(self.index)

    # ------------------------------------------------------------------ slicing

    def __getitem__(self, span: slice) -> Bars:
        """Slice by a time span, both ends included, or by integer positions as in Python.

        Examples: ``bars["2008":"2012"]``, ``bars[:"2007"]``, ``bars[-250:]``. Earlier rows are kept as history; later rows are
        dropped. Times without a UTC offset are in the time zone of the bars.

        Raises
        ------
        InputError
            When the span is not one of time, or holds no bars, or has a UTC offset where the bars have none.
        """
        if not isinstance(span, slice) or span.step not in (None, 1):
            raise TypeError('slice bars by time or position, as in bars["2008":"2012"] or bars[-250:]')
        if any(isinstance(end, (int, np.integer)) for end in (span.start, span.stop)):
            first, last, _ = span.indices(len(self))
        else:
            try:
                found = Span.of(span.start, span.stop).rows(self.index)
            except InputError as error:
                raise InputError(f"{_between(span)} is not a span of time: {error}") from None
            first, last = found.start, found.stop
        if last <= first:
            raise InputError(
                f"no bars from {_between(span)}: {self.name} runs from {self.index[0]} to {self.index[-1]}"
            )
        return self.rows(self.past + first, self.past + last)

    def rows(self, first: int, last: int) -> Bars:
        """Rows ``first`` to ``last`` (excluded) of ``with_past()``; earlier rows are kept as history."""
        if last >= len(self._index):  # slicing an index is slow
            return self if first == self.past else replace(self, past=first)
        fields = {field: values[:last] for field, values in self._fields.items()}
        return replace(self, _index=self._index[:last], _fields=fields, _tradable=self._tradable[:last], past=first)

    def until(self, time: str | pd.Timestamp) -> Bars:
        """Rows up to and including `time`; later rows are dropped."""
        return self[:time]

    def with_past(self) -> Bars:
        """All rows, with the history made visible."""
        return self.rows(0, len(self._index))

    def without_past(self, keep: int = 0) -> Bars:
        """The same visible rows with as little history as holds the last `keep` bars of every symbol that is not delisted.

        If `keep` is not 0, a bar at which it was tradable is among them, so that what is listed does not change.
        """
        cut = max(self.past - keep, 0)
        there = np.isfinite(self._fields["close"][: self.past])
        if keep and not (there[cut:].all() and self._tradable[cut : self.past].all()):
            for i in np.flatnonzero(~self.delisted[0]):
                for wanted, least in ((there[:, i], keep), (self._tradable[: self.past, i], 1)):
                    if not wanted[cut:].all():
                        rows = np.flatnonzero(wanted)
                        cut = min(cut, int(rows[-min(least, len(rows))])) if len(rows) else cut
        return self._kept(slice(cut, None), self.past - cut)

    def warm_from(self, count: int) -> int:
        """First row of ``with_past()`` before which some symbol has had `count` bars of its own; their number if none has."""
        most = np.isfinite(self._fields["close"]).cumsum(axis=0).max(axis=1)
        return min(int(np.searchsorted(most, count)) + 1, len(most)) if count else 0

    def without_empty(self) -> Bars:
        """The bars without the rows on which no symbol has a close; they may then have no visible row."""
        there = np.isfinite(self._fields["close"]).any(axis=1)
        return self if there.all() else self._kept(there, int(there[: self.past].sum()))

    def only(self, rows: np.ndarray) -> Bars:
        """The rows of ``with_past()`` in a mask of shape (T,), all visible; the others are as if they had never been."""
        return self._kept(rows, 0)

    def _kept(self, rows: slice | np.ndarray, past: int) -> Bars:
        """Some of the rows of ``with_past()``, of which the first `past` are history."""
        fields, mask = {field: values[rows] for field, values in self._fields.items()}, self._tradable[rows]
        for array in (*fields.values(), mask):
            array.setflags(write=False)
        return replace(self, _index=self._index[rows], _fields=fields, _tradable=mask, past=past)

    def with_values(self, **fields: np.ndarray) -> Bars:
        """Bars with the same times, symbols and delistings but other values, each of the shape of ``with_past()``.

        Bars that are not tradable here are not tradable in the result either. Quoted spreads stay unless others are given.
        """
        source = replace(self.source, adjusted=False, pegged=())  # other prices of the same choice of symbols
        quoted = {"spread": self._fields["spread"]} if "spread" in self._fields else {}
        built = Bars.make(
            self._index, self.symbols, **(quoted | fields), tradable=self._tradable, delisted=self.delisted_from, name=self.name,
            source=source,
        )  # fmt: skip
        return replace(built, past=self.past)

    def select(self, symbols: Sequence[str]) -> Bars:
        """The same rows for some of the symbols, in the given order.

        Raises
        ------
        InputError
            When no symbol is given, or one is unknown.
        """
        unknown = [s for s in symbols if s not in self.symbols]
        if not len(symbols):
            raise InputError("select: name at least one symbol")
        if unknown:
            raise InputError(f"{self.name} has no symbol {unknown[0]!r}; it has {', '.join(self.symbols)}")
        columns = [self.symbols.index(s) for s in symbols]
        fields = {field: np.ascontiguousarray(values[:, columns]) for field, values in self._fields.items()}
        mask = np.ascontiguousarray(self._tradable[:, columns])
        for array in (*fields.values(), mask):
            array.setflags(write=False)
        gone = tuple(self._delisted_from[i] for i in columns) if self._delisted_from else ()
        return replace(self, symbols=tuple(symbols), _fields=fields, _tradable=mask, _delisted_from=gone)

    def in_zone(self, zone: tzinfo | str) -> Bars:
        """The same bars with their times, which must have a time zone, in another one."""
        return replace(self, _index=self._index.tz_convert(zone))

    # ------------------------------------------------------------------ resampling

    def resample(self, rule: str, incomplete: Literal["drop", "keep"] = "drop") -> Bars:
        """Bars of a longer period, each labelled by the period's end.

        Parameters
        ----------
        rule : str
            A pandas offset: ``"W-FRI"``, ``"1W"`` (weeks ending on Sunday), ``"ME"``, ``"QE"``, ``"5D"``, ``"1h"``. A row is
            only known once there is a bar at or after its label. For markets that are closed at weekends choose ``"W-FRI"``
            and ``"BME"``; with ``"1W"`` a week would not be known before Monday's bar.
        incomplete : {"drop", "keep"}
            What to do with a last period that has not ended by the last bar. ``"drop"`` leaves it out; ``"keep"`` keeps it,
            labelled by its last bar. The first period starts with the data, even in the middle of a period.

        Returns
        -------
        Bars
            First tradable open, highest high, lowest low, last close, summed volume and last quoted spread of each period; NaN
            where a symbol has no bar in it. History is resampled too and remains history: the visible rows are those labelled
            at or after the first visible bar. A symbol that is delisted within a period is delisted from the next row on.

        Raises
        ------
        InputError
            When `rule` is not a period or is finer than the bars, or no period is complete.

        Notes
        -----
        Resampling causes no lookahead: at every bar t, ``bars.until(t).resample(rule)`` equals
        ``bars.resample(rule).until(t)``. See `markets.bars.resampling`.
        """
        rows = resampled(
            self._index, self._fields, self._tradable, self._delisted_from, self.past, rule, incomplete, self.name
        )
        return replace(
            self,
            _index=rows.times,
            _fields=rows.fields,
            _tradable=rows.tradable,
            past=rows.past,
            _delisted_from=rows.delisted_from,
        )


def _between(span: slice) -> str:
    """A span in words."""
    return f"{'the start' if span.start is None else span.start} to {'the end' if span.stop is None else span.stop}"


@njit(cache=True)
def carried(close):
    """`close` (T, A) with each gap filled by the last value before it; NaN before the first."""
    out = np.empty(close.shape)
    for t in range(close.shape[0]):
        for i in range(close.shape[1]):
            gap = t > 0 and np.isnan(close[t, i])
            out[t, i] = out[t - 1, i] if gap else close[t, i]
    return out


def _check_index(index: pd.DatetimeIndex) -> None:
    if len(index) < 2:
        raise InputError(f"only {len(index)} bar{'' if len(index) == 1 else 's'}; at least 2 are needed for a return")
    if index.hasnans:
        raise InputError(f"bar {int(np.argmax(index.isna()))} has no time")
    steps = np.diff(index.asi8)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        if steps[row - 1] == 0:
            raise InputError(f"time {index[row]} appears twice (bars {row - 1} and {row}); keep one of the two")
        raise InputError(f"times are not sorted: bar {row} ({index[row]}) comes after {index[row - 1]}; sort by time")


def _check_delisted(
    index: pd.DatetimeIndex,
    symbols: tuple[str, ...],
    mask: np.ndarray,
    delisted: Mapping[str, str | pd.Timestamp] | None,
) -> tuple[pd.Timestamp | None, ...]:
    if not delisted:
        return ()
    unknown = [s for s in delisted if s not in symbols]
    if unknown:
        raise InputError(f"delisted: there is no symbol {unknown[0]!r}; the symbols are {', '.join(symbols)}")
    times = [moment(f"delisted: {s}", delisted[s], index.tz) if s in delisted else None for s in symbols]
    for column, time in enumerate(times):
        if time is not None and mask[index >= time, column].any():
            raise InputError(f"{symbols[column]} is delisted from {time}, but trades after")
    return tuple(times)


def impossible(fields: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray, str]]:
    """What cannot be in a market: a field, a mask (T, A) of its impossible values, and why; NaN is a gap and is allowed."""
    for field, values in fields.items():
        yield field, np.isinf(values), "values must be finite; leave a gap empty"
        if field == "volume":
            yield field, values < 0, "a volume cannot be negative"
        elif field == "spread":
            yield field, (values < 0) | (values >= 1), "a spread is a fraction of the price: at least 0, and below 1"
        else:
            yield field, values <= 0, "a price must be positive"
    # Prices of adjusted series are rounded, so a violation of up to a hundredth of a per cent is accepted.
    slack = 1e-4
    for field in ("open", "close", "low"):
        if field in fields and "high" in fields:
            yield field, fields[field] > fields["high"] * (1 + slack), "above the high of the same bar"
    for field in ("open", "close"):
        if field in fields and "low" in fields:
            yield field, fields[field] < fields["low"] * (1 - slack), "below the low of the same bar"


def _check_values(index: pd.DatetimeIndex, symbols: tuple[str, ...], fields: dict[str, np.ndarray]) -> None:
    """Raise at the first impossible value."""
    for field, bad, why in impossible(fields):
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = fields[field][row, column]
            message = f"{field} of {symbols[column]} at {index[row]} (bar {row}) is {value:g}: {why}"
            raise InputError(message, (row, column, field))
    empty = ~np.isfinite(fields["close"]).any(axis=0)
    if empty.any():
        raise InputError(f"symbol {symbols[int(np.argmax(empty))]} has no close at all; leave it out")
