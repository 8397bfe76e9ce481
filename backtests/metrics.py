"""What a backtest was worth, with every convention stated.

Returns are simple, from mark to mark, net of all costs. A year is 365.25 calendar days; bars per year are the bars of the
span over its years, so that daily stocks come to about 252 and hourly coins to 8,766. The risk-free rate is zero, standard
deviations have ddof 1, and nothing is annualised by any other rule.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

METRICS = {
    "total return": "equity at the end over equity at the start, minus 1",
    "CAGR": "growth a year: (end / start) ** (1 / years) - 1",
    "volatility": "standard deviation of returns, times the root of bars per year",
    "Sharpe": "mean return over its standard deviation, times the root of bars per year; risk-free rate 0",
    "Sortino": "mean return over the root mean square of negative returns, times the root of bars per year",
    "max drawdown": "largest fall of equity from its highest mark so far",
    "Calmar": "CAGR over the largest drawdown",
    "turnover": "traded value a year over equity, buys and sells both counted",
    "costs": "costs a year over equity",
    "exposure": "mean gross weight",
}


def metrics(
    index: pd.DatetimeIndex, equity: np.ndarray, cost: np.ndarray, traded: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """The figures of `METRICS` for one account.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    equity, cost, traded : ndarray of shape (T,)
        Money; cost and traded value of the bar that ends at t.
    weights : ndarray of shape (T, A)
        Held at the marks.

    Returns
    -------
    dict
        NaN where a figure is not defined: a Sharpe ratio of an account that never moved, growth after ruin.
    """
    years = (index[-1] - index[0]).total_seconds() / (365.25 * 86400)
    per_year = (len(index) - 1) / years
    with np.errstate(divide="ignore", invalid="ignore"):
        before = equity[:-1]
        returns = np.where(before > 0, equity[1:] / before - 1, 0.0)  # nothing is earned after ruin
        std = returns.std(ddof=1) if len(returns) > 1 else np.nan
        downside = np.sqrt(np.mean(np.minimum(returns, 0) ** 2))
        growth = equity[-1] / equity[0]
        cagr = growth ** (1 / years) - 1 if growth > 0 else -1.0
        drawdown = (1 - equity / np.maximum.accumulate(equity)).max()
        root = np.sqrt(per_year)
        alive = before > 0
        return {
            "total return": growth - 1,
            "CAGR": cagr,
            "volatility": std * root,
            "Sharpe": returns.mean() / std * root if std > 0 else np.nan,
            "Sortino": returns.mean() / downside * root if downside > 0 else np.nan,
            "max drawdown": drawdown,
            "Calmar": cagr / drawdown if drawdown > 0 else np.nan,
            "turnover": float(np.sum(traded[1:][alive] / before[alive]) / years),
            "costs": float(np.sum(cost[1:][alive] / before[alive]) / years),
            "exposure": float(np.abs(weights).sum(axis=1).mean()),
        }


# What fits a terminal; the report has them all.
SHORT = ("Sharpe", "CAGR", "volatility", "max drawdown", "turnover", "costs")
PER_CENT = ("total return", "CAGR", "volatility", "max drawdown", "costs", "exposure")


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """A metrics table as text: shares in per cent, ratios with two decimals, dashes where a figure is not defined."""

    def text(column: str, value: float) -> str:
        if not np.isfinite(value):
            return "–"
        if column in PER_CENT:
            return f"{value:.1%}"
        return f"{value:.1f}x" if column == "turnover" else f"{value:.2f}"

    return pd.DataFrame({c: [text(c, v) for v in table[c]] for c in table.columns}, index=table.index)
