"""Small families of environments for tests of learners."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete


class TwoArms(gymnasium.Env):
    """A two-armed bandit with fixed rewards and one step per episode."""

    def __init__(self, seed: int, pays: tuple[float, float] = (0.0, 1.0)):
        self.observation_space, self.action_space, self.pays = Box(0.0, 1.0, (1,)), Discrete(2), pays

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.ones(1, np.float32), self.pays[int(action)], True, False, {}


class Walk(gymnasium.Env):
    """A corridor with the goal at its right end, to be reached from a random place within `horizon` steps.

    The observation is the place. The left end is a wall. The seed determines the length of the corridor, 3 or 4 places.
    """

    def __init__(self, seed: int, horizon: int = 5):
        self.length, self.horizon = 3 + seed % 2, horizon
        self.observation_space, self.action_space = Discrete(4), Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.at, self.t = int(self.np_random.integers(self.length - 1)), 0
        return self.at, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict]:
        self.at, self.t = max(self.at + 2 * int(action) - 1, 0), self.t + 1
        there = self.at == self.length - 1
        return self.at, float(there), there, self.t >= self.horizon and not there, {}
