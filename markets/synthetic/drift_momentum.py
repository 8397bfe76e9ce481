"""Drift and momentum that are drawn for each task and must be inferred; no costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from markets.accounting.costs import Execution
from markets.envs.rewards import Reward
from markets.synthetic.family import SCALE, Episodes, Family, Seed


@dataclass(frozen=True)
class DriftMomentum(Family):
    """Unknown drift μ and momentum φ: ``r_{t+1} = μ + φ (r_t − μ) + ε``, ε ~ N(0, 1), ``r_0 = μ + ε``.

    Each task draws μ ~ N(0, drift²) and φ ~ U(−momentum, momentum). The reward is ``w r − ½ w² r²``, without limits or costs.
    """

    drift: float = 0.1
    momentum: float = 0.4
    length: int = 200
    scale: float = SCALE
    name: ClassVar[str] = "drift-momentum"

    def __post_init__(self) -> None:
        self._require((self.drift > 0, "drift must be above 0"), (0 < self.momentum < 1, "momentum must be in (0, 1)"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        mu = self.drift * rng.standard_normal(episodes)
        phi = rng.uniform(-self.momentum, self.momentum, episodes)
        returns = rng.standard_normal((self.length + 1, episodes))
        returns[0] += mu
        for t in range(self.length):
            returns[t + 1] += mu + phi * (returns[t] - mu)
        return Episodes(self, returns.T[..., None].copy(), {"mu": mu, "phi": phi})

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        profit = weights * returns[:, 1:]
        return profit - 0.5 * profit**2

    @property
    def execution(self) -> Execution:
        return Execution(borrowing=True, gross=np.inf)

    @property
    def env_reward(self) -> Reward:
        # scale·(w r − ½ w² r²) is the portfolio return less ½ (1/scale) times its square
        return Reward("mean_variance", risk_aversion=1 / self.scale)
