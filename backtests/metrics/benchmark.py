"""An account beside another: regression of its returns on the other's.

With r and b the returns of the two on the same bars, A bars per year, and cov, var and std of ddof 1::

    beta = cov(r, b) / var(b)                     alpha = A (mean(r) − beta mean(b))
    tracking error = √A std(r − b)                information ratio = √A mean(r − b) / std(r − b)
    up capture = mean(r) / mean(b) on the bars on which b > 0; down capture on those on which b < 0
"""

from __future__ import annotations

import numpy as np

from backtests.metrics.view import Account
from markets import InputError
from markets.common.statistics import RESOLUTION, bars_per_year, deviation, returns_of, sharpe


def against(account: Account, other: Account) -> dict[str, float]:
    """Alpha, beta, correlation, tracking error, information ratio, and up and down capture; alpha is per year.

    Parameters
    ----------
    account, other : Backtest
        On the same bars.

    Returns
    -------
    dict
        NaN where a figure is not defined, as beta to an account that never moved.

    Raises
    ------
    InputError
        When they are not on the same bars.
    """
    if not account.index.equals(other.index):
        raise InputError("the accounts were not run on the same bars; compare accounts of one walk-forward")
    returns, others, per_year = returns_of(account.equity), returns_of(other.equity), bars_per_year(account.index)
    moves = [deviation(r) > RESOLUTION for r in (returns, others)]
    covariance = np.cov(returns, others) if len(returns) > 1 else np.full((2, 2), np.nan)
    beta = float(covariance[0, 1] / covariance[1, 1]) if moves[1] else np.nan
    gap = returns - others
    return {
        "alpha": float((returns.mean() - beta * others.mean()) * per_year),
        "beta": beta,
        "correlation": float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])) if all(moves) else np.nan,
        "tracking error": float(deviation(gap) * np.sqrt(per_year)),
        "information ratio": float(sharpe(gap, per_year)),
        "up capture": _capture(returns, others, others > 0),
        "down capture": _capture(returns, others, others < 0),
    }


def _capture(returns: np.ndarray, others: np.ndarray, bars: np.ndarray) -> float:
    return float(returns[bars].mean() / others[bars].mean()) if bars.any() else np.nan
