"""Running a composition of features over a panel, in blocks, or bar by bar as bars arrive.

All three run the same fold (`markets.features.kernels`) over more or fewer rows at a time. Logarithms are taken by numpy
beforehand; the result for a row does not depend on the other rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from markets.bars.bars import FIELDS, Bars
from markets.bars.listing import Listing
from markets.common.errors import InputError
from markets.features import kernels as kernel
from markets.features.parts import Part, check_fields, lookback, needs
from markets.features.program import Program

# Rows per block: small enough to bound memory, large enough to make Python's overhead negligible.
BLOCK = 4096
_NOTHING = np.zeros((0, 0))
_ANGLES = {n: 2 * np.pi * np.arange(n) / n for n in (12, 7)}


class Fold:
    """State and program of a composition of features for one set of symbols."""

    def __init__(self, parts: Sequence[Part], bars: Bars):
        check_fields(parts, bars)
        self.parts, self.needs, self.lookback = parts, needs(parts), lookback(parts)
        program = Program()
        for part in parts:
            part._plan(program)
        self.columns = program.column
        self.steps = np.array(program.steps, dtype=np.int64)
        self.windows = np.array(program.windows, dtype=np.int64)
        self.state, self.listing = program.start(len(bars.symbols)), Listing(len(bars.symbols))

    def custom(self, bars: Bars) -> np.ndarray:
        """Values of the features by function on all of `bars`, shape (T, A, C); NaN on rows without any close."""
        parts = [part for part in self.parts if part.by_function]
        if not parts:
            return _NOTHING[..., None]
        out = np.full((*bars.shape, sum(len(part.names) for part in parts)), np.nan)
        traded = bars.without_empty()  # such rows are no bars to a function that counts bars
        if len(traded):
            columns = [part.values(traded).reshape(*traded.shape, len(part.names)) for part in parts]
            out[np.isfinite(bars.close).any(axis=1)] = np.concatenate(columns, axis=-1)
        return out

    def take(self, piece: Bars, custom: np.ndarray, out: np.ndarray) -> None:
        """Update the state with the visible rows of `piece`, and write their features unless `out` has no rows."""
        with np.errstate(invalid="ignore"):
            logs = np.log(piece.close)
            high, low = (getattr(piece, name) if name in self.needs else None for name in ("high", "low"))
            ranges = _NOTHING if high is None or low is None else np.log(high / low) ** 2
        volume = np.array(piece.volume) if "volume" in self.needs else _NOTHING
        listed = self.listing.take(piece.index, piece.close, piece.tradable)
        if piece._delisted_from:
            listed &= ~piece.delisted
        clock = _clock(piece.index) if kernel.CALENDAR in self.steps[:, 0] else _NOTHING
        kernel.fold(
            logs, ranges, volume, clock, custom, listed, self.steps, self.windows, self.lookback, self.state, out
        )

    def blocks(self, bars: Bars, size: int, out: np.ndarray | None) -> Iterator[np.ndarray]:
        """Fold the history without output, then the visible rows in blocks, into `out` or into new arrays."""
        held = bars.with_past()
        custom = self.custom(held)
        width = (len(bars.symbols), self.columns)
        for first in range(0, bars.past, BLOCK):
            last = min(first + BLOCK, bars.past)
            self.take(held.rows(first, last), custom[first:last], np.empty((0, *width)))
        for first in range(bars.past, len(held), size):
            last = min(first + size, len(held))
            block = np.empty((last - first, *width)) if out is None else out[first - bars.past : last - bars.past]
            self.take(held.rows(first, last), custom[first:last], block)
            yield block


class FeatureStream:
    """Features bar by bar, as bars arrive; created by `Features.stream`.

    A push takes tens of microseconds and the state does not grow. The exception are user-defined features, which are
    functions of whole panels: with any of them, all bars are kept and each push recomputes these features.

    Attributes
    ----------
    latest : ndarray of shape (A, F)
        Features of the last bar.
    time : Timestamp
        Time of the last bar.
    """

    def __init__(self, parts: Sequence[Part], bars: Bars):
        held = bars.with_past()
        self._fold = Fold(parts, held)
        (block,) = self._fold.blocks(held.rows(len(held) - 1, len(held)), 1, None)
        self.latest, self.time = block[0], held.index[-1]
        complete = np.isfinite(held.close) & np.isfinite(held.close if held.open is None else held.open)
        self._external = complete.any(axis=0)  # unless they are tradable
        self._by_function = any(part.by_function for part in parts)
        # otherwise only symbols, fields and delistings are needed later
        self._bars = held if self._by_function else held.rows(len(held) - 1, len(held)).without_past()

    def push(self, open, high, low, close, volume, time, tradable=None) -> np.ndarray:
        """Add one bar and return its features.

        Parameters
        ----------
        open, high, low, close, volume : array_like of shape (A,), or None
            In the order of the symbols; NaN where a symbol did not trade. Fields that no feature reads may be None.
        time : Timestamp or str
            Must be later than the time of the last bar.
        tradable : array_like of bool, shape (A,), optional
            As in `Bars.make`. By default a symbol that had bars to start with, none of them tradable, remains an external series.

        Returns
        -------
        ndarray of shape (A, F)
            Equal to the last row of `Features.compute` on all bars so far.

        Raises
        ------
        InputError
            When the bar is wrong; the message names the field and the symbol. The state is then unchanged.
        """
        bar = self._bar(dict(zip(FIELDS, (open, high, low, close, volume), strict=True)), time, tradable)
        kept = _grown(self._bars, bar) if self._by_function else self._bars
        custom = self._fold.custom(kept)[-1:]
        out = np.empty((1, *self.latest.shape))
        self._fold.take(bar, custom, out)
        self._bars = kept
        self.latest, self.time = out[0], bar.index[0]
        return out[0]

    def _bar(self, fields: dict[str, Any], time: Any, tradable: Any) -> Bars:
        """Validate the arrays and convert them to `Bars` of one row."""
        kept, symbols = self._bars, self._bars.symbols
        try:
            when = pd.Timestamp(time)
            later = when > self.time
        except (TypeError, ValueError) as error:
            raise InputError(f"{time!r} is not a time like {self.time}: {error}") from None
        if not later:
            raise InputError(f"the bar of {when} does not come after {self.time}; push each bar once, in order")
        rows: dict[str, np.ndarray] = {}
        for name, given in fields.items():
            if given is None:
                continue
            values = np.array(given, dtype=np.float64)
            if values.shape != (len(symbols),):
                raise InputError(f"{name} has shape {values.shape}, but there are {len(symbols)} symbols")
            bad = np.isinf(values) | ((values < 0) if name == "volume" else (values <= 0))
            if bad.any():
                a = int(np.argmax(bad))
                raise InputError(
                    f"{name} of {symbols[a]} at {when} is {values[a]:g}; write NaN where a value is not known"
                )
            rows[name] = values[None]
        for name in FIELDS:
            if name not in rows and name in {"close", *self._fold.needs}:
                raise InputError(f"the bar of {when} is without the {name}, which a feature reads")
        index = pd.DatetimeIndex([when]).as_unit(kept.index.unit)
        begun = self._fold.listing.begun
        allowed = begun | ~self._external if tradable is None else np.array(tradable, dtype=bool)
        if allowed.shape != (len(symbols),):
            raise InputError(f"tradable has shape {allowed.shape}, but there are {len(symbols)} symbols")
        mask = np.isfinite(rows["close"]) & np.isfinite(rows.get("open", rows["close"])) & allowed
        return Bars(index, symbols, rows, mask, kept.name, 0, kept._delisted_from)


def _grown(bars: Bars, bar: Bars) -> Bars:
    """`bars` with one more bar appended."""
    missing = np.full((1, len(bars.symbols)), np.nan)
    fields = {name: np.vstack([values, bar.fields.get(name, missing)]) for name, values in bars.fields.items()}
    index, tradable = pd.DatetimeIndex(bars.index.append(bar.index)), np.vstack([bars.tradable, bar.tradable])
    return replace(bars, _index=index, _fields=fields, _tradable=tradable)


def _clock(index: pd.DatetimeIndex) -> np.ndarray:
    """Columns of `Calendar`, shape (T, 4)."""
    angles = (_ANGLES[12][index.month - 1], _ANGLES[7][index.day_of_week])
    return np.column_stack([turn(angle) for angle in angles for turn in (np.sin, np.cos)])
