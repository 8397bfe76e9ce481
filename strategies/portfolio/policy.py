"""The portfolio policy: few learnt parameters between a pool of estimates and a portfolio layer.

At each decision, with u the half-lives' logarithms (centred, of unit size), z the market's state and s the evidence::

    gates          g = softmax(a u + b u² + (d·z) u + η s)          one for volatilities, one for correlations
    volatility     σᵢ² = Σ g_k σ²ᵢₖ
    correlation    C = π₁ Σ g_k C_k + π₂ ((1 − ρ̄) I + ρ̄ 11ᵀ) + π₃ I,   π = softmax(0, c + d·z, i)
    portfolio      x = layer(σᵢ σⱼ Cᵢⱼ)
    exposure       w = x · exp(e + f·z) (target / sqrt(xᵀΣx))^p, at most to the gross limit and the limit of volatility
    no-trade zone  softplus(h) of an average position

The second target of shrinkage is the constant correlation of Ledoit and Wolf ("Honey, I shrunk the sample covariance matrix",
Journal of Portfolio Management 2004). Positions of the layer of mean and variance are, without correlations, those of Moskowitz,
Ooi and Pedersen ("Time series momentum", Journal of Financial Economics 2012), ``signalᵢ / σᵢ``; their p is 0 at first.

Everything learnt starts at zero, where the gates are flat (the equal-weight pool), and shrinkage, p and the zone are usual ones:
an untrained policy is the static pool, and weight decay draws towards it. About twenty parameters leave little to overfit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from markets.accounting.differentiable import TensorPlan
from strategies.portfolio.estimates import Estimates
from strategies.portfolio.layers import (
    equal_weight,
    inverse_volatility,
    mean_variance,
    minimum_variance,
    portfolio_variance,
    risk_parity,
)
from strategies.portfolio.settings import PortfolioSettings
from strategies.portfolio.state import STATES, TRENDS

LAYERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "minimum_variance": minimum_variance,
    "risk_parity": risk_parity,
    "inverse_volatility": inverse_volatility,
    "equal_weight": equal_weight,
}
# By kind: logits of the estimated correlation, the constant one and none; and the width of the no-trade zone before softplus.
_SHARES = {"mean_variance": (0.0, -2.3, -0.1)}  # .5, .05, .45
_WIDTH = {"mean_variance": -1.0}  # 31 % of an average position
_USUAL_SHARES, _USUAL_WIDTH = (0.0, -2.2, -4.0), -3.0  # .89, .10, .02; and 5 %
_TINY = 1e-300


class Decisions(NamedTuple):
    """What a policy decides at N decision rows, and the beliefs behind it.

    Attributes
    ----------
    weights, band : Tensor of shape (N, A)
        Aim, and half-width of the no-trade zone.
    volatility_gate, correlation_gate, trend_gate : Tensor of shape (N, K), (N, C) and (N, H)
        Weights of the half-lives, and of the lengths of trends.
    shares : Tensor of shape (N, 3)
        Weights of the estimated correlation, the constant one, and none.
    """

    weights: Tensor
    band: Tensor
    volatility_gate: Tensor
    correlation_gate: Tensor
    trend_gate: Tensor
    shares: Tensor


class Gate(nn.Module):
    """Weights of half-lives that depend on the market's state and on the evidence for each.

    Parameters
    ----------
    halflives : tuple of int
    """

    def __init__(self, halflives: tuple[int, ...]):
        super().__init__()
        place = np.log(halflives)
        place = (place - place.mean()) / (place.std() or 1.0)
        self.place: Tensor
        self.register_buffer("place", torch.from_numpy(place), persistent=False)
        self.slope = nn.Parameter(_zeros(1 + len(STATES)))  # a constant, and by state: towards longer half-lives
        self.curvature = nn.Parameter(_zeros())  # towards both ends of the pool
        self.trust = nn.Parameter(_zeros())  # η; 1 is Bayes' rule for one symbol

    def forward(self, state: Tensor, shrink: Tensor, score: Tensor | None = None) -> Tensor:
        """Weights (N, K), from the state (N, Z) and the scores (N, K)."""
        slope, curvature, trust = (part * shrink for part in (self.slope, self.curvature, self.trust))
        logits = _linear(state, slope)[:, None] * self.place + curvature * self.place**2
        return torch.softmax(logits if score is None else logits + trust * score, -1)


class PortfolioPolicy(nn.Module):
    """Torch module from estimates to a plan, in float64.

    Parameters
    ----------
    settings : PortfolioSettings

    Attributes
    ----------
    shrink : Tensor of float64, shape ()
        Factor on all that is learnt, in [0, 1].
    """

    def __init__(self, settings: PortfolioSettings):
        super().__init__()
        self.settings = settings
        self.volatility = Gate(settings.pool.volatilities)
        self.correlation = Gate(settings.pool.correlations)
        self.trend = Gate(TRENDS)
        self.constant = nn.Parameter(_zeros(1 + len(STATES)))  # shrinkage to constant correlation, and by state
        self.identity = nn.Parameter(_zeros())
        self.level = nn.Parameter(_zeros())  # log exposure
        self.tide = nn.Parameter(_zeros(len(STATES)))  # of the exposure, by state
        self.power = nn.Parameter(_zeros())  # of the target over the volatility, less what is usual
        self.width = nn.Parameter(_zeros())
        self.shrink: Tensor
        self.register_buffer("shrink", torch.tensor(settings.shrink, dtype=torch.float64))

    def decide(
        self,
        estimates: Estimates,
        at: Tensor,
        universe: Tensor | None = None,
        risk: tuple[Estimates, Tensor] | None = None,
    ) -> Decisions:
        """The decisions at N rows of the estimates.

        Parameters
        ----------
        estimates : Estimates
        at : Tensor of int, shape (N,)
            Decision rows.
        universe : Tensor of int, shape (N, A), optional
            The A symbols that each may hold; by default all.
        risk : tuple of Estimates and Tensor of int, optional
            Estimates and their rows of which the volatilities and correlations are; by default the same. A policy that does not
            adapt has them frozen.
        """
        settings, shrink = self.settings, self.shrink
        few = None if universe is None else universe.numpy(force=True)
        source, places = risk or (estimates, at)
        chosen = _Chosen(source, places.numpy(force=True), few, at.device)
        state, scores, others = chosen.evidence(settings.adapts)
        gates = (
            self.volatility(state, shrink, scores),
            self.correlation(state, shrink, others),
            self.trend(state, shrink),
        )
        logits = torch.tensor(_SHARES.get(settings.kind, _USUAL_SHARES), dtype=torch.float64, device=at.device)
        learnt = _linear(state, self.constant), self.identity.expand(len(at))
        shares = torch.softmax(logits + shrink * torch.stack([torch.zeros_like(learnt[0]), *learnt], -1), -1)
        volatility = _pooled(gates[0], chosen.variance.unbind(1)).sqrt()
        correlation = _shrunk(_pooled(gates[1], chosen.correlations()), chosen.known, shares)
        covariance = volatility[:, :, None] * volatility[:, None] * correlation
        if settings.kind == "mean_variance":
            signal = torch.ones_like(volatility)
            if settings.signal == "trend":
                live = _Chosen(estimates, at.numpy(force=True), few, at.device)
                signal = _pooled(gates[2], live.trend.unbind(1))
            signal = signal / chosen.known.sum(-1, keepdim=True).clamp(min=1).sqrt()
            direction = mean_variance(covariance, chosen.known, signal * volatility, settings.signal == "long")
        else:
            direction = LAYERS[settings.kind](covariance, chosen.known)
        weights = direction * self._exposure(direction, portfolio_variance(covariance, direction), state)[:, None]
        # an average position: a share of the gross weight, for positions sized by volatility one that suits it
        share = torch.ones_like(volatility) if settings.kind != "mean_variance" else 1 / volatility
        share = torch.where(chosen.known, share, 0.0) if settings.kind == "mean_variance" else share
        size = weights.abs().sum(-1, keepdim=True) * share / share.sum(-1, keepdim=True).clamp(min=_TINY)
        width = nn.functional.softplus(_WIDTH.get(settings.kind, _USUAL_WIDTH) + shrink * self.width)
        return Decisions(weights, width * size, *gates, shares)

    def _exposure(self, direction: Tensor, variance: Tensor, state: Tensor) -> Tensor:
        """Factor (N,) on the directions (N, A), given their variance per year and the market's state."""
        settings = self.settings
        there = variance > 0  # without symbols or signals there is nothing to scale
        volatility = torch.where(there, variance, 1.0).log() / 2
        gross = torch.where(there, direction.abs().sum(-1), 1.0).log()
        if settings.exposure == "full":
            wanted = torch.zeros_like(variance)
        else:
            level = self.shrink * (self.level + _linear(state, torch.cat([_zeros(1).to(self.tide), self.tide])))
            power, target = self.shrink * self.power, float(np.log(settings.target))
            if settings.kind == "mean_variance":
                wanted = level + target - power * volatility
            else:
                wanted = level + (1 + power) * (target - volatility)
        wanted = torch.minimum(wanted, float(np.log(settings.limit)) - gross)
        if settings.volatility is not None:
            wanted = torch.minimum(wanted, float(np.log(settings.volatility)) - volatility)
        return wanted.exp()

    def forward(
        self,
        at: Tensor,
        risk: Tensor,
        which: Tensor,
        listed: Tensor,
        universe: Tensor | None = None,
        *,
        estimates: Estimates,
    ) -> TensorPlan:
        """The plan along B paths. Each starts at its aim: the no-trade zone of its first bar is 0.

        Parameters
        ----------
        at, risk : Tensor of int, shape (B, D)
            Decision rows of each path, and those whose volatilities and correlations they take.
        which : Tensor of int, shape (B, T)
            For each bar the decision that holds, as a column of `at`; −1 where there is none yet, and nothing is held.
        listed : Tensor of bool, shape (B, T, A)
            What may be held.
        universe : Tensor of int, shape (B, A), optional
            The A symbols that each path may see; by default all.
        estimates : Estimates

        Returns
        -------
        TensorPlan
            Aim and band, of shape (B, T, A).
        """
        paths, decisions = at.shape
        each = None if universe is None else universe[:, None].expand(-1, decisions, -1).flatten(0, 1)
        found = self.decide(estimates, at.flatten(), each, (estimates, risk.flatten()))
        path = torch.arange(paths, device=at.device)[:, None]
        weights, band = (part.unflatten(0, at.shape)[path, which.clamp(min=0)] for part in found[:2])
        aim = torch.where(listed & (which >= 0)[..., None], weights, 0.0)
        later = torch.arange(which.shape[1], device=at.device)[:, None] > 0
        return TensorPlan(aim, torch.where(later, band, 0.0))


class _Chosen:
    """The estimates at some rows, of the symbols of a universe, as tensors."""

    def __init__(self, estimates: Estimates, rows: np.ndarray, universe: np.ndarray | None, device: torch.device):
        known, parts = estimates.known[rows], [estimates.variance[rows], estimates.trend[rows]]
        if universe is not None:
            known = np.take_along_axis(known, universe, 1)
            parts = [np.take_along_axis(part, universe[:, None], 2) for part in parts]
        self.known = torch.from_numpy(known).to(device)
        self.variance, self.trend = (torch.from_numpy(part).to(device) for part in parts)
        self._scores = estimates.state[rows], estimates.variance_score[rows], estimates.correlation_score[rows]
        self._source = estimates.correlation, rows, universe, device

    def evidence(self, seen: bool) -> list[Tensor]:
        """State, and scores of the half-lives; zero unless they are `seen`."""
        return [torch.from_numpy(part if seen else np.zeros_like(part)).to(self.known.device) for part in self._scores]

    def correlations(self) -> list[Tensor]:
        """That of each half-life, of shape (N, A, A)."""
        matrices, rows, universe, device = self._source
        if universe is None:
            found = [matrices[rows, c] for c in range(matrices.shape[1])]
        else:
            row, low, high = rows[:, None, None], universe[:, :, None], universe[:, None]
            found = [matrices[row, c, low, high] for c in range(matrices.shape[1])]
        return [torch.from_numpy(part).to(device) for part in found]


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _linear(state: Tensor, weights: Tensor) -> Tensor:
    """``weights[0] + state @ weights[1:]``, one column after another: sums have one order, however many rows there are."""
    out = weights[0].expand(len(state))
    for k in range(state.shape[1]):
        out = out + state[:, k] * weights[k + 1]
    return out


def _pooled(gate: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Σ gate_k part_k, with parts of shape (N, ...), likewise one after another."""
    shape = (-1, *[1] * (parts[0].ndim - 1))
    out = torch.zeros_like(parts[0])
    for k, part in enumerate(parts):
        out = out + gate[:, k].reshape(shape) * part
    return out


def _shrunk(correlation: Tensor, known: Tensor, shares: Tensor) -> Tensor:
    """The correlation drawn towards its mean and towards 0, with ones on the diagonal."""
    count = known.sum(-1)
    pairs = (count * (count - 1)).clamp(min=1)
    eye = torch.eye(known.shape[-1], dtype=torch.float64, device=known.device)
    off = correlation * (1 - eye)
    mean = (off.sum(-1).sum(-1) / pairs)[:, None, None]
    estimated, constant, _ = (share[:, None, None] for share in shares.unbind(-1))
    both = (known[:, :, None] & known[:, None]) & (eye == 0)
    return torch.where(both, estimated * off + constant * mean, 0.0) + eye
