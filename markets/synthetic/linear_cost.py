"""An observed predictor with linear costs and a cap on the position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from markets.synthetic.family import SCALE, Episodes, Family, Seed, autoregressive


@dataclass(frozen=True)
class LinearCost(Family):
    """Observed predictor p, linear costs and a cap: ``r_{t+1} = p_t + ε``, ``p_{t+1} = (1 − speed) p_t + std ξ``.

    Weights are in [−1, 1]. The reward is ``w_t r_{t+1} − cost |w_t − w_{t−1}|`` (de Lataillade, Deremble, Potters and Bouchaud,
    "Optimal trading with linear costs", arXiv 1203.5957).
    """

    speed: float = 0.01
    std: float = 0.01
    cost: float = 0.05
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "linear cost"
    signals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._require((0 < self.speed <= 1, "speed must be in (0, 1]"), (self.std > 0, "std must be above 0"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        p = autoregressive(1 - self.speed, self.std, episodes, self.length + 1, rng)
        returns = rng.standard_normal((episodes, self.length + 1))
        returns[:, 1:] += p[:, :-1]
        return Episodes(self, returns[..., None], signal=p[..., None])
