"""Utilities: what a path of the account is worth, a bar, differentiably.

Each takes ``growth``, the log returns of B paths of T bars, ``counted``, a mask of the bars that are judged, and ``unit``, the
volatility that returns are measured in: in units of it every regime weighs the same; otherwise the wild ones are all that is
learnt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from markets import InputError


class Utility(ABC):
    """Utility a bar of each path.

    Attributes
    ----------
    reads_weights : bool
        Whether it is given the held weights too.
    """

    reads_weights: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, growth: Tensor, counted: Tensor, unit: Tensor, weights: Tensor | None = None) -> Tensor:
        """Utility of B paths.

        Parameters
        ----------
        growth : Tensor of shape (B, T)
            Log return of equity over each bar.
        counted : Tensor of bool, shape (B, T)
        unit : Tensor of shape (B, 1)
        weights : Tensor of shape (B, T, A), optional
            Held over each bar, as shares of equity.

        Returns
        -------
        Tensor of shape (B,)
        """


def _mean(value: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, value, 0.0).sum(1) / counted.sum(1)


@dataclass(frozen=True)
class LogWealth(Utility):
    """Growth, ``mean(z)`` with z the log return in units (Kelly 1956)."""

    def __call__(self, growth, counted, unit, weights=None):
        return _mean(growth / unit, counted)


@dataclass(frozen=True)
class MeanVariance(Utility):
    """``mean(z) − ½ γ mean(z²)``, z the log return in units.

    Attributes
    ----------
    risk_aversion : float
        γ. Around the Sharpe ratio a bar of the base, being fully invested is just right.
    """

    risk_aversion: float = 0.05

    def __call__(self, growth, counted, unit, weights=None):
        z = growth / unit
        return _mean(z - 0.5 * self.risk_aversion * z**2, counted)


@dataclass(frozen=True)
class PowerUtility(Utility):
    """Constant relative risk aversion, ``mean((e^{(1−γ) g} − 1) / (1 − γ))`` in units, g the log return over one bar.

    Attributes
    ----------
    risk_aversion : float
        γ above 0; 1 is `LogWealth`.
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

    ``D_t = (B ΔA − ½ A ΔB) / (B − A²)^{3/2}`` with A and B the running mean of z and z² before t, decaying by 1 − η a bar, and
    ΔA = z − A, ΔB = z² − B: what the bar does to the Sharpe ratio so far. The average starts at A = 0, B = 1 (z is in units).

    Attributes
    ----------
    decay : float
        η in (0, 1).
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
    """``mean(z) − penalty · mean(drawdown)``, the drawdown of log wealth from its highest since the judging began, in units.

    Attributes
    ----------
    penalty : float
        At least 0. (Chekhlov, Uryasev and Zabarankin, "Drawdown measure in portfolio optimization", 2005.)
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


@dataclass(frozen=True)
class HeldRisk(Utility):
    """``mean(R) − ½ γ v mean(Σ w²)``: risk by what is held and a known variance, not by what happened; R is the simple return.

    Attributes
    ----------
    risk_aversion : float
        γ.
    variance : float
        v, of one symbol's return over a bar, in units.
    """

    risk_aversion: float
    variance: float
    reads_weights: ClassVar[bool] = True

    def __call__(self, growth, counted, unit, weights=None):
        value = torch.expm1(growth) / unit - 0.5 * self.risk_aversion * self.variance * (weights**2).sum(-1)
        return _mean(value, counted)


KINDS = {
    k.__name__: k for k in (LogWealth, MeanVariance, PowerUtility, DifferentialSharpe, DrawdownPenalised, HeldRisk)
}
