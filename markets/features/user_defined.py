"""User-defined features: a function of bars with the decorator `feature`, checked for lookahead when it is defined.

.. code-block:: python

    from markets import Features, feature
    from markets.features.parts import Return

    @feature(lookback=20)
    def stretch(bars):
        high = pd.DataFrame(bars.marks).rolling(21).max()
        return np.log(bars.marks / high.to_numpy())

    features = Features(parts=(Return(21), stretch))

The check runs the function on a small synthetic panel with gaps, then on the same panel cut off after some bar, and with all
later bars replaced: the rows up to that bar must be bit-identical. This detects, for example, a shift in the wrong direction, a
``bfill``, a centred window or a whole-sample statistic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from markets.bars.bars import FIELDS, Bars
from markets.common.errors import InputError
from markets.features.parts import ByFunction

Function = Callable[[Bars], np.ndarray]

# By name: saved models store only the names of user-defined features, never code.
_FUNCTIONS: dict[str, Function] = {}
_BY_NAME = "if it reads a symbol by name, list it, as in @feature(lookback=20, symbols=('VIX',))"
_BY_DATE = (
    "if it looks dates up in a table of its own, which can neither be checked for look-ahead nor saved with a model, make the "
    "table a feature by itself, External(table), or put it into the bars as an untradable symbol, and read that: "
    "Exogenous('VIX'), or a function with symbols=('VIX',)"
)
_DATE = re.compile(r"Timestamp|DatetimeIndex|\d{4}-\d\d")
# Rows of the test panel beyond the lookback, and number of bars at which it is cut.
_ROWS, _CUTS = 60, 12


@dataclass(frozen=True)
class Custom(ByFunction):
    """A user's function as a part of `Features`, created by `feature`. Calling it with bars calls the function.

    Attributes
    ----------
    name : str
    bars : int
        The lookback.
    reads : tuple of str
        Fields that the function reads besides the close.
    symbols : tuple of str
        Symbols that the function reads by name.

    Raises
    ------
    InputError
        When no feature of this name is defined.
    """

    name: str
    bars: int
    reads: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in _FUNCTIONS:
            raise InputError(
                f"the feature {self.name!r} is not defined; import the file that defines it before loading the model"
            )

    def __call__(self, bars: Bars) -> np.ndarray:
        return _FUNCTIONS[self.name](bars)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def lookback(self) -> int:
        return self.bars

    @property
    def needs(self) -> tuple[str, ...]:
        return self.reads

    @property
    def follows(self) -> bool:
        """Whether it may move in a symbol's gaps: with time, or with the symbols that it names."""
        return bool(self.symbols) or "index" in self.reads

    def values(self, bars: Bars) -> np.ndarray:
        for symbol in self.symbols:
            if symbol not in bars.symbols:
                raise InputError(f"the feature {self.name} reads {symbol!r}, but {bars.name} has no such symbol")
        return _called(self.name, _FUNCTIONS[self.name], bars)


def feature(
    lookback: int, *, needs: tuple[str, ...] = (), symbols: tuple[str, ...] = ()
) -> Callable[[Function], Custom]:
    """Decorator that turns a function of `Bars` into a part of `Features`.

    The function returns an array of shape (T, A). Its values are treated like those of other features: bounded, and NaN for a
    symbol's first `lookback` bars and while it is not listed. In a symbol's gaps the last value is kept. Rows on which no symbol
    has a close are not shown to the function.

    Parameters
    ----------
    lookback : int
        Number of earlier bars that a row depends on. The function may be given more bars, which must not change its values
        beyond rounding.
    needs : tuple of str
        What the function reads besides the close: any of open, high, low, volume and index (the bar times).
    symbols : tuple of str
        Symbols that the function reads by name, such as an external series (`Bars.external`).

    Returns
    -------
    callable
        The decorator; it returns a `Custom`.

    Raises
    ------
    InputError
        When a row depends on later bars, on more than `lookback` earlier bars or on something not in `needs`; when a row is
        undefined after the lookback; or when two calls on the same bars differ. The message names the row and the values.
    """
    if not isinstance(lookback, int):
        raise InputError(
            f"@feature: give the number of earlier bars a row reads, as in @feature(lookback=20), not {lookback!r}"
        )
    if lookback < 0:
        raise InputError(f"@feature: lookback is {lookback}; it must be at least 0")
    unknown = [name for name in needs if name not in (*FIELDS, "index")]
    if unknown:
        raise InputError(f"@feature: bars have no {unknown[0]!r}; they have {', '.join(FIELDS)} and index")

    if isinstance(symbols, str):
        raise InputError(f"@feature: symbols is {symbols!r}; write a tuple, as in symbols=({symbols!r},)")

    def register(function: Function) -> Custom:
        name = function.__name__
        check_causal(name, function, lookback, needs, symbols)
        _FUNCTIONS[name] = function
        return Custom(name, lookback, tuple(needs), tuple(symbols))

    return register


def check_causal(
    name: str, function: Function, lookback: int, needs: tuple[str, ...] = (), symbols: tuple[str, ...] = ()
) -> None:
    """Raise `InputError` when a row of `function` depends on later bars, or on more than the other arguments allow."""
    bars, other = (_panel(lookback + _ROWS, needs, symbols, seed) for seed in (1, 2))

    def run(panel: Bars) -> np.ndarray:
        try:
            return function(panel)
        except (LookupError, ValueError) as error:  # of a list, a dict, a frame or `Bars.select`
            what = " ".join(f"{type(error).__name__}: {error}".replace("\\n", " ").split())[:90]
            raise InputError(
                f"the feature {name} fails on the test bars, of {', '.join(panel.symbols)} from {panel.index[0]:%Y-%m-%d} on "
                f"({what}); {_BY_DATE if _DATE.search(what) else _BY_NAME}"
            ) from error
        except (TypeError, AttributeError) as error:
            if None not in (panel.open, panel.high, panel.low, panel.volume):
                raise
            raise InputError(
                f"the feature {name} fails on bars that have no more than {', '.join(panel.fields)} ({error}); "
                "list the fields it reads in needs"
            ) from error

    whole = _called(name, run, bars)
    if difference := _difference(bars, _called(name, run, bars), whole):
        raise InputError(
            f"the feature {name} gives two results for the same bars: {difference}; seed its random numbers"
        )
    moved = _bars(bars.index + pd.Timedelta("100h"), bars.symbols, bars.fields)
    if "index" not in needs and (difference := _difference(bars, _called(name, run, moved), whole)):
        raise InputError(
            f"the feature {name} reads the bars' times: {difference} four days later; add needs=('index',)"
        )
    last = len(bars) - 1
    # some of the cuts are at a gap, because a backward fill has an effect only there
    gaps = np.flatnonzero(np.isnan(bars.close[:last]).any(axis=1))
    cuts = np.append(np.linspace(lookback, last - 1, _CUTS).astype(int), gaps[gaps >= lookback][-_CUTS:])
    for t in sorted({max(int(cut), 1) for cut in cuts}):
        fields = {f: np.vstack([bars.fields[f][: t + 1], other.fields[f][t + 1 :]]) for f in bars.fields}
        changed = _bars(bars.index, bars.symbols, fields)
        for what, later in (("cut off", bars[: t + 1]), ("replaced", changed)):
            if difference := _difference(bars, _called(name, run, later)[: t + 1], whole):
                raise InputError(
                    f"the feature {name} looks ahead: {difference} when the bars after row {t} are {what}; "
                    "a row may read its own bar and earlier ones only"
                )
    known = np.isfinite(whole[lookback:, 0])  # this symbol has no gaps
    if not known.any():
        raise InputError(
            f"the feature {name} is {whole[-1, 0]} on all test bars, of {bars.index[0]:%Y-%m-%d} and after; if its lookback of "
            f"{lookback} is too short, give a longer one; {_BY_DATE}"
        )
    if not known.all():
        row = lookback + int(np.argmin(known))
        raise InputError(
            f"the feature {name} is {whole[row, 0]} in row {row} of a symbol without gaps, though its lookback is {lookback}: "
            "give a longer lookback, or fix the function"
        )
    short = _called(name, run, bars[last - lookback :].without_past())[-1] if lookback else whole[-1]
    if not np.allclose(short, whole[-1], rtol=1e-6, atol=1e-9, equal_nan=True):
        a = int(np.argmax(~np.isclose(short, whole[-1], rtol=1e-6, atol=1e-9, equal_nan=True)))
        raise InputError(
            f"the feature {name} reads more than its lookback of {lookback}: row {last} of {bars.symbols[a]} is "
            f"{whole[-1, a]:.10g} on all bars, but {short[a]:.10g} on the last {lookback + 1}; give a longer lookback"
        )


def _difference(bars: Bars, found: np.ndarray, whole: np.ndarray) -> str:
    """Description of the last difference between `found` and the first rows of `whole`; empty if they are bit-identical."""
    expected = whole[: len(found)]
    differs = (found != expected) & ~(np.isnan(found) & np.isnan(expected))
    if not differs.any():
        return ""
    row, a = (int(i) for i in np.argwhere(differs)[-1])
    return f"row {row} of {bars.symbols[a]} goes from {expected[row, a]:.17g} to {found[row, a]:.17g}"


def _called(name: str, function: Function, bars: Bars) -> np.ndarray:
    found = np.asarray(function(bars), dtype=np.float64)
    if found.shape != bars.shape:
        raise InputError(
            f"the feature {name} gives shape {found.shape}; bars of shape {bars.shape} need one value each"
        )
    return found


def _panel(length: int, needs: tuple[str, ...], symbols: tuple[str, ...], seed: int) -> Bars:
    """Three symbols with the fields of `needs`: one without gaps, one with gaps, one with gaps and a late listing.

    After them come the symbols that are read by name, without gaps.
    """
    rng = np.random.default_rng(seed)
    names = ("A", "B", "C", *(symbol for symbol in symbols if symbol not in "ABC"))
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (length, len(names))), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.005, close.shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.005, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.005, close.shape)))
    volume = rng.uniform(1e4, 1e6, close.shape)
    # the gaps are the same for all seeds
    gap = np.random.default_rng(0).random(close.shape) < [0, 0.15, 0.15, *[0] * (len(names) - 3)]
    gap[: length // 4, 2] = True
    gap[-1] = False
    values = dict(zip(FIELDS, (open_, high, low, close, volume), strict=True))
    fields = {f: np.where(gap, np.nan, x) for f, x in values.items() if f in (*needs, "close")}
    return _bars(pd.date_range("2020-01-01", periods=length, freq="D"), names, fields)


def _bars(index: pd.DatetimeIndex, names: tuple[str, ...], values: dict[str, np.ndarray]) -> Bars:
    close, rest = values["close"], {name: array for name, array in values.items() if name != "close"}
    return Bars.make(index, names, close, **rest)  # type: ignore[arg-type]
