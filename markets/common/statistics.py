"""Statistics of a path of returns: the one definition of each that every table uses.

Returns are simple, the risk-free rate is zero and standard deviations have ddof 1. A year is 365.25 days. What cannot be
told is NaN, and a table shows it as a dash: a ratio whose denominator is nothing but rounding, and a rate per year of a span
that is too short.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

# Returns are differences of numbers near 1, so their dispersion below this is rounding.
RESOLUTION = 100 * np.finfo(np.float64).eps
YEAR = 365.25  # days
SHORTEST = 7 / YEAR  # years; the growth of a shorter span says nothing about that of a year
FEWEST_OF_QUARTER = 20  # returns; the volatility of fewer is mostly noise


def years(index: pd.DatetimeIndex) -> float:
    """Time from the first bar to the last, in years; NaN within a single day.

    Bars of a day or longer are counted by calendar time. Intraday bars are counted by the days that they cover, since two
    sessions are two days of trading although one night lies between their first and last bar; weekends without bars are
    spread over the weekdays.
    """
    days = index.tz_localize(None).normalize()
    if len(index) < 2 or days[0] == days[-1]:
        return np.nan
    if days.is_unique:
        return (index[-1] - index[0]).total_seconds() / (YEAR * 86400)
    first, last = days[0].to_datetime64().astype("M8[D]"), days[-1].to_datetime64().astype("M8[D]") + 1
    weekend = (days.day_of_week >= 5).any()
    covered = float((last - first).astype(int)) if weekend else float(np.busday_count(first, last)) * 7 / 5
    return covered / YEAR * (len(index) - 1) / len(index)


def bars_per_year(index: pd.DatetimeIndex) -> float:
    """Number of returns per year: about 252 for daily stocks, 8,766 for hourly coins; NaN within a single day."""
    return (len(index) - 1) / years(index)


def growth_per_year(growth: float, span: float) -> float:
    """Compound annual growth rate of a value that became `growth` times itself in `span` years; NaN below `SHORTEST`."""
    if growth <= 0:
        return -1.0
    with np.errstate(over="ignore"):
        return float(np.power(growth, 1 / span) - 1) if span >= SHORTEST else np.nan


def deviation(returns: np.ndarray) -> float:
    """Standard deviation; NaN of fewer than two returns."""
    return float(returns.std(ddof=1)) if len(returns) > 1 else np.nan


def ratio(value: float, scale: float) -> float:
    """`value` over `scale`, a dispersion of returns or a loss; NaN if the scale is no more than rounding."""
    return float(value / scale) if scale > RESOLUTION else np.nan


def sharpe(returns: np.ndarray, per_year: float = 1.0) -> float:
    """Mean return over standard deviation, annualised by `per_year` bars per year."""
    return ratio(returns.mean(), deviation(returns)) * np.sqrt(per_year) if len(returns) else np.nan


def sortino(returns: np.ndarray, per_year: float = 1.0) -> float:
    """Mean return over the root mean square of min(return, 0), annualised by `per_year` bars per year."""
    if not len(returns):
        return np.nan
    return ratio(returns.mean(), np.sqrt(np.mean(np.minimum(returns, 0) ** 2))) * np.sqrt(per_year)


def certainty_equivalent(returns: np.ndarray, risk_aversion: float = 5.0, per_year: float = 1.0) -> float:
    """Mean return less half of `risk_aversion` times their variance, times `per_year` bars per year.

    The sure return that one of this risk aversion holds worth them, as far as two moments tell.
    """
    if len(returns) < 2:
        return np.nan
    return float((returns.mean() - 0.5 * risk_aversion * returns.var(ddof=1)) * per_year)


def log_quarterly_volatilities(returns: np.ndarray, index: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Log standard deviation of the returns of each calendar quarter.

    Parameters
    ----------
    returns : ndarray of shape (T,)
    index : DatetimeIndex of shape (T,)
        Bars at which the returns end.

    Returns
    -------
    quarters : ndarray of datetime64, shape (Q,)
        First days of the quarters that hold at least `FEWEST_OF_QUARTER` returns.
    logs : ndarray of shape (Q,)
        Minus infinity where the dispersion is mere rounding.
    """
    naive = index.tz_localize(None)
    first = (naive.year.to_numpy() - 1970) * 12 + (naive.month.to_numpy() - 1) // 3 * 3
    quarters, at, bars = np.unique(first, return_inverse=True, return_counts=True)
    mean = np.bincount(at, returns) / bars
    squares = np.bincount(at, (returns - mean[at]) ** 2)
    full = bars >= FEWEST_OF_QUARTER
    std = np.sqrt(squares[full] / (bars[full] - 1))
    logs = np.log(std, out=np.full(len(std), -np.inf), where=std > RESOLUTION)
    return quarters[full].astype("datetime64[M]").astype("datetime64[us]"), logs


def volatility_of_volatility(returns: np.ndarray, index: pd.DatetimeIndex) -> float:
    """Standard deviation of `log_quarterly_volatilities`.

    NaN if there are fewer than four such quarters, or one in which nothing moves. Where the true volatility never changes it is
    not 0 but about ``1 / √(2 n)`` for n normal returns per quarter, so .09 for days: each quarter's is an estimate.
    """
    _, logs = log_quarterly_volatilities(returns, index)
    return float(logs.std(ddof=1)) if len(logs) >= 4 and np.isfinite(logs).all() else np.nan


def max_drawdown(wealth: np.ndarray) -> float:
    """Largest fall from the running maximum, as a positive fraction of that maximum."""
    return float((1 - wealth / np.maximum.accumulate(wealth)).max())


def returns_of(equity: np.ndarray) -> np.ndarray:
    """Simple returns of an account from mark to mark, shape (T − 1,); 0 after ruin."""
    before = equity[:-1]
    alive = before > 0
    return np.where(alive, equity[1:] / np.where(alive, before, 1.0) - 1, 0.0)


def skew(returns: np.ndarray) -> float:
    """Third central moment over the cube of the standard deviation, both of the sample (ddof 0)."""
    z = _standardised(returns)
    return float(np.mean(z * z * z)) if len(z) else np.nan


def kurtosis(returns: np.ndarray) -> float:
    """Fourth central moment over the fourth power of the standard deviation, both of the sample (ddof 0); 3 if normal."""
    squares = np.square(_standardised(returns))
    return float(np.mean(squares * squares)) if len(squares) else np.nan


def _standardised(returns: np.ndarray) -> np.ndarray:
    """Returns less their mean, over their standard deviation (ddof 0); none if they do not vary."""
    scale = float(returns.std()) if len(returns) > 1 else 0.0
    return (returns - returns.mean()) / scale if scale > RESOLUTION else returns[:0]


def value_at_risk(returns: np.ndarray, tail: float = 0.05) -> float:
    """The loss that the worst `tail` of the returns exceed: their quantile, interpolated linearly, with its sign changed."""
    return float(-np.quantile(returns, tail)) if len(returns) else np.nan


def expected_shortfall(returns: np.ndarray, tail: float = 0.05) -> float:
    """Mean loss of the worst `tail` of the returns: of the lowest ``1 + floor(tail (T − 1))``."""
    if not len(returns):
        return np.nan
    worst = 1 + int(tail * (len(returns) - 1))
    return float(-np.partition(returns, worst - 1)[:worst].mean())


def tail_ratio(returns: np.ndarray, tail: float = 0.05) -> float:
    """Quantile ``1 − tail`` over quantile `tail`, both without their signs."""
    if not len(returns):
        return np.nan
    low, high = np.abs(np.quantile(returns, [tail, 1 - tail]))
    return ratio(high, low)


def hit_rate(returns: np.ndarray) -> float:
    """Share of gains among the returns that are not zero."""
    moved = np.count_nonzero(returns)
    return float(np.count_nonzero(returns > 0) / moved) if moved else np.nan


def profit_factor(returns: np.ndarray) -> float:
    """Sum of the gains over the sum of the losses."""
    return ratio(float(returns[returns > 0].sum()), float(-returns[returns < 0].sum()))
