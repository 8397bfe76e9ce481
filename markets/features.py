"""What a policy sees: a handful of causal features of every symbol.

Row t is made of closes up to bar t, by one forward pass; there is nothing to fit and nothing to scale by the whole
sample. Everything is in units of the symbol's own volatility, so that one policy reads a bank and a bitcoin alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from markets.bars import Bars
from markets.errors import InputError

# A price that never moves has no volatility to divide by.
SMALLEST_VOLATILITY = 1e-6
# Eight standard deviations: beyond, only the sign is news, and a broken price must not blow up a network.
LARGEST = 8.0


@dataclass(frozen=True)
class Features:
    """Momentum, volatility and trend of each symbol.

    Attributes
    ----------
    horizons : tuple of int
        ``log(P_t / P_{t-h}) / (σ_t sqrt(h))`` for each h, in bars (Moskowitz, Ooi and Pedersen, "Time series momentum", Journal
        of Financial Economics 2012).
    volatility : int
        Bars over which σ, the root mean square log return, is taken.
    short_volatility : int
        ``log(σ_short / σ)``: is it wilder than usual.
    averages : tuple of int
        ``(log P_t − mean of log P over n bars) / (σ_t sqrt(n))`` for each n.
    """

    horizons: tuple[int, ...] = (1, 5, 21, 63, 252)
    volatility: int = 63
    short_volatility: int = 10
    averages: tuple[int, ...] = (50, 200)

    def __post_init__(self) -> None:
        windows = (*self.horizons, self.volatility, self.short_volatility, *self.averages)
        if not self.horizons or min(windows) < 1:
            raise InputError(f"features: every window must be at least 1 bar, and there must be a horizon; got {self}")

    @property
    def names(self) -> tuple[str, ...]:
        returns = [f"return_{h}" for h in self.horizons]
        return (*returns, "volatility_ratio", *(f"above_average_{n}" for n in self.averages))

    @property
    def lookback(self) -> int:
        """Bars that must come before the first one that has all features."""
        return max(*self.horizons, self.volatility, self.short_volatility, *self.averages)

    def compute(self, bars: Bars) -> np.ndarray:
        """Features of the visible rows; the history warms them up.

        Returns
        -------
        ndarray of shape (T, A, F)
            Float64; NaN for a symbol's first `lookback` bars and while it is not listed. Over gaps the last close stands.
        """
        with np.errstate(invalid="ignore"):
            logs = np.log(bars.with_past().marks)
        out = np.empty((*logs.shape, len(self.names)))
        horizons, averages = np.array(self.horizons), np.array(self.averages, dtype=np.int64)
        _compute(logs, horizons, self.volatility, self.short_volatility, averages, self.lookback, out)
        return np.where(bars.listed[..., None], out[bars.past :], np.nan)

    def require(self, bars: Bars, more: int = 0) -> None:
        """Raise `InputError` unless there are bars enough for `more` rows of features."""
        held, needed = len(bars) + bars.past, self.lookback + 1 + more
        if held < needed:
            raise InputError(
                f"{bars.name} has {held} bars, but {needed} are needed ({self.lookback} warm the features up)"
            )


@njit(cache=True, nogil=True)
def _compute(logs, horizons, window, short_window, averages, lookback, out):
    """Running sums over windows, symbol by symbol; a bar without a new close counts as no return."""
    bars, symbols = logs.shape
    out[:] = np.nan
    sums = np.empty(averages.size)
    for a in range(symbols):
        first = 0
        while first < bars and np.isnan(logs[first, a]):
            first += 1
        squares, short_squares = 0.0, 0.0
        sums[:] = 0.0
        for t in range(first, bars):
            if t > first:
                squares += (logs[t, a] - logs[t - 1, a]) ** 2
                short_squares += (logs[t, a] - logs[t - 1, a]) ** 2
            if t - window > first:
                squares -= (logs[t - window, a] - logs[t - window - 1, a]) ** 2
            if t - short_window > first:
                short_squares -= (logs[t - short_window, a] - logs[t - short_window - 1, a]) ** 2
            for k in range(averages.size):
                # relative to the first price, so that the sums stay small and exact
                sums[k] += logs[t, a] - logs[first, a]
                if t - averages[k] >= first:
                    sums[k] -= logs[t - averages[k], a] - logs[first, a]
            if t - first < lookback:
                continue
            sigma = max(np.sqrt(max(squares, 0.0) / window), SMALLEST_VOLATILITY)
            short = max(np.sqrt(max(short_squares, 0.0) / short_window), SMALLEST_VOLATILITY)
            f = 0
            for k in range(horizons.size):
                h = horizons[k]
                out[t, a, f] = _bounded((logs[t, a] - logs[t - h, a]) / (sigma * np.sqrt(h)))
                f += 1
            out[t, a, f] = _bounded(np.log(short / sigma))
            f += 1
            for k in range(averages.size):
                n = averages[k]
                distance = logs[t, a] - logs[first, a] - sums[k] / n
                out[t, a, f] = _bounded(distance / (sigma * np.sqrt(n)))
                f += 1


@njit(cache=True, nogil=True)
def _bounded(x):
    return min(max(x, -LARGEST), LARGEST)
