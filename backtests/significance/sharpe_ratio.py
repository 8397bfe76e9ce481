"""Confidence intervals for the annualised Sharpe ratio of an account, and for the difference of two (as in `backtests.metrics`).

Bars are resampled in blocks, the same bars for both accounts (`backtests.significance.resampling`). Each resample gives a
ratio S* and its standard error s*, and so a t-statistic ``(S* − S) / s*``. The interval is ``S ± c·s``, where c is the level's
quantile of |t| (symmetric studentised bootstrap: Ledoit and Wolf, "Robust performance hypothesis testing with the Sharpe
ratio", Journal of Empirical Finance 2008). Quantiles of S* itself give intervals that are too short where volatility clusters
or tails are fat. `benchmarks/significance.py` measures how often the truth lies inside.

The errors come from the influence function, of which ψ_t is the value at bar t::

    ψ_t = Z_a − ½ S_a (Z_a² − 1) − Z_b + ½ S_b (Z_b² − 1),   Z = (r − mean) / σ

s is the bootstrap's standard deviation of the mean of ψ, in closed form; s* is that of independent blocks. Block lengths are
geometric, and their mean is the optimal one for ψ, or T^(1/3) bars if that is longer: returns whose volatility clusters look
independent to the rule, and blocks of one bar then give intervals that are a few per cent too short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtests.results import Backtest
from backtests.significance.resampling import error_of_mean, optimal_block, resampled_ratios, shortest_block
from markets import InputError
from markets.common.statistics import RESOLUTION, bars_per_year, returns_of, sharpe

RESAMPLES = 5000
FEWEST = 30  # smallest number of returns for which bootstrap quantiles are meaningful


@dataclass(frozen=True)
class Interval:
    """A Sharpe ratio, or a difference of two, with its confidence interval.

    Attributes
    ----------
    value, low, high : float
        The ratio or difference, and the ends of its interval; NaN if a ratio is not defined.
    block : float
        Mean block length of the bootstrap, in bars.
    """

    value: float
    low: float
    high: float
    block: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.block)


def sharpe_gap(
    backtest: Backtest, other: Backtest, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Annualised Sharpe ratio of `backtest` minus that of `other`, with its confidence interval.

    Parameters
    ----------
    backtest, other : Backtest
        On the same bars.
    level : float
        Confidence level, between 0 and 1.
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        When the backtests are not on the same bars, are too short, or a setting is out of range.
    """
    if not backtest.index.equals(other.index):
        raise InputError(
            f"{backtest.name} and {other.name} were not run on the same bars; compare accounts of one walk-forward"
        )
    found = sharpe_difference(returns_of(backtest.equity), returns_of(other.equity), level, resamples, seed)
    return found * float(np.sqrt(bars_per_year(backtest.index)))


def sharpe_difference(
    returns: np.ndarray, others: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Sharpe ratio per bar (not annualised) of `returns` minus that of `others`, with its confidence interval.

    Parameters
    ----------
    returns, others : ndarray of shape (T,)
        Simple returns on the same bars.
    level, resamples, seed
        See `sharpe_gap`.

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        When the series differ in length, are shorter than `FEWEST`, or the level is not between 0 and 1.
    """
    if returns.shape != others.shape or returns.ndim != 1 or len(returns) < FEWEST:
        raise InputError(f"returns of shapes {returns.shape} and {others.shape}: give two series of {FEWEST} or more")
    if np.array_equal(returns, others):
        return Interval(0.0, 0.0, 0.0, 1.0)
    return _interval(np.column_stack([returns, others]), level, resamples, seed)


def sharpe_interval(returns: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Sharpe ratio per bar (not annualised) of `returns` (T,), with its confidence interval.

    Parameters
    ----------
    returns : ndarray of shape (T,)
        Simple returns.
    level, resamples, seed
        See `sharpe_gap`.

    Raises
    ------
    InputError
        When there are fewer than `FEWEST` returns, or the level is not between 0 and 1.
    """
    if returns.ndim != 1 or len(returns) < FEWEST:
        raise InputError(f"returns of shape {returns.shape}: give a series of {FEWEST} or more")
    return _interval(returns[:, None], level, resamples, seed)


def _interval(series: np.ndarray, level: float, resamples: int, seed: int) -> Interval:
    """Interval of the first column's ratio, minus the second's if there is one; columns (T, 1) or (T, 2)."""
    if not 0 < level < 1 or resamples < 1:
        raise InputError(
            f"level and resamples are {level} and {resamples}; give a fraction such as 0.95, and at least 1"
        )
    value = sharpe(series[:, 0]) - (sharpe(series[:, 1]) if series.shape[1] > 1 else 0.0)
    if not np.isfinite(value):
        return Interval(np.nan, np.nan, np.nan, np.nan)
    effect = influence(series)
    rounding = (RESOLUTION / series.std(axis=0)).sum()
    if series.shape[1] > 1 and effect.std() <= rounding:  # one account is a multiple of the other
        return Interval(0.0, 0.0, 0.0, 1.0)
    block = max(optimal_block(effect), shortest_block(len(effect)))
    ratios, errors = resampled_ratios(series, block, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs((ratios - value) / errors)
    half = float(np.nanquantile(size, level) * error_of_mean(effect, block))
    return Interval(value, value - half, value + half, block)


def influence(series: np.ndarray) -> np.ndarray:
    """Influence ψ_t of each bar on the first column's Sharpe ratio, minus the second's if there is one; shape (T,)."""
    mean, std = series.mean(axis=0), series.std(axis=0, ddof=1)
    z = (series - mean) / std
    psi = z - 0.5 * (mean / std) * (z**2 - 1)
    return psi[:, 0] - psi[:, 1] if series.shape[1] > 1 else psi[:, 0]
