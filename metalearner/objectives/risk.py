"""Differentiable utilities of the account's risk, in units that do not change with the regime.

Where the returns of a wild regime are divided by its volatility, as in `metalearner.objectives.utilities`, nothing is
gained by holding less there. These utilities measure the account's simple returns R as they are: means and variances per
year, losses as fractions of equity. A year has as many bars as `markets.common.statistics.bars_per_year` counts, so
``unit`` is one over that.

With A the bars per year, and mean, variance (ddof 1, about the path's mean) and worst returns of one path's counted bars,
each equals the figure of the same account in `backtests.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from markets import InputError
from metalearner.objectives.utilities import Utility

_LEAST = 1e-12  # added to a variance whose root or logarithm has no slope at 0, where an account in cash is


def _moments(growth: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance per bar of each path's simple returns, shape (B,); the variance of a single return is 0."""
    returns, bars = torch.expm1(growth), counted.sum(1)
    mean = torch.where(counted, returns, 0.0).sum(1) / bars
    squares = torch.where(counted, (returns - mean[:, None]) ** 2, 0.0).sum(1)
    return mean, squares / (bars - 1).clamp(min=1)


@dataclass(frozen=True)
class CertaintyEquivalent(Utility):
    """``A (mean(R) − ½ γ var(R))``: the sure return per year that one of risk aversion γ holds worth the account.

    The best exposure to a Sharpe ratio of S and a volatility of σ per year is ``S / (γ σ)``: half as much where it is twice
    as wild.

    Attributes
    ----------
    risk_aversion : float
        γ, above 0. With 5, an account of Sharpe ratio 0.75 per year is best at a volatility of 15 %.

    Raises
    ------
    InputError
        When `risk_aversion` is not above 0.
    """

    risk_aversion: float = 5.0
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.risk_aversion > 0:
            raise InputError(f"utility: risk_aversion is {self.risk_aversion}; it must be above 0")

    def __call__(self, growth, counted, unit, weights=None):
        mean, variance = _moments(growth, counted)
        return (mean - 0.5 * self.risk_aversion * variance) / unit[:, 0]


@dataclass(frozen=True)
class MinimumVariance(Utility):
    """``−A var(R)``: minus the variance per year.

    An account in cash has none, so the policy must have to be invested, as one that shares out weights of a fixed sum.
    """

    scaled: ClassVar[bool] = False

    def __call__(self, growth, counted, unit, weights=None):
        return -_moments(growth, counted)[1] / unit[:, 0]


@dataclass(frozen=True)
class LogVariance(MinimumVariance):
    """``−log(A var(R))``: minus the logarithm of the variance per year, of which a difference is a share.

    A tenth less counts the same in a calm task and in a wild one, in stocks and in currencies; by `MinimumVariance` the wildest
    tasks decide alone. So it suits tasks of several universes, or where shares are what is judged.
    """

    def __call__(self, growth, counted, unit, weights=None):
        return -(super().__call__(growth, counted, unit).neg() + _LEAST).log()


@dataclass(frozen=True)
class TargetVolatility(Utility):
    """``−(σ / target − 1)²``, with ``σ = √(A var(R))`` the account's volatility per year over the path.

    Attributes
    ----------
    target : float
        Volatility per year, above 0.

    Raises
    ------
    InputError
        When `target` is not above 0.
    """

    target: float = 0.15
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.target > 0:
            raise InputError(
                f"utility: target is {self.target}; it must be a volatility per year above 0, such as 0.15"
            )

    def __call__(self, growth, counted, unit, weights=None):
        variance = _moments(growth, counted)[1] / unit[:, 0]
        volatility = (variance + _LEAST).sqrt()
        return -((volatility / self.target - 1) ** 2)


@dataclass(frozen=True)
class ExpectedShortfall(Utility):
    """Minus the mean loss of the worst `level` of the bars: of the lowest ``1 + floor(level (bars − 1))`` returns.

    Per bar, not per year. Its gradient exists wherever no two returns tie at the edge of the worst, and flows through the
    worst alone, so that it is noisy: 63 bars at a level of 5 % have four (Tamar, Glassner and Mannor, "Optimizing the CVaR
    via sampling", AAAI 2015).

    Attributes
    ----------
    level : float
        In (0, 1]; 1 is the mean return.

    Raises
    ------
    InputError
        When `level` is not in (0, 1].
    """

    level: float = 0.05
    scaled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.level <= 1:
            raise InputError(f"utility: level is {self.level}; it must be a fraction of the bars, such as 0.05")

    def __call__(self, growth, counted, unit, weights=None):
        worst = 1 + (self.level * (counted.sum(1).double() - 1)).floor()
        lowest = torch.where(counted, torch.expm1(growth), torch.inf).sort(1).values
        rank = torch.arange(growth.shape[1], device=growth.device)
        return torch.where(rank < worst[:, None], lowest, 0.0).sum(1) / worst
