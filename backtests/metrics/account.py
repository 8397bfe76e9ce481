"""Performance metrics of a backtest, and their conventions.

Returns are simple, from mark to mark, net of all costs. A year is 365.25 calendar days. Bars per year are the number of returns
divided by the length of the span in years: about 252 for daily stocks, and 8,766 for hourly cryptocurrencies. All annualised
figures use this number. The risk-free rate is zero, and standard deviations have ddof 1. A metric that the bars cannot tell is
NaN: a ratio to a dispersion that is mere rounding, as of an account in cash; a rate per year within a single day; growth per
year from less than a week. `markets.common.statistics` has the formulas.

Moments have ddof 0, as in the probabilistic Sharpe ratio, and a normal distribution has a kurtosis of 3. VaR and expected
shortfall are losses of one bar, and positive. Days are calendar days.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtests.metrics.drawdown import longest_drawdown
from backtests.metrics.positions import holding_days
from markets.common.statistics import (
    certainty_equivalent,
    deviation,
    expected_shortfall,
    growth_per_year,
    hit_rate,
    kurtosis,
    max_drawdown,
    profit_factor,
    ratio,
    returns_of,
    sharpe,
    skew,
    sortino,
    tail_ratio,
    value_at_risk,
    volatility_of_volatility,
    years,
)

METRICS = {
    "total return": "final equity divided by initial equity, minus 1",
    "CAGR": "compound annual growth rate: (final equity / initial equity) ** (1 / years) - 1",
    "volatility": "annualised: standard deviation of returns times the square root of bars per year",
    "certainty equivalent": "annualised: mean return less 5 / 2 times the variance of returns, times bars per year; a risk "
    "aversion of 5",
    "Sharpe": "annualised: mean return divided by its standard deviation, times the square root of bars per year; risk-free rate "
    "0",
    "Sortino": "annualised: mean return divided by the downside deviation (root mean square of min(return, 0)), times the square "
    "root of bars per year",
    "max drawdown": "largest fall of equity from its running maximum, as a fraction of that maximum",
    "Calmar": "CAGR divided by max drawdown",
    "turnover": "traded value per year divided by equity; buys and sells both count",
    "costs": "costs per year divided by equity",
    "exposure": "mean gross weight",
    "volatility of volatility": "standard deviation of the logarithms of quarterly volatilities (calendar quarters of at least "
    "20 returns)",
    "longest drawdown": "days from a maximum of equity until it is reached again, or to the last bar",
    "VaR": "loss of a bar that the worst 5 % of bars exceed: minus the 5 % quantile of returns",
    "expected shortfall": "mean loss of the worst 5 % of bars",
    "skew": "third standardised moment of returns",
    "kurtosis": "fourth standardised moment of returns; 3 if normal",
    "tail ratio": "95 % quantile of returns divided by the 5 % quantile, both without their signs",
    "hit rate": "share of gains among the bars that gain or lose",
    "profit factor": "sum of positive returns divided by the sum of negative ones",
    "average holding": "days that a position stays open, on the same side; one that is open at the end counts until then",
    "cost drag": "CAGR if each bar's costs were added back to its return, minus CAGR",
}


def metrics(
    index: pd.DatetimeIndex, equity: np.ndarray, cost: np.ndarray, traded: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """The metrics of `METRICS` for one account.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    equity, cost, traded : ndarray of shape (T,)
        In money: equity at the mark of bar t, and the cost and traded value of the bar that ends at t.
    weights : ndarray of shape (T, A)
        Positions at the marks, as fractions of equity.

    Returns
    -------
    dict
        Values by name. NaN where a metric is not defined, such as the Sharpe ratio of an account that never moved.
    """
    span = years(index)
    per_year = (len(index) - 1) / span
    before = equity[:-1]
    alive = before > 0
    returns, growth = returns_of(equity), equity[-1] / equity[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        paid = np.where(alive, cost[1:] / before, 0.0)
        cagr, drawdown = growth_per_year(growth, span), max_drawdown(equity)
        return {
            "total return": growth - 1,
            "CAGR": cagr,
            "volatility": deviation(returns) * np.sqrt(per_year),
            "certainty equivalent": certainty_equivalent(returns, per_year=per_year),
            "Sharpe": sharpe(returns, per_year),
            "Sortino": sortino(returns, per_year),
            "max drawdown": drawdown,
            "Calmar": ratio(cagr, drawdown),
            "turnover": float(np.sum(traded[1:][alive] / before[alive]) / span),
            "costs": float(np.sum(paid) / span),
            "exposure": float(np.abs(weights).sum(axis=1).mean()),
            "volatility of volatility": volatility_of_volatility(returns, index[1:]),
            "longest drawdown": longest_drawdown(index, equity),
            "VaR": value_at_risk(returns),
            "expected shortfall": expected_shortfall(returns),
            "skew": skew(returns),
            "kurtosis": kurtosis(returns),
            "tail ratio": tail_ratio(returns),
            "hit rate": hit_rate(returns),
            "profit factor": profit_factor(returns),
            "average holding": holding_days(index, weights),
            "cost drag": growth_per_year(float(np.prod(1 + np.maximum(returns + paid, -1))), span) - cagr,
        }


# Metrics of which less is better; of the others more is.
LESS_IS_BETTER = (
    "volatility", "max drawdown", "volatility of volatility", "longest drawdown", "VaR", "expected shortfall", "kurtosis",
    "turnover", "costs", "cost drag",
)  # fmt: skip
# The columns printed in a terminal; the report shows all metrics.
SHORT = ("Sharpe", "CAGR", "volatility", "max drawdown", "turnover", "costs")
# Heads of the columns with their units, on two lines.
HEADS = {
    "CAGR": "CAGR\nper year",
    "volatility": "volatility\nper year",
    "certainty equivalent": "certainty equivalent\nper year",
    "max drawdown": "max\ndrawdown",
    "volatility of volatility": "volatility of\nvolatility",
    "turnover": "turnover\nper year",
    "costs": "costs\nper year",
    "longest drawdown": "longest\ndrawdown",
    "VaR": "VaR 5 %\nper bar",
    "expected shortfall": "shortfall 5 %\nper bar",
    "average holding": "average\nholding",
    "cost drag": "cost drag\nper year",
}
PER_CENT = (
    "total return", "CAGR", "volatility", "certainty equivalent", "max drawdown", "costs", "exposure", "VaR",
    "expected shortfall", "hit rate", "cost drag", "alpha", "tracking error", "share of bars", "mean return", "depth",
)  # fmt: skip
DAYS = ("longest drawdown", "average holding")


def formatted(table: pd.DataFrame) -> pd.DataFrame:
    """A table of metrics as text: fractions in per cent, days, ratios with two decimals, a dash where a metric is not defined.

    What is rounded to zero has no sign.
    """

    def text(column: str, value: float) -> str:
        if not np.isfinite(value):
            return "–"
        if column in PER_CENT:
            return f"{value:z.1%}"
        if column in DAYS:
            return f"{value:,.0f} d" if value >= 10 else f"{value:.1f} d"
        return f"{value:z.1f}x" if column == "turnover" else f"{value:z.2f}"

    return pd.DataFrame({c: [text(c, v) for v in table[c]] for c in table.columns}, index=table.index)
