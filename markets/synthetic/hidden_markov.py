"""A hidden state with mean returns ±m and proportional costs; parameters known, or drawn for each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from markets.synthetic.family import SCALE, Episodes, Family, Seed


@dataclass(frozen=True)
class HiddenMarkov(Family):
    """Two hidden states with means ±m: ``r_t ~ N(m s_t, 1)``, where s_t = ±1 stays the same with probability `stay`.

    Weights are in [−1, 1]. The reward is ``w_t r_{t+1} − cost |w_t − w_{t−1}|``.
    """

    mean: float = 0.1
    stay: float = 0.99
    cost: float = 0.1
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "hidden Markov"

    def __post_init__(self) -> None:
        self._require((self.mean > 0, "mean must be above 0"), (0.5 <= self.stay < 1, "stay must be in [0.5, 1)"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        return _hidden_markov(self, np.full(episodes, self.mean), np.full(episodes, self.stay), rng)


@dataclass(frozen=True)
class HiddenMarkovFamily(Family):
    """`HiddenMarkov` with unknown m ~ U(`means`) and stay probability ~ U(`stays`), drawn for each task."""

    means: tuple[float, float] = (0.05, 0.25)
    stays: tuple[float, float] = (0.97, 0.998)
    cost: float = 0.1
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "hidden Markov family"

    def __post_init__(self) -> None:
        low, high = self.means
        least, most = self.stays
        self._require(
            (0 < low < high, "means must ascend from above 0"),
            (0.5 <= least < most < 1, "stays must ascend in [0.5, 1)"),
        )

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        return _hidden_markov(self, rng.uniform(*self.means, episodes), rng.uniform(*self.stays, episodes), rng)


def _hidden_markov(family: Family, mean: np.ndarray, stay: np.ndarray, rng: np.random.Generator) -> Episodes:
    n, bars = len(mean), family.length + 1
    first = rng.random(n) < 0.5
    moved = rng.random((n, bars)) >= stay[:, None]
    moved[:, 0] = first
    state = 1.0 - 2.0 * (np.cumsum(moved, axis=1) % 2)
    returns = mean[:, None] * state + rng.standard_normal((n, bars))
    return Episodes(family, returns[..., None], {"state": state, "mean": mean, "stay": stay})
