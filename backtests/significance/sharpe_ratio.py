"""Confidence intervals of Sharpe ratios: of one account, and of the difference of two (`backtests.significance.interval`)."""

from __future__ import annotations

import numpy as np

from backtests.results import Backtest
from backtests.significance.interval import FEWEST, RESAMPLES, Interval, Sample, interval
from backtests.significance.paired import paired
from backtests.significance.statistic import SharpeRatio
from markets import InputError


def sharpe_gap(
    backtest: Backtest, other: Backtest, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Annualised Sharpe ratio of `backtest` minus that of `other`: `paired` of ``sharpe``."""
    return paired(backtest, other, SharpeRatio(), level=level, resamples=resamples, seed=seed)


def sharpe_difference(
    returns: np.ndarray, others: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Sharpe ratio per bar (not annualised) of `returns` minus that of `others`, with its confidence interval.

    Parameters
    ----------
    returns, others : ndarray of shape (T,)
        Simple returns on the same bars.
    level, resamples, seed
        See `paired`.

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
    sample = Sample((returns, others), np.arange(len(returns)), SharpeRatio())
    return interval([sample], level=level, resamples=resamples, seed=seed)


def sharpe_interval(returns: np.ndarray, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Sharpe ratio per bar (not annualised) of `returns` (T,), with its confidence interval.

    Parameters
    ----------
    returns : ndarray of shape (T,)
        Simple returns.
    level, resamples, seed
        See `paired`.

    Raises
    ------
    InputError
        When there are fewer than `FEWEST` returns, or the level is not between 0 and 1.
    """
    if returns.ndim != 1 or len(returns) < FEWEST:
        raise InputError(f"returns of shape {returns.shape}: give a series of {FEWEST} or more")
    sample = Sample((returns,), np.arange(len(returns)), SharpeRatio())
    return interval([sample], level=level, resamples=resamples, seed=seed)
