"""An observed mean-reverting predictor with quadratic costs and risk aversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from markets.accounting.costs import Costs, Execution
from markets.envs.rewards import Reward, State
from markets.synthetic.family import Episodes, Family, Seed, autoregressive


@dataclass(frozen=True)
class GarleanuPedersen(Family):
    """Observed mean-reverting predictor, quadratic costs: ``r_{t+1} = B f_t + u``, ``f_{t+1} = (1 − φ) f_t + ε``.

    Var u = `variance`, Var ε = `shock`. The reward is ``x r − ½ γ σ² x² − ½ λ σ² (Δx)²`` (Gârleanu and Pedersen, "Dynamic
    Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013). Returns r are not in units of volatility
    here.

    The account charges the costs but not the risk term. An environment subtracts it from the reward, a learner from its utility
    according to the holdings, and a backtest of this family is evaluated with `reward`.
    """

    slope: float = 0.01  # B
    reversion: float = 0.05  # φ
    variance: float = 0.001  # σ²
    shock: float = 0.0975  # Ω
    risk_aversion: float = 5.0  # γ
    impact: float = 50.0  # λ
    length: int = 1000
    scale: float = 1e-2
    name: ClassVar[str] = "Gârleanu–Pedersen"
    signals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for what in ("slope", "variance", "shock", "risk_aversion", "impact"):
            self._require((getattr(self, what) > 0, f"{what} must be above 0"))
        self._require((0 < self.reversion <= 1, "reversion must be in (0, 1]"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        f = autoregressive(1 - self.reversion, np.sqrt(self.shock), episodes, self.length + 1, rng)
        returns = np.sqrt(self.variance) * rng.standard_normal((episodes, self.length + 1))
        returns[:, 1:] += self.slope * f[:, :-1]
        return Episodes(self, returns[..., None], signal=f[..., None])

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        moved = np.diff(weights, axis=1, prepend=0.0)
        risk = self.risk_aversion * weights**2 + self.impact * moved**2
        return weights * returns[:, 1:] - 0.5 * self.variance * risk

    @property
    def execution(self) -> Execution:
        return Execution(borrowing=True, gross=np.inf)

    @property
    def costs(self) -> Costs:
        return Costs(quadratic=0.5 * self.impact * self.variance * self.scale)

    @property
    def env_reward(self) -> Reward:
        return _RiskCharged(self)


class _RiskCharged(Reward):
    """``scale`` times the reward of `GarleanuPedersen`: the account's return less the risk term of its holdings."""

    def __init__(self, family: GarleanuPedersen):
        super().__init__("log_return")
        self.family = family

    def __call__(self, before: np.ndarray, after: np.ndarray, state: State) -> np.ndarray:
        f = self.family
        with np.errstate(divide="ignore", invalid="ignore"):
            # bars open at the previous close, so the fill price is the mark at the decision
            held = state.shares[:, 0] * state.market.mark[state.row - 1, 0] / before
            return after / before - 1 - 0.5 * f.scale * f.risk_aversion * f.variance * held**2
