"""Features for markets with known units, such as the synthetic families: no scale is estimated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.features.parts import ByFunction


@dataclass(frozen=True)
class UnitReturn(ByFunction):
    """Simple return in a fixed unit, ``(P_t / P_{t-1} − 1) / unit``; bars are the symbol's own.

    Attributes
    ----------
    unit : float
        For a synthetic family use its ``scale``; the feature then equals r in the family's formulas.
    """

    unit: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.unit > 0:
            raise InputError(f"features: the unit of a return must be above 0, not {self.unit}")

    @property
    def names(self) -> tuple[str, ...]:
        return ("unit_return",)

    @property
    def lookback(self) -> int:
        return 1

    def values(self, bars: Bars) -> np.ndarray:
        marks = bars.marks
        out = np.full(bars.shape, np.nan)
        out[1:] = (marks[1:] / marks[:-1] - 1) / self.unit
        return out


@dataclass(frozen=True)
class Exogenous(ByFunction):
    """Log price of one symbol, as a feature of every symbol.

    Synthetic families use it for signals, which they store as symbols that are not tradable.

    Attributes
    ----------
    symbol : str
        The symbol whose price is read.
    """

    symbol: str

    @property
    def follows(self) -> bool:
        return True

    @property
    def names(self) -> tuple[str, ...]:
        return (f"exogenous_{self.symbol.replace(' ', '_')}",)

    @property
    def lookback(self) -> int:
        return 0

    def values(self, bars: Bars) -> np.ndarray:
        if self.symbol not in bars.symbols:
            raise InputError(f"the feature {self.names[0]} reads {self.symbol!r}, but {bars.name} has no such symbol")
        level = np.log(bars.marks[:, list(bars.symbols).index(self.symbol)])
        return np.broadcast_to(level[:, None], bars.shape).copy()


@dataclass(frozen=True)
class Followed(ByFunction):
    """What a signal has just earned, ``log(S_{t−1}) · (P_t / P_{t−1} − 1) / unit``; S is the price of the symbol that holds it.

    Attributes
    ----------
    symbol : str
        As for `Exogenous`.
    unit : float
        As for `UnitReturn`.
    """

    symbol: str
    unit: float

    @property
    def names(self) -> tuple[str, ...]:
        return (f"followed_{self.symbol.replace(' ', '_')}",)

    @property
    def lookback(self) -> int:
        return 1

    def values(self, bars: Bars) -> np.ndarray:
        signal, earned = Exogenous(self.symbol).values(bars), UnitReturn(self.unit).values(bars)
        earned[1:] *= signal[:-1]
        return earned
