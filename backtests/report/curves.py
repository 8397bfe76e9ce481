"""Curves of one account, at every bar; pages thin them out, pictures draw them as they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtests.results import Backtest, Backtests
from markets.common.statistics import RESOLUTION


def equity(backtest: Backtest) -> np.ndarray:
    """Equity as a multiple of its start, shape (T,); NaN after ruin, which a log axis cannot show."""
    return np.where(backtest.equity > 0, backtest.equity / backtest.equity[0], np.nan)


def drawdown(backtest: Backtest) -> np.ndarray:
    """Equity relative to its running maximum, minus 1, shape (T,)."""
    return backtest.equity / np.maximum.accumulate(backtest.equity) - 1


def rolling_window(result: Backtests) -> int:
    """Bars of a year, or of a quarter of the span if that is shorter; at least 2."""
    bars, year = len(result.bars), result.bars.bars_per_year
    return int(max(min(round(year) if np.isfinite(year) else bars, bars // 4), 2))


def rolling(backtest: Backtest, window: int, per_year: float) -> tuple[np.ndarray, np.ndarray]:
    """Annualised Sharpe ratio and volatility of the last `window` returns at each bar.

    Returns
    -------
    sharpe, volatility : ndarray of shape (T,)
        NaN before there are as many returns, and a ratio also where returns do not vary.
    """
    over = pd.Series(np.append(np.nan, backtest.returns)).rolling(window)
    mean, std = over.mean().to_numpy(), over.std().to_numpy()
    varies = std > RESOLUTION
    ratio = np.where(varies, mean / np.where(varies, std, 1.0), np.nan)
    return ratio * np.sqrt(per_year), std * np.sqrt(per_year)


def rolling_beta(backtest: Backtest, benchmark: Backtest, window: int) -> np.ndarray:
    """Covariance of the last `window` returns with the benchmark's over its variance, shape (T,); NaN where that is none."""
    returns, others = (pd.Series(np.append(np.nan, b.returns)) for b in (backtest, benchmark))
    variance = others.rolling(window).var().to_numpy()
    varies = variance > RESOLUTION**2
    return np.where(varies, returns.rolling(window).cov(others).to_numpy() / np.where(varies, variance, 1.0), np.nan)


def trading(backtest: Backtest, every: int, per_year: float) -> tuple[np.ndarray, np.ndarray]:
    """Turnover and costs as fractions of equity.

    Returns
    -------
    turnover : ndarray of shape (T,)
        Traded value per year, mean of the last `every` bars; without the initial purchase, which would dominate a plot.
    costs : ndarray of shape (T,)
        Added up since the start.
    """
    before = np.append(np.inf, backtest.equity[:-1])
    before = np.where(before > 0, before, np.inf)
    share = backtest.traded / before
    share[:2] = np.nan
    turnover = pd.Series(share).rolling(every, min_periods=1).mean().to_numpy() * per_year
    return turnover, np.cumsum(backtest.cost / before)
