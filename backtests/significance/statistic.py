"""Smooth statistics of an account's returns: each as a function of means, with the influence of each observation on it.

A statistic is ``θ = f(mean(m))``, where m are a few numbers of each observation, such as r and r². A resample then needs no
more than sums of m over its blocks. To first order, observation t moves the statistic by its influence ψ over the number of
observations::

    ψ_t = f'(mean(m)) · (m_t − mean(m))

so that the standard error of θ is that of the mean of ψ (Hampel, "The influence curve and its role in robust estimation",
Journal of the American Statistical Association 1974). With Z = (r − mean) / σ::

    mean                    ψ = r − mean
    volatility              ψ = ½ σ (Z² − 1)
    log variance            ψ = Z² − 1
    Sharpe ratio S          ψ = Z − ½ S (Z² − 1)
    certainty equivalent    ψ = r − mean − ½ γ σ² (Z² − 1)
    expected shortfall      ψ = max(q − r, 0) / α − q − shortfall,   q the α-quantile of returns

The shortfall is no function of means, since q moves with the sample; but by the definition of Rockafellar and Uryasev
("Optimization of conditional value-at-risk", Journal of Risk 2000) it is a minimum over q, so that to first order q moves
nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from markets import InputError
from markets.common.statistics import (
    RESOLUTION,
    certainty_equivalent,
    deviation,
    expected_shortfall,
    log_quarterly_volatilities,
    sharpe,
)

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]  # value, slope and level of `Statistic.at`


class Statistic(ABC):
    """Base class: a statistic of the returns of one account, per bar.

    Attributes
    ----------
    name : str
    annual : float
        Power of the bars per year by which it is multiplied to be annualised.
    stretch : float
        How much longer the bootstrap's blocks are than the rule says. Of what hangs on squares of returns, 3: their
        autocorrelation is too small at each lag for the rule to see, and lasts for months.
    """

    name: ClassVar[str]
    annual: ClassVar[float] = 0.0
    stretch: ClassVar[float] = 1.0

    def observed(self, returns: np.ndarray, index: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        """What is observed, and when: by default the returns themselves.

        Parameters
        ----------
        returns : ndarray of shape (T,)
        index : DatetimeIndex of shape (T,)
            Bars at which they end.

        Returns
        -------
        times : ndarray of datetime64, shape (N,)
            In UTC; ascending.
        values : ndarray of shape (N,)
        """
        return (index if index.tz is None else index.tz_convert(None)).as_unit("us").to_numpy(), returns

    @abstractmethod
    def value(self, observed: np.ndarray) -> float:
        """The statistic of the observations (N,), as in `backtests.metrics`; NaN where it is not defined."""

    @abstractmethod
    def moments(self, observed: np.ndarray) -> np.ndarray:
        """The numbers m of each observation, whose means determine the statistic; shape (N, K)."""

    @abstractmethod
    def at(self, means: np.ndarray, count: np.ndarray | float) -> Parts:
        """The statistic where the moments have these means, and the influence ``ψ_t = slope · m_t − level``.

        Parameters
        ----------
        means : ndarray of shape (..., K)
        count : ndarray of shape (...), or float
            Number of observations.

        Returns
        -------
        value : ndarray of shape (...)
        slope : ndarray of shape (..., K)
        level : ndarray of shape (...)
        """

    def influence(self, observed: np.ndarray) -> np.ndarray:
        """Influence ψ of each observation, shape (N,)."""
        moments = self.moments(observed)
        _, slope, level = self.at(moments.mean(axis=0), len(moments))
        return moments @ slope - level


class _OfTwoMoments(Statistic):
    """Of the mean and the variance (ddof 1)."""

    def moments(self, observed):
        return np.column_stack([observed, observed**2])

    @staticmethod
    def mean_and_variance(means, count):
        """Both, of shape (...); a variance that is mere rounding is NaN."""
        mean, square = means[..., 0], means[..., 1]
        variance = (square - mean**2) * (count / (count - 1))
        return mean, np.where(variance > 1e-12 * square, variance, np.nan)


class MeanReturn(Statistic):
    """Mean return."""

    name = "mean"
    annual = 1.0

    def value(self, observed):
        return float(observed.mean())

    def moments(self, observed):
        return observed[:, None]

    def at(self, means, count):
        return means[..., 0], np.ones_like(means), means[..., 0]


class Volatility(_OfTwoMoments):
    """Standard deviation of returns."""

    name = "volatility"
    annual = 0.5
    stretch = 3.0

    def value(self, observed):
        return deviation(observed)

    def at(self, means, count):
        mean, variance = self.mean_and_variance(means, count)
        std, size = np.sqrt(variance), count / (count - 1)
        slope = np.stack([-size * mean / std, 0.5 * size / std], axis=-1)
        return std, slope, (slope * means).sum(axis=-1)


class VolatilityOfVolatility(Volatility):
    """Standard deviation of the logarithms of quarterly volatilities: an observation is a calendar quarter."""

    name = "volatility of volatility"
    annual = 0.0
    stretch = 1.0

    def observed(self, returns, index):
        return log_quarterly_volatilities(returns, index)

    def value(self, observed):
        return deviation(observed) if np.isfinite(observed).all() else np.nan


class LogVariance(_OfTwoMoments):
    """Logarithm of the variance; the difference of two is the log variance ratio, which no leverage of both changes."""

    name = "log variance"
    stretch = 3.0

    def value(self, observed):
        std = deviation(observed)
        return 2 * float(np.log(std)) if std > RESOLUTION else np.nan

    def at(self, means, count):
        mean, variance = self.mean_and_variance(means, count)
        biased = variance * ((count - 1) / count)
        slope = np.stack([-2 * mean / biased, 1 / biased], axis=-1)
        return np.log(variance), slope, (slope * means).sum(axis=-1)


class SharpeRatio(_OfTwoMoments):
    """Mean return over standard deviation."""

    name = "sharpe"
    annual = 0.5

    def value(self, observed):
        return float(sharpe(observed))

    def at(self, means, count):
        mean, variance = self.mean_and_variance(means, count)
        std = np.sqrt(variance)
        ratio = mean / std
        slope = np.stack([1 / std + ratio * mean / variance, -0.5 * ratio / variance], axis=-1)
        return ratio, slope, 0.5 * ratio * (1 + ratio**2)


@dataclass(frozen=True)
class CertaintyEquivalent(_OfTwoMoments):
    """Mean return less ``½ γ`` times the variance.

    Attributes
    ----------
    risk_aversion : float
        γ, at least 0.
    """

    risk_aversion: float = 5.0
    name: ClassVar[str] = "certainty equivalent"
    annual: ClassVar[float] = 1.0
    stretch: ClassVar[float] = 3.0

    def value(self, observed):
        return certainty_equivalent(observed, self.risk_aversion)

    def at(self, means, count):
        mean, square = means[..., 0], means[..., 1]
        weight = 0.5 * self.risk_aversion * count / (count - 1)
        slope = np.stack([1 + 2 * weight * mean, np.broadcast_to(-weight, mean.shape)], axis=-1)
        return mean - weight * (square - mean**2), slope, (slope * means).sum(axis=-1)


@dataclass(frozen=True)
class ExpectedShortfall(Statistic):
    """Mean loss of the worst `tail` of the bars, of one bar; positive.

    Attributes
    ----------
    tail : float
        Between 0 and 1.

    Raises
    ------
    InputError
        When `tail` is not between 0 and 1.
    """

    tail: float = 0.05
    name: ClassVar[str] = "expected shortfall"
    stretch: ClassVar[float] = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.tail < 1:
            raise InputError(f"expected shortfall: tail is {self.tail}; give a fraction of the bars, such as 0.05")

    def value(self, observed):
        return expected_shortfall(observed, self.tail)

    def moments(self, observed):
        """Value and influence of each bar in one: the statistic is their mean."""
        worst = 1 + int(self.tail * (len(observed) - 1))
        edge = np.partition(observed, worst - 1)[worst - 1]
        return (np.maximum(edge - observed, 0) * (len(observed) / worst) - edge)[:, None]

    def at(self, means, count):
        return means[..., 0], np.ones_like(means), means[..., 0]


STATISTICS: dict[str, Statistic] = {
    one.name: one
    for one in (
        SharpeRatio(), LogVariance(), CertaintyEquivalent(), ExpectedShortfall(), MeanReturn(), Volatility(),
        VolatilityOfVolatility(),
    )
}  # fmt: skip


def find_statistic(statistic: str | Statistic) -> Statistic:
    """The statistic of this name, or the one given.

    Raises
    ------
    InputError
        When there is none of this name.
    """
    if isinstance(statistic, Statistic):
        return statistic
    if statistic == "max drawdown":
        raise InputError(
            "max drawdown hangs on the order of the bars, and has no interval that this bootstrap could give; compare expected "
            "shortfall or volatility of volatility"
        )
    if statistic not in STATISTICS:
        raise InputError(f"statistic {statistic!r} is unknown; use {', '.join(STATISTICS)}, or a Statistic")
    return STATISTICS[statistic]
