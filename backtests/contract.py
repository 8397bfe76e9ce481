"""`DataContract`: the bars that a deployed model was made for, and the check that later bars are such bars.

A contract holds the bars that the model's decision was recorded on at registration. What is checked is derived from them: the
symbols, the time zone, the spacing, the scale, and, where later bars reach back to them, the returns themselves, so that
exchanged columns are found; and from the year before, who had gaps, and how long a symbol may be silent. What a model reads
beside closes, such as the volume, is named, and bars without it are refused.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.request import from_request, to_request
from markets import Bars, InputError
from markets.bars.time_spans import duration, median_spacing, same_spacing
from markets.common.formats import FORMAT, check_format
from markets.common.words import few

# Generous, since prices, volatilities and sessions change; what is refused is another unit, instrument or bar length.
PRICE = 30.0  # largest ratio of a close to the last one at registration, and to the one before it
VOLATILITY = 10.0  # largest ratio of the median absolute return to that at registration
SILENCE = 2.0  # longest silence at the end, in multiples of the longest between two closes at registration
RECENT = 5  # last bars on which a symbol that had no gaps may lack one close, and not the last
REVISED = 0.5  # largest median difference of a return known at registration, in median absolute returns
USUAL = pd.Timedelta("366D")  # gaps are usual if there were any in so long before registration
_COMMON = 5  # fewest common returns that can tell two series apart


@dataclass(frozen=True, eq=False)
class DataContract:
    """The bars that a deployed model was made for.

    Attributes
    ----------
    bars : Bars of shape (T, A)
        The last bars at registration, with the symbols in the model's order and times in the zone that it decides in: closes and
        `columns`. A symbol that is never tradable is there to be read only.
    warmup : int
        Closes of each symbol that a decision reads before its last one.
    data_hash : str
        `Bars.hash` of the data set that the model was adapted to.
    gaps : tuple of bool, length A
        Whether a symbol lacked a close, after its first one, in the year before registration.
    silence : tuple of float, length A
        Longest time between two closes of each symbol in that year, in seconds.
    columns : tuple of str
        What a decision reads beside closes, such as ``volume``.
    endless : bool
        Whether a decision reads all bars since the first of `bars`; see `strategies.Strategy.endless`.
    """

    bars: Bars
    warmup: int
    data_hash: str
    gaps: tuple[bool, ...]
    silence: tuple[float, ...]
    columns: tuple[str, ...] = ()
    endless: bool = False

    @classmethod
    def of(cls, bars: Bars, warmup: int, columns: tuple[str, ...] = (), endless: bool = False) -> DataContract:
        """The contract of a model that is registered on `bars`.

        Parameters
        ----------
        bars : Bars
            Visible rows are kept; the history before them, a year back, says what gaps are usual.
        warmup : int
            Closes of each symbol that a decision reads before its last one.
        columns : tuple of str
            What it reads beside closes, which the bars have.
        endless : bool
            Whether it reads all bars since the first visible one.
        """
        held = bars.with_past()
        year = held.rows(min(int(held.index.searchsorted(held.index[-1] - USUAL)), bars.past), len(held))
        there, seconds = np.isfinite(year.close).T, year.index.as_unit("us").asi8 / 1e6
        gaps = tuple(bool((~closes[int(np.argmax(closes)) :]).any()) for closes in there)
        silence = tuple(float(np.diff(seconds[closes]).max(initial=median_spacing(year.index))) for closes in there)
        return cls(only(bars, columns), warmup, bars.hash, gaps, silence, columns, endless)

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.bars.symbols

    @property
    def needed(self) -> int:
        """Fewest bars for a decision."""
        return self.warmup + 1

    @cached_property
    def spacing(self) -> float:
        """Median time between bars, in seconds."""
        return median_spacing(self.bars.index)

    # ------------------------------------------------------------------ checks

    def same_spacing(self, spacing: float) -> bool:
        """Whether bars `spacing` seconds apart are of the model's length."""
        return same_spacing(spacing, self.spacing)

    def ordered(self, bars: Bars) -> Bars:
        """`bars` with the symbols in the model's order and the times in its zone, those untradable that were never tradable.

        The zone matters to features that read the calendar: midnight in Berlin is another day in UTC.

        Raises
        ------
        InputError
            When a symbol is missing, or there is another one.
        """
        bars = self.aligned(bars)
        return bars if self.tradable.all() else _restricted(bars, self.tradable)

    def aligned(self, bars: Bars) -> Bars:
        """As `ordered`, whatever is tradable; of a single row too."""
        missing = [s for s in self.symbols if s not in bars.symbols]
        others = [s for s in bars.symbols if s not in self.symbols]
        if missing or others:
            what = f"{bars.name} is without {few(missing)}" if missing else f"{bars.name} has {few(others)} besides"
            raise InputError(f"{what}; the model was made for {few(self.symbols)}, and needs the bars of just these")
        bars = bars if bars.symbols == self.symbols else bars.select(self.symbols)
        zone = self.bars.index.tz
        return bars.in_zone(zone) if zone is not None and bars.index.tz is not None else bars

    def check(self, bars: Bars) -> Bars:
        """Check that a decision of the model on `bars` makes sense, and return them with the symbols in its order.

        Parameters
        ----------
        bars : Bars
            All visible rows are checked; the decision follows the last one.

        Returns
        -------
        Bars

        Raises
        ------
        InputError
            When symbols differ, there are too few bars, the time zone or the spacing is another one, a symbol lacks closes or
            no longer trades, the bars end before those at registration, closes are not those of such symbols, or what is read
            beside closes is lacking.
        """
        bars = self.ordered(bars)
        if len(bars) < self.needed:
            raise InputError(f"{bars.name} has {len(bars)} bars; the model reads {self.needed}")
        self._check_times(bars)
        self._check_columns(bars)
        self._check_closes(bars)
        self._check_scale(bars)
        self._check_overlap(bars)
        return bars

    def _check_times(self, bars: Bars) -> None:
        name, last, end = bars.name, self.bars.index[-1], bars.index[-1]
        if (end.tz is None) != (last.tz is None):
            zones = [f"are in the time zone {t.tz}" if t.tz else "have no time zone" for t in (end, last)]
            raise InputError(
                f"the times of {name} {zones[0]}, and those of the bars that the model was made for {zones[1]}"
            )
        if not self.same_spacing(given := median_spacing(bars.index)):
            raise InputError(
                f"the bars of {name} are {duration(given)} apart; the model was made for bars {duration(self.spacing)} apart"
            )
        if end < last:
            raise InputError(
                f"{name} ends at {end}, and the model was adapted to bars up to {last}; give bars that end then or later"
            )
        now = pd.Timestamp.now(tz="UTC") if end.tz else pd.Timestamp.now()
        # a bar may be labelled by its end, and times without a zone may be those of a place a day ahead
        if end > now + pd.Timedelta("1D") + pd.Timedelta(seconds=self.spacing):
            raise InputError(f"{name} ends at {end}, which is in the future; look at its last dates")

        if self.endless and bars.index[0] != (first := self.bars.index[0]):
            raise InputError(
                f"{name} begins at {bars.index[0]}, and a decision of this model depends on all bars since {first}; give them all"
            )

    def _check_columns(self, bars: Bars) -> None:
        for column in self.columns:
            values, before = getattr(bars, column), getattr(self.bars, column)
            if values is None:
                raise InputError(
                    f"{bars.name} is without {column}; beside closes the model reads {', '.join(self.columns)}: send one row of "
                    "each per time, as of bars"
                )
            always = (np.isfinite(before) | ~np.isfinite(self.bars.close)).all(axis=0)
            lacking = always & np.isfinite(bars.close[-1]) & ~np.isfinite(values[-1])
            if lacking.any():
                symbol = self.symbols[int(np.argmax(lacking))]
                raise InputError(
                    f"{symbol} has a close at {bars.index[-1]} and no {column}; it always had one when the model was registered"
                )

    def _check_closes(self, bars: Bars) -> None:
        there, index = np.isfinite(bars.close), bars.index
        first, last = there.argmax(axis=0), len(there) - 1 - there[::-1].argmax(axis=0)
        times, listing = _seconds(index), _seconds(pd.DatetimeIndex(self._listing))
        silent = times[-1] - times[last]
        if (column := _first(silent > SILENCE * np.array(self.silence))) is not None:
            raise InputError(
                f"{self.symbols[column]} no longer trades: its last close is of {index[last[column]]}, "
                f"{duration(float(silent[column]))} before the last bar, and until registration it was never silent for more "
                f"than {duration(self.silence[column])}; register a model without it"
            )
        # an older hole is a gap, over which the backtest holds the symbol as well
        absent = ~there[-RECENT:] & (times[-RECENT:, None] >= listing)
        if (column := _first(~np.array(self.gaps) & (absent[-1] | (absent.sum(axis=0) > 1)))) is not None:
            when = index[-len(absent) :][int(np.argmax(absent[:, column]))]
            raise InputError(
                f"{self.symbols[column]} has no close at {when}; it had no gaps when the model was registered"
            )
        # a symbol that was listed late is judged on what there is of it, as in the backtest
        count, excused = there.sum(axis=0), np.array(self._late) & (times[first] <= listing)
        if (column := _first((count < self.needed) & ~excused)) is not None:
            raise InputError(
                f"{self.symbols[column]} has {count[column]} closes; the model reads {self.needed} of each symbol: give more bars"
            )

    def _check_scale(self, bars: Bars) -> None:
        moves, last = _moves(bars.close), _last(bars.close)
        if (jump := moves > math.log(PRICE)).any():
            row, column = np.argwhere(jump)[0]
            before = _last(bars.close[:row])[column]
            raise InputError(
                f"{self.symbols[column]} goes from {before:g} to {bars.close[row, column]:g} at {bars.index[row]}; correct that "
                "close"
            )
        ratio = last / self._last
        if (column := _first((ratio < 1 / PRICE) | (ratio > PRICE))) is not None:
            raise InputError(
                f"{self.symbols[column]} closes at {last[column]:g}, and at {self._last[column]:g} when the model was registered"
                ": another unit, or another instrument?"
            )
        given, usual = _medians(moves), self._usual
        with np.errstate(divide="ignore", invalid="ignore"):
            times = given / usual
        known = (given > 0) & (usual > 0)
        if (column := _first(known & ((times < 1 / VOLATILITY) | (times > VOLATILITY)))) is not None:
            raise InputError(
                f"{self.symbols[column]} moves by {given[column]:.2%} on a median bar, and by {usual[column]:.2%} when the model "
                "was registered: another instrument?"
            )

    def _check_overlap(self, bars: Bars) -> None:
        """Returns at times that were known at registration; prices may have been adjusted by a factor since."""
        if bars.index[0] > self.bars.index[-1]:
            return
        times, known = _seconds(bars.index), _seconds(self.bars.index)
        here = np.isin(times, known, assume_unique=True)
        if here.sum() <= _COMMON:
            return
        given, before = bars.close[here], self.bars.close[np.isin(known, times, assume_unique=True)]
        if (column := _first(~_same(given, before))) is not None:
            other = np.flatnonzero(_same(np.broadcast_to(given[:, [column]], before.shape), before))
            exchanged, common = [self.symbols[k] for k in other if k != column], bars.index[here]
            whose = "other ones: is it the same instrument?"
            if exchanged:
                whose = f"those of {exchanged[0]}: are columns exchanged?"
            raise InputError(
                f"the returns of {self.symbols[column]} from {common[0]} to {common[-1]} were known at registration, and these "
                f"are {whose}"
            )

    # ------------------------------------------------------------------ what is derived

    @cached_property
    def tradable(self) -> np.ndarray:
        """Whether each symbol is ever tradable, bool of shape (A,)."""
        return np.asarray(self.bars.tradable.any(axis=0))

    @cached_property
    def _listing(self) -> list[pd.Timestamp]:
        """Time of each symbol's first close."""
        return [self.bars.index[np.flatnonzero(there)[0]] for there in np.isfinite(self.bars.close).T]

    @cached_property
    def _last(self) -> np.ndarray:
        """Last close of each symbol, shape (A,)."""
        return _last(self.bars.close)

    @cached_property
    def _usual(self) -> np.ndarray:
        """Median absolute log return of each symbol, shape (A,); 0 where there are too few."""
        return _medians(_moves(self.bars.close))

    @cached_property
    def _late(self) -> list[bool]:
        """Whether a symbol had fewer closes than a decision reads, because it was listed later."""
        return [int(there.sum()) < self.needed for there in np.isfinite(self.bars.close).T]

    # ------------------------------------------------------------------ on disk

    def save(self, path: Path) -> None:
        """Write the contract as JSON."""
        facts = {
            "format": FORMAT,
            "data_hash": self.data_hash,
            "warmup": self.warmup,
            "zone": None if self.bars.index.tz is None else str(self.bars.index.tz),
            "tradable": self.tradable.tolist(),
            "gaps": self.gaps,
            "silence": self.silence,
            "columns": self.columns,
            "endless": self.endless,
        }
        path.write_text(json.dumps(facts | to_request(self.bars, self.columns)))

    @classmethod
    def load(cls, path: Path) -> DataContract:
        """Read a contract written by `save`.

        Raises
        ------
        InputError
            When the file is of another format.
        """
        config = json.loads(path.read_text())
        check_format(config, path, "register the model again")
        columns = tuple(config.get("columns", ()))  # contracts of earlier versions have closes alone
        values = {column: config[column] for column in columns}
        bars = from_request(config["symbols"], config["times"], config["bars"], "the bars at registration", values)
        if config.get("zone"):  # contracts of earlier versions do not say; their models decided in UTC
            bars = bars.in_zone(config["zone"])
        bars, gaps, silence = _restricted(bars, np.array(config["tradable"])), config["gaps"], config["silence"]
        endless = config.get("endless", False)
        return cls(bars, config["warmup"], config["data_hash"], tuple(gaps), tuple(silence), columns, endless)


def only(bars: Bars, columns: tuple[str, ...]) -> Bars:
    """The visible rows with closes and `columns` alone, and without a history."""
    more: dict[str, Any] = {column: values for column in columns if (values := getattr(bars, column)) is not None}
    return Bars.make(bars.index, bars.symbols, bars.close, **more, tradable=bars.tradable, name=bars.name)


def _restricted(bars: Bars, tradable: np.ndarray) -> Bars:
    """`bars` in which only some symbols, bool of shape (A,), can be traded."""
    held = bars.with_past()
    mask = held.tradable & tradable
    fields: dict[str, Any] = held.fields | ({} if held.spread is None else {"spread": held.spread})
    built = Bars.make(
        held.index, held.symbols, **fields, tradable=mask, delisted=held.delisted_from, name=held.name,
        source=held.source,
    )  # fmt: skip
    return built.rows(bars.past, len(built))


def _first(wrong: np.ndarray) -> int | None:
    """The first symbol of which something is wrong, bool of shape (A,); None if there is none."""
    return int(np.argmax(wrong)) if wrong.any() else None


def _seconds(index: pd.DatetimeIndex) -> np.ndarray:
    return np.asarray(index.as_unit("us").asi8 / 1e6)


def _last(close: np.ndarray) -> np.ndarray:
    """Last close of each symbol, shape (A,)."""
    there = np.isfinite(close)
    return close[len(close) - 1 - there[::-1].argmax(axis=0), np.arange(close.shape[1])]


def _changes(close: np.ndarray) -> np.ndarray:
    """Log returns from each close of a symbol to its next one, at the row of the latter, shape (T, A); NaN elsewhere."""
    there, rows = np.isfinite(close), np.arange(len(close))[:, None]
    before = np.full(close.shape, -1)
    before[1:] = np.maximum.accumulate(np.where(there, rows, -1), axis=0)[:-1]
    with np.errstate(invalid="ignore"):
        log = np.log(close)
    return np.where(there & (before >= 0), log - log[before, np.arange(close.shape[1])], np.nan)


def _moves(close: np.ndarray) -> np.ndarray:
    return np.abs(_changes(close))


def _medians(values: np.ndarray) -> np.ndarray:
    """Median of what is known of each column, shape (A,); 0 of fewer than `_COMMON` values."""
    ordered, count = np.sort(values, axis=0), np.isfinite(values).sum(axis=0)  # NaN comes last
    columns, middle = np.arange(values.shape[1]), np.maximum(count - 1, 0)
    median = (ordered[middle // 2, columns] + ordered[(middle + 1) // 2, columns]) / 2
    return np.where(count >= _COMMON, median, 0.0)


def _same(given: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Whether two tables of closes (T, A) have the same returns, as far as both are known and move; bool of shape (A,)."""
    known = np.isfinite(given) & np.isfinite(before)
    a, b = (_changes(np.where(known, close, np.nan)) for close in (given, before))
    return _medians(np.abs(a - b)) <= REVISED * _medians(np.abs(b)) + 1e-9
