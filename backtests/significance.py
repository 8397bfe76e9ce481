"""Whether one account did better than another, or whether it was luck.

What is compared is the Sharpe ratio a year as `backtests.metrics` has it. With both accounts' returns on the same bars, the bars
are drawn anew in blocks, the same for both, and the difference of the ratios is taken each time (the stationary bootstrap:
Politis and Romano, "The stationary bootstrap", Journal of the American Statistical Association 1994; for Sharpe ratios: Ledoit
and Wolf, "Robust performance hypothesis testing with the Sharpe ratio", Journal of Empirical Finance 2008). The interval is
that between the quantiles of the differences drawn.

Blocks have a geometric length, whose mean is the one that suits the difference best (Politis and White 2004, as corrected by
Patton, Politis and White 2009) - not that of the returns, but of what moves the difference, to first order the mean of::

    ψ_t = Z_a − ½ S_a (Z_a² − 1) − Z_b + ½ S_b (Z_b² − 1),   Z = (r − mean) / σ
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from backtests.results import Backtest
from markets import InputError

RESAMPLES = 5000
FEWEST = 30  # returns below which quantiles of resamples mean nothing


@dataclass(frozen=True)
class Interval:
    """A difference and what it might as well have been.

    Attributes
    ----------
    value, low, high : float
        The difference found, and the ends of its interval; NaN where a ratio is not defined.
    block : float
        Mean length of the blocks, in bars.
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
    """Sharpe ratio a year of `backtest` less that of `other`.

    Parameters
    ----------
    backtest, other : Backtest
        Of the same bars.
    level : float
        Share of the resamples within the interval.
    resamples : int
    seed : int

    Raises
    ------
    InputError
        When the backtests are of different bars.
    """
    if not backtest.index.equals(other.index):
        raise InputError(
            f"{backtest.name} and {other.name} were not run on the same bars; compare accounts of one walk-forward"
        )
    years = (backtest.index[-1] - backtest.index[0]).total_seconds() / (365.25 * 86400)
    per_year = (len(backtest.index) - 1) / years
    found = sharpe_difference(simple_returns(backtest), simple_returns(other), level, resamples, seed)
    root = np.sqrt(per_year)
    return Interval(found.value * root, found.low * root, found.high * root, found.block)


def sharpe_difference(
    returns: np.ndarray, others: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The same from two series of returns, as ratios a bar.

    Parameters
    ----------
    returns, others : ndarray of shape (T,)
        Of the same bars.

    Raises
    ------
    InputError
        When the series differ in length, are shorter than `FEWEST`, or the level is not between 0 and 1.
    """
    from arch.bootstrap import StationaryBootstrap, optimal_block_length  # takes a second to import

    if returns.shape != others.shape or returns.ndim != 1 or len(returns) < FEWEST:
        raise InputError(f"returns of shapes {returns.shape} and {others.shape}: give two series of {FEWEST} or more")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level and resamples are {level} and {resamples}; give a share such as 0.95, and at least 1")
    pair = np.column_stack([returns, others])
    if np.array_equal(returns, others):  # one account under two names
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
    """From mark to mark, shape (T − 1,); nothing is earned after ruin."""
    before = backtest.equity[:-1]
    return np.where(before > 0, backtest.equity[1:] / np.where(before > 0, before, 1.0) - 1, 0.0)


def _gap(pair: np.ndarray) -> float:
    """Difference of the ratios a bar of two columns; NaN where one never moves."""
    mean, std = pair.mean(axis=0), pair.std(axis=0, ddof=1)
    if not (std > 0).all():
        return np.nan
    ratio = mean / std
    return float(ratio[0] - ratio[1])


def _influence(pair: np.ndarray) -> np.ndarray:
    """What each bar adds to the difference, to first order, shape (T,)."""
    z = (pair - pair.mean(axis=0)) / pair.std(axis=0, ddof=1)
    ratio = pair.mean(axis=0) / pair.std(axis=0, ddof=1)
    psi = z - 0.5 * ratio * (z**2 - 1)
    return psi[:, 0] - psi[:, 1]
