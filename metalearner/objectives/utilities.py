"""Differentiable utilities of the account: what a `Utility` is, and those that measure returns in units of a volatility.

Each takes ``growth``, the log returns of B paths of T bars; ``counted``, a mask of the bars that count; and ``unit``, the
return per bar that counts as 1. Those of this module are `scaled`: the unit is a volatility. Where it is the market's before
each task, all regimes have about the same weight in training, and a signal of a given strength is worth the same in each:
right for learning *which way* to trade. It is wrong for learning *how much* to hold, since a regime twice as wild then counts
as no wilder; `metalearner.objectives.risk` has the utilities for that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from markets import InputError
from markets.common.kinds import register


class Utility(ABC):
    """Base class: utility per bar of each path.

    Attributes
    ----------
    reads_weights : bool
        Whether the utility depends on the held weights, which are then passed to it.
    scaled : bool
        Whether ``unit`` is a volatility, by which returns are divided. If not, returns are measured as they are, and it is the
        return per bar that amounts to 1 per year.
    """

    kinds: ClassVar[dict[str, type[Utility]]] = {}
    reads_weights: ClassVar[bool] = False
    scaled: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        register(Utility.kinds, cls.__name__, cls, "utilities")

    @abstractmethod
    def __call__(self, growth: Tensor, counted: Tensor, unit: Tensor, weights: Tensor | None = None) -> Tensor:
        """Utility of B paths.

        Parameters
        ----------
        growth : Tensor of shape (B, T)
            Log return of equity over each bar.
        counted : Tensor of bool, shape (B, T)
            Bars that count.
        unit : Tensor of shape (B, 1)
            Return per bar that counts as 1; see `scaled`.
        weights : Tensor of shape (B, T, A), optional
            Positions held over each bar, as fractions of equity.

        Returns
        -------
        Tensor of shape (B,)
            Mean utility per bar, in the utility's units.
        """

    def restated(self, root: float) -> Utility:
        """The same taste for risk on bars of another length, where returns are in units of a bar's volatility.

        The Sharpe ratio of a bar then is `root` times as large, the root of how many times as long the bar is. So a weight of
        risk against such means must grow with it; a weight against variances alone, or a decay per bar, does not.
        """
        return self


def _mean(value: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, value, 0.0).sum(1) / counted.sum(1)


@dataclass(frozen=True)
class LogWealth(Utility):
    """Log wealth growth, ``mean(z)``, with z the log return in units of ``unit`` (Kelly 1956)."""

    def __call__(self, growth, counted, unit, weights=None):
        return _mean(growth / unit, counted)


@dataclass(frozen=True)
class MeanVariance(Utility):
    """Mean–variance utility, ``mean(z) − ½ γ mean(z²)``, with z the log return in units of ``unit``.

    Attributes
    ----------
    risk_aversion : float
        γ. When it equals the Sharpe ratio per bar of the base, being fully invested in the base is optimal.
    """

    risk_aversion: float = 0.05

    def restated(self, root):
        return replace(self, risk_aversion=self.risk_aversion * root)

    def __call__(self, growth, counted, unit, weights=None):
        z = growth / unit
        return _mean(z - 0.5 * self.risk_aversion * z**2, counted)


@dataclass(frozen=True)
class PowerUtility(Utility):
    """Constant relative risk aversion, ``mean((e^{(1−γ) g} − 1) / (1 − γ)) / unit``, with g the log return over one bar.

    Attributes
    ----------
    risk_aversion : float
        γ > 0; 1 is `LogWealth`.

    Raises
    ------
    InputError
        When `risk_aversion` is not above 0.
    """

    risk_aversion: float = 5.0

    def __post_init__(self) -> None:
        if not self.risk_aversion > 0:
            raise InputError(f"utility: risk_aversion is {self.risk_aversion}; it must be above 0")

    def __call__(self, growth, counted, unit, weights=None):
        power = 1 - self.risk_aversion
        value = torch.expm1(power * growth) / power if power else growth
        return _mean(value / unit, counted)


@dataclass(frozen=True)
class DifferentialSharpe(Utility):
    """Moody and Saffell's differential Sharpe ratio, averaged ("Learning to trade via direct reinforcement", IEEE TNN 2001).

    ``D_t = (B ΔA − ½ A ΔB) / (B − A²)^{3/2}``, with A and B the exponential moving averages of z and z² before t, with rate η
    per bar, ΔA = z − A and ΔB = z² − B. D_t is the change of the running Sharpe ratio caused by bar t, to first order in η. The
    averages start at A = 0 and B = 1, because z is in units of ``unit``.

    Attributes
    ----------
    decay : float
        η in (0, 1).

    Raises
    ------
    InputError
        When `decay` is not in (0, 1).
    """

    decay: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise InputError(f"utility: decay is {self.decay}; it must be in (0, 1)")

    def __call__(self, growth, counted, unit, weights=None):
        z = growth / unit
        bars = z.shape[1]
        age = torch.arange(bars, device=z.device)[:, None] - torch.arange(bars, device=z.device) - 1
        kept = 1 - self.decay
        weight = torch.where(age >= 0, self.decay * kept ** age.clamp(min=0).to(z), 0.0)
        start = kept ** torch.arange(bars, device=z.device).to(z)
        a, b = z @ weight.T, z**2 @ weight.T + start
        cube = (b - a**2).clamp(min=1e-6) ** 1.5
        return _mean((b * (z - a) - 0.5 * a * (z**2 - b)) / cube, counted)


@dataclass(frozen=True)
class DrawdownPenalised(Utility):
    """``mean(z) − penalty · mean(drawdown)``, in units of ``unit``.

    The drawdown is that of log wealth from its maximum since the first bar that counts (Chekhlov, Uryasev and Zabarankin,
    "Drawdown measure in portfolio optimization", 2005).

    Attributes
    ----------
    penalty : float
        At least 0.

    Raises
    ------
    InputError
        When `penalty` is below 0.
    """

    penalty: float = 0.01

    def __post_init__(self) -> None:
        if self.penalty < 0:
            raise InputError(f"utility: penalty is {self.penalty}; it must be at least 0")

    def __call__(self, growth, counted, unit, weights=None):
        z = torch.where(counted, growth / unit, 0.0)
        wealth = z.cumsum(1)
        drawdown = wealth.cummax(1).values.clamp(min=0) - wealth
        return _mean(z - self.penalty * drawdown, counted)

    def restated(self, root):
        return replace(self, penalty=self.penalty * root)


@dataclass(frozen=True)
class HeldRisk(Utility):
    """``mean(R) − ½ γ v mean(Σ w²)``: a risk penalty on the positions held, with a known variance; R is the simple return.

    Attributes
    ----------
    risk_aversion : float
        γ.
    variance : float
        v, the variance per bar of each symbol's return, measured in ``unit`` like R.
    """

    risk_aversion: float
    variance: float
    reads_weights: ClassVar[bool] = True

    def __call__(self, growth, counted, unit, weights=None):
        value = torch.expm1(growth) / unit - 0.5 * self.risk_aversion * self.variance * (weights**2).sum(-1)
        return _mean(value, counted)
