"""Differences of two accounts in one statistic, with intervals; a thin stand-in until `backtests.significance` has `paired`.

Each statistic comes with its influence function ψ, the effect of one bar on it. The standard error is that of the mean of the
difference of two ψ under the stationary bootstrap, and the interval has the bootstrap's quantile of its size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from backtests import Backtest
from backtests.significance.resampling import error_of_mean, optimal_block, resampled_means, shortest_block
from markets import InputError
from markets.common.statistics import bars_per_year, expected_shortfall, returns_of, sharpe

POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A difference, its interval, its standard error, the smallest difference that could be detected, and its p-value."""

    value: float
    low: float
    high: float
    error: float
    detectable: float
    p: float


def paired(
    backtest: Backtest, other: Backtest, statistic: str, *, level: float = 0.95, resamples: int = 5000, seed: int = 0
) -> Interval:
    """`statistic` of one account minus that of another on the same bars."""
    if not backtest.index.equals(other.index):
        raise InputError(f"{backtest.name} and {other.name} were not run on the same bars")
    value, effect = 0.0, np.zeros(len(backtest.index) - 1)
    for sign, account in ((1, backtest), (-1, other)):
        one, psi = STATISTICS[statistic](account)
        value, effect = value + sign * one, effect + sign * psi
    if effect.std() < 1e-15:
        return Interval(0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    block = max(optimal_block(effect), shortest_block(len(effect)))
    error = float(error_of_mean(effect, block))
    size = np.abs(resampled_means(effect[:, None], block, resamples, seed)[:, 0] - effect.mean())
    return interval(value, error, float(np.quantile(size, level)), level)


def interval(value: float, error: float, half: float, level: float = 0.95) -> Interval:
    """An interval of half-width `half` around `value`."""
    detectable = (norm.isf((1 - level) / 2) + norm.ppf(POWER)) * error
    return Interval(value, value - half, value + half, error, detectable, float(2 * norm.sf(abs(value) / error)))


def pooled(
    pairs: Sequence[tuple[Backtest, Backtest]],
    statistic: str,
    weights: str = "equal",
    *,
    level: float = 0.95,
    resamples: int = 5000,
    seed: int = 0,
) -> Interval:
    """The mean of the differences of several pairs, taken as independent; weighted alike or by precision."""
    found = [paired(*pair, statistic, level=level, resamples=resamples, seed=seed) for pair in pairs]
    errors = np.array([max(f.error, 1e-12) for f in found])
    weight = errors**-2 if weights == "precision" else np.ones(len(errors))
    weight /= weight.sum()
    error = float(np.sqrt((weight**2 * errors**2).sum()))
    half = norm.isf((1 - level) / 2) * error
    return interval(float(weight @ [f.value for f in found]), error, half, level)


def holm(p: Sequence[float]) -> np.ndarray:
    """p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 1979)."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _log_variance(account: Backtest) -> tuple[float, np.ndarray]:
    returns = returns_of(account.equity)
    variance = returns.var(ddof=1)
    return float(np.log(variance)), (returns - returns.mean()) ** 2 / variance - 1


def _certainty_equivalent(account: Backtest) -> tuple[float, np.ndarray]:
    returns, year = returns_of(account.equity), bars_per_year(account.index)
    centred = returns - returns.mean()
    variance = returns.var(ddof=1)
    return year * float(returns.mean() - 2.5 * variance), year * (centred - 2.5 * (centred**2 - variance))


def _sharpe(account: Backtest) -> tuple[float, np.ndarray]:
    returns, root = returns_of(account.equity), np.sqrt(bars_per_year(account.index))
    z = (returns - returns.mean()) / returns.std(ddof=1)
    return sharpe(returns) * root, root * (z - 0.5 * sharpe(returns) * (z**2 - 1))


def _expected_shortfall(account: Backtest) -> tuple[float, np.ndarray]:
    returns = returns_of(account.equity)
    edge = np.quantile(returns, 0.05)
    return expected_shortfall(returns), np.maximum(edge - returns, 0) / 0.05 - edge - expected_shortfall(returns)


def _volatility_of_volatility(account: Backtest) -> tuple[float, np.ndarray]:
    returns = pd.Series(returns_of(account.equity))
    end = account.index[1:].tz_localize(None)
    grouped = returns.groupby(end.year * 4 + end.quarter)
    deviations, sizes = grouped.std(), grouped.size()
    judged = (sizes >= 20) & (deviations > 0)  # a quarter in cash has no logarithm
    logs, sizes = np.log(deviations[judged]), sizes[judged]
    std = float(logs.std())
    effect = ((logs - logs.mean()) ** 2 - std**2) / (2 * std) * sizes.sum() / len(logs) / sizes
    return std, effect.reindex(end.year * 4 + end.quarter).fillna(0.0).to_numpy()


STATISTICS: dict[str, Callable[[Any], tuple[float, np.ndarray]]] = {
    "log variance": _log_variance,
    "certainty equivalent": _certainty_equivalent,
    "Sharpe": _sharpe,
    "expected shortfall": _expected_shortfall,
    "volatility of volatility": _volatility_of_volatility,
}
