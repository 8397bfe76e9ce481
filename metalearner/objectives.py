"""What learning maximises: the utility of the account, through the account.

A trader who does not move the market observes the profit of every position, so the gradient of utility in the policy
is exact: it runs through `markets.differentiable.equity_paths` (path-wise or "direct" policy gradient; Moody and Saffell,
"Learning to trade via direct reinforcement", IEEE Transactions on Neural Networks 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from markets import Bars, Costs, Execution, TaskSet
from markets.accounting import make_market, make_rules, resolve_fill
from markets.differentiable import equity_paths
from markets.regimes import market_returns
from strategies import Policy, PolicySettings
from strategies.policy import base_weights


@dataclass(frozen=True)
class MeanVariance:
    """``mean(z) − ½ γ mean(z²)`` over a path's counted bars, z the log return in units of the path's volatility.

    In those units every regime weighs the same; otherwise the wild ones are all that is learnt.

    Attributes
    ----------
    risk_aversion : float
        γ. Around the Sharpe ratio a bar of the base, being fully invested is just right.
    """

    risk_aversion: float = 0.05

    def __call__(self, growth: Tensor, counted: Tensor) -> Tensor:
        """Utility a bar of B paths, shape (B,), from z of shape (B, T) and a mask of the same shape."""
        value = torch.where(counted, growth - 0.5 * self.risk_aversion * growth**2, 0.0)
        return value.sum(1) / counted.sum(1)


@dataclass(frozen=True)
class CostCurriculum:
    """No cost at first, then raised to its full size, then full.

    With costs from the start, training falls at once into never trading: a small tilt earns less than it costs, and a
    policy that does not trade has no gradient to learn from.

    Attributes
    ----------
    free, ramp : float
        Shares of training without cost, and of raising it.
    """

    free: float = 0.4
    ramp: float = 0.4

    def __call__(self, progress: float) -> float:
        """Share of the cost that is charged at `progress` in [0, 1]."""
        if progress <= self.free:
            return 0.0
        return min((progress - self.free) / self.ramp, 1.0) if self.ramp > 0 else 1.0


class Pathwise:
    """Utility of a policy on windows of one panel of bars, differentiable in the policy's parameters.

    Each window is a path: the memory starts empty `context` bars before the first counted bar, and the account starts
    in cash. What is counted is the query alone.

    Parameters
    ----------
    bars : Bars
        All that the windows lie in.
    cuts, stops : ndarray of int, shape (n,)
        First counted row, and row after the last, in rows of ``bars.with_past()``.
    settings : PolicySettings
    context : int
        Bars of memory before the first counted one.
    costs, execution : Costs, Execution
    utility : MeanVariance
    """

    def __init__(
        self,
        bars: Bars,
        cuts: np.ndarray,
        stops: np.ndarray,
        settings: PolicySettings,
        context: int,
        costs: Costs,
        execution: Execution,
        utility: MeanVariance,
    ):
        held = bars.with_past()
        self.utility, self.costs, self.execution = utility, costs, execution
        self.fill = resolve_fill(held, execution)
        self.market, rules = make_market(held, costs, execution)
        self.delistings = rules.delistings
        self.identity = held.hash
        self.features = torch.from_numpy(settings.features.compute(held)).float()
        self.base = torch.from_numpy(base_weights(settings, held))
        length = context + int((stops - cuts).max())
        # Paths end where the query ends, so that they are of one length and none looks past its task.
        self.start = np.maximum(stops - length, 0)
        rows = self.start[:, None] + np.arange(length)
        counted = (rows >= cuts[:, None]) & (rows < stops[:, None])
        self.length = length
        self.counted = torch.from_numpy(counted[:, 1:])
        self.scale = torch.from_numpy(_volatility(held, cuts, context))

    @classmethod
    def of_tasks(cls, tasks: TaskSet, settings: PolicySettings, context: int, costs, execution, utility) -> Pathwise:
        """Windows that count the query bars of each task."""
        cuts, stops = np.array([t.cut for t in tasks]), np.array([t.stop for t in tasks])
        return cls(tasks.bars, cuts, stops, settings, context, costs, execution, utility)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def symbols(self) -> int:
        return self.base.shape[1]

    def __call__(
        self, policy: Policy, which: np.ndarray, cost_share: float = 1.0, universe: np.ndarray | None = None
    ) -> Tensor:
        """Utility a bar of some windows.

        Parameters
        ----------
        policy : Policy
        which : ndarray of int, shape (B,)
        cost_share : float
            Share of the full costs that is charged.
        universe : ndarray of bool, shape (B, A), optional
            Symbols that each path may see and trade; all by default.

        Returns
        -------
        Tensor of shape (B,)
        """
        rows = torch.from_numpy(self.start[which, None] + np.arange(self.length))
        features, base = self.features[rows], self.base[rows]
        if universe is not None:
            mask = torch.from_numpy(universe)[:, None]
            features = torch.where(mask[..., None], features, torch.nan)
            base = base * mask
            base = base / base.sum(-1, keepdim=True).clamp(min=1e-12)
        device = next(policy.parameters()).device
        aim, band = policy(features.to(device), base.to(device))
        share = {name: getattr(self.costs, name) * cost_share for name in ("commission", "fixed", "spread")}
        costs = Costs(**{**vars(self.costs), **share})
        market = self.market._replace(impact=self.market.impact * cost_share)
        rules = make_rules(costs, self.execution, self.fill, self.delistings)
        money = self.execution.cash  # of the backtest: fixed fees and impact are no shares
        equity = equity_paths(market, rules, self.start[which], aim, band, money=money) / money
        growth = equity.clamp(min=1e-9).log().diff(dim=1).cpu() / self.scale[which, None]
        return self.utility(growth, self.counted[which])


def _volatility(bars: Bars, cuts: np.ndarray, context: int) -> np.ndarray:
    """Volatility of the market over the bars before each cut, as it was known there."""
    returns = np.nan_to_num(market_returns(bars))
    window = max(context, 20)
    return np.array([max(returns[max(cut - window, 1) : cut].std(), 1e-5) for cut in cuts])
