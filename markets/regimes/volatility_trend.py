"""Regimes by rule: the level of realised volatility, and the sign of the trend.

Realised volatility is the root mean square of the market's last `window` returns; the trend is the sum of its last `trend` log
returns. The edges between levels of volatility are quantiles of the fitted span. They are fixed from then on, so later bars move
between the levels and never move the edges.

No label depends on rounding, which differs between processors: an edge lies midway between two observations of the fitted span
that differ by more than rounding, and a trend of zero counts as rising.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.regimes.base import _SHARED, RegimeDetector, RegimePath, regime_names

# A sum of log returns that is zero up to rounding.
_FLAT = 1e-12
# Volatilities closer than this fraction of the largest differ by rounding alone.
_SAME = 1e-9


class VolatilityTrendRegimes(RegimeDetector):
    """Levels of realised volatility, each split by the sign of the trend.

    Levels are ordered by volatility, and within a level *rising* comes before *falling*. Until `window` (and `trend`) returns
    are available, the probabilities of a bar are `shares`. A bar without a return keeps the regime of the bar before.

    Parameters
    ----------
    n_regimes : int
        Number of regimes. With a trend it is even: two for each level.
    window : int
        Number of returns in realised volatility.
    trend : int
        Number of returns in the trend; 0 for levels of volatility alone.

    Attributes
    ----------
    edges : ndarray of shape (levels − 1,)
        Upper edges of the levels but the last, in per cent per bar, ascending. Set by `fit`.
    shares : ndarray of shape (K,)
        Fraction of the fitted bars in each regime. Set by `fit`.
    """

    edges: np.ndarray
    shares: np.ndarray

    def __init__(self, n_regimes: int = 4, *, window: int = 21, trend: int = 126):
        self.n_regimes = n_regimes
        self.window = window
        self.trend = trend
        self._check_counts(n_regimes=1, window=2, trend=0)
        if trend and n_regimes % 2:
            raise InputError(
                f"n_regimes is {n_regimes}; with a trend it must be even, rising and falling at each level: give "
                f"{n_regimes + 1}, or trend=0 for volatility alone"
            )

    @property
    def levels(self) -> int:
        """Levels of volatility."""
        return self.n_regimes // 2 if self.trend else self.n_regimes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regimes, in ascending order of volatility."""
        levels = regime_names(self.levels)
        return tuple(f"{level} {way}" for level in levels for way in ("rising", "falling")) if self.trend else levels

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return _SHARED | {"edges": (self.levels - 1,), "shares": (self.n_regimes,)}

    def fit(self, bars: Bars) -> VolatilityTrendRegimes:
        """Set the edges to quantiles over all rows of `bars`, history included.

        Raises
        ------
        InputError
            When there are too few bars for the number of regimes and the windows, prices do not move, or volatility takes too
            few different values.
        """
        returns = self._returns_to_fit(bars, max(20 * self.n_regimes, 2 * self.window, 2 * self.trend))
        volatility = _realised(returns, self.window, False)
        known = np.sort(volatility[np.isfinite(volatility)])
        edges = _between_observations(known, np.arange(1, self.levels) / self.levels)
        counts = np.diff(np.searchsorted(known, edges, side="left"), prepend=0, append=len(known))
        if not counts.all():
            raise InputError(
                f"{bars.name}: realised volatility takes too few different values for {self.levels} levels; use fewer "
                "regimes, or a longer window"
            )
        self.edges = edges
        labels = self._labels(returns, False)
        self.shares = np.bincount(labels[labels >= 0], minlength=self.n_regimes) / (labels >= 0).sum()
        live = self.filter(bars.with_past())
        levels = live.probabilities.reshape(len(live.index), self.levels, -1).sum(axis=2)
        self._warn_of_degenerate(bars, replace(live, probabilities=levels, names=regime_names(self.levels)))
        return self

    def filter(self, bars: Bars) -> RegimePath:
        """Regime of each visible bar, from that bar and earlier ones alone; probabilities are 0 or 1."""
        return self._path(bars, False)

    def hindsight(self, bars: Bars) -> RegimePath:
        """The same with windows centred on the bar, which use later bars."""
        return self._path(bars, True)

    def _path(self, bars: Bars, centred: bool) -> RegimePath:
        returns, last = self._news(bars)
        labels = np.append(self._labels(returns, centred), -1)[last]  # -1, the last, before the first return
        probabilities = np.where(labels[:, None] < 0, self.shares, np.eye(self.n_regimes)[labels])
        return self._path_of(bars, probabilities)

    def _labels(self, returns: np.ndarray, centred: bool) -> np.ndarray:
        """Label of each return, -1 where windows are not full."""
        volatility = _realised(returns, self.window, centred)
        labels = np.searchsorted(self.edges, volatility, side="right")
        known = np.isfinite(volatility)
        if self.trend:
            trend = _trend(returns, self.trend, centred)
            known &= np.isfinite(trend)
            labels = 2 * labels + (trend < -_FLAT)
        return np.where(known, labels, -1)


def _between_observations(values: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Quantiles of sorted `values`, each moved to the nearest gap: midway between two observations that truly differ."""
    gaps = np.flatnonzero(np.diff(values) > _SAME * values[-1]) + 1  # number of observations below each gap
    if not len(gaps):
        return np.full(len(fractions), values[0])
    nearest = gaps[np.abs(gaps - np.rint(fractions[:, None] * len(values))).argmin(axis=1)]
    return (values[nearest - 1] + values[nearest]) / 2


@njit(cache=True, nogil=True)
def _realised(returns, window, centred):
    """Root mean square over a window that ends at the bar, or is centred on it; NaN where it is not full.

    Each window is summed from scratch: a running sum would accumulate rounding errors.
    """
    out = np.full(returns.size, np.nan)
    ahead = window // 2 if centred else 0
    for t in range(window - 1 - ahead, returns.size - ahead):
        total = 0.0
        for s in range(t + ahead - window + 1, t + ahead + 1):
            total += returns[s] ** 2
        out[t] = np.sqrt(total / window)
    return out


@njit(cache=True, nogil=True)
def _trend(returns, window, centred):
    """Sum of log returns over the same windows; returns in per cent."""
    out = np.full(returns.size, np.nan)
    ahead = window // 2 if centred else 0
    for t in range(window - 1 - ahead, returns.size - ahead):
        total = 0.0
        for s in range(t + ahead - window + 1, t + ahead + 1):
            total += np.log(max(1 + returns[s] / 100, 1e-12))
        out[t] = total
    return out
