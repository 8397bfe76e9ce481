"""Confidence intervals for the difference of two accounts' annualised Sharpe ratios (as defined in `backtests.metrics`).

Bars are resampled in blocks, the same bars for both accounts, and the difference of the ratios is computed for each resample
(stationary bootstrap: Politis and Romano, "The stationary bootstrap", Journal of the American Statistical Association 1994; for
Sharpe ratios: Ledoit and Wolf, "Robust performance hypothesis testing with the Sharpe ratio", Journal of Empirical Finance
2008). The interval lies between two quantiles of these differences.

Block lengths are geometric. Their mean is the optimal one (Politis and White 2004, as corrected by Patton, Politis and White
2009), not for the returns themselves but for the influence function of the difference, of which ψ_t is the value at bar t::

    ψ_t = Z_a − ½ S_a (Z_a² − 1) − Z_b + ½ S_b (Z_b² − 1),   Z = (r − mean) / σ
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from backtests.results import Backtest
from markets import InputError
from markets.common.statistics import bars_per_year, sharpe

RESAMPLES = 5000
FEWEST = 30  # smallest number of returns for which bootstrap quantiles are meaningful


@dataclass(frozen=True)
class Interval:
    """A difference of Sharpe ratios, with its confidence interval.

    Attributes
    ----------
    value, low, high : float
        The difference, and the ends of its interval; NaN if one of the ratios is not defined.
    block : float
        Mean block length of the bootstrap, in bars.
    """

    value: float
    low: float
    high: float
    block: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


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
    found = sharpe_difference(simple_returns(backtest), simple_returns(other), level, resamples, seed)
    root = np.sqrt(bars_per_year(backtest.index))
    return Interval(found.value * root, found.low * root, found.high * root, found.block)


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
    from arch.bootstrap import StationaryBootstrap, optimal_block_length  # takes a second to import

    if returns.shape != others.shape or returns.ndim != 1 or len(returns) < FEWEST:
        raise InputError(f"returns of shapes {returns.shape} and {others.shape}: give two series of {FEWEST} or more")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(
            f"level and resamples are {level} and {resamples}; give a fraction such as 0.95, and at least 1"
        )
    pair = np.column_stack([returns, others])
    if np.array_equal(returns, others):  # identical accounts
        return Interval(0.0, 0.0, 0.0, 1.0)
    value = _gap(pair)
    if not np.isfinite(value):
        return Interval(np.nan, np.nan, np.nan, np.nan)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        block = float(optimal_block_length(_influence(pair))["stationary"].iloc[0])
    block = float(np.clip(block, 1.0, len(pair) / 3)) if np.isfinite(block) else 1.0
    resampled = np.array(
        [_gap(data[0][0]) for data in StationaryBootstrap(block, pair, seed=seed).bootstrap(resamples)]
    )
    low, high = np.nanquantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), block)


def simple_returns(backtest: Backtest) -> np.ndarray:
    """Simple returns from mark to mark, shape (T − 1,); 0 after ruin."""
    before = backtest.equity[:-1]
    return np.where(before > 0, backtest.equity[1:] / np.where(before > 0, before, 1.0) - 1, 0.0)


def _gap(pair: np.ndarray) -> float:
    """Difference of the two columns' Sharpe ratios per bar; NaN if a column is constant."""
    return sharpe(pair[:, 0]) - sharpe(pair[:, 1])


def _influence(pair: np.ndarray) -> np.ndarray:
    """Influence of each bar on the difference (ψ_t, to first order), shape (T,)."""
    z = (pair - pair.mean(axis=0)) / pair.std(axis=0, ddof=1)
    ratio = pair.mean(axis=0) / pair.std(axis=0, ddof=1)
    psi = z - 0.5 * ratio * (z**2 - 1)
    return psi[:, 0] - psi[:, 1]
