"""`Earned`: what a simple position earned in the past years, a long memory in one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from markets.bars.bars import Bars
from markets.bars.traded import TradedBars
from markets.common.errors import InputError
from markets.features.parts import LARGEST, ByFunction


@dataclass(frozen=True)
class Earned(ByFunction):
    """What holding the symbol, or following its trend, earned per unit of risk over the last `window` own bars::

        Σ_s p_{s−1} · r_s / σ_{s−1} / sqrt(window),   s over the last `window` own bars

    r is the log return, σ the root mean square of `volatility` of them, and p is 1 or, if `trend` has windows h, the mean of
    sign(P_s / P_{s−h} − 1). Under no drift it has mean 0 and variance 1 (of a held position). Bars before a symbol's first one,
    or before its σ is known, count as 0, which is no evidence: so a symbol need not have a history of `window` bars.

    With windows of years it is a policy's memory of what worked: whether a symbol drifts, and whether following trends has paid
    in it and, by the mean over symbols that a policy also reads, in the market ("factor momentum": Ehsani and Linnainmaa,
    "Factor momentum and the momentum factor", Journal of Finance 2022).

    Attributes
    ----------
    window : int
        Bars over which it is added up.
    trend : tuple of int
        Windows of the trend that is followed; none holds the symbol.
    volatility : int
        Bars of σ; at least 2.

    Raises
    ------
    InputError
        When a window is out of range.
    """

    remembers: ClassVar[bool] = True

    window: int
    trend: tuple[int, ...] = ()
    volatility: int = 63

    def __post_init__(self) -> None:
        object.__setattr__(self, "trend", tuple(self.trend))
        if self.window < 1 or self.volatility < 2 or min(self.trend, default=1) < 1:
            raise InputError(
                f"features: windows must be at least 1 bar, and that of a volatility 2; got {self.window}, {self.trend} and "
                f"{self.volatility}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        words = [f"earned_{self.window}", *(["trend", *map(str, self.trend)] if self.trend else [])]
        return ("_".join(words + ([f"volatility_{self.volatility}"] if self.volatility != 63 else [])),)

    @property
    def lookback(self) -> int:
        return max((*self.trend, self.volatility))

    @property
    def reach(self) -> int:
        return self.window + self.lookback

    def values(self, bars: Bars) -> np.ndarray:
        traded = TradedBars(bars.close)
        price = np.log(traded.packed(bars.close))
        moves = np.zeros(price.shape)
        moves[1:] = np.nan_to_num(np.diff(price, axis=0))
        volatility = np.sqrt(_summed(moves**2, self.volatility) / self.volatility)
        volatility[: self.volatility] = 0  # not known yet
        position = np.ones(price.shape)
        if self.trend:
            signs = np.zeros((len(self.trend), *price.shape))
            for k, window in enumerate(self.trend):
                signs[k, window:] = np.nan_to_num(np.sign(price[window:] - price[:-window]))
            position = signs.mean(axis=0)
        gains = np.zeros(price.shape)
        known = volatility[:-1] > 1e-8
        np.divide(moves[1:], volatility[:-1], out=gains[1:], where=known)
        gains[1:] = position[:-1] * np.clip(gains[1:], -LARGEST, LARGEST)
        return traded.unpacked(_summed(gains, self.window) / np.sqrt(self.window))


def _summed(values: np.ndarray, window: int) -> np.ndarray:
    """Sums over the last `window` rows, or as many as there are."""
    total = np.cumsum(values, axis=0)
    total[window:] -= total[:-window].copy()
    return total
