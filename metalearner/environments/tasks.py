"""Task distributions that are gymnasium environments.

A distribution is a callable that makes seeded environments: ``make(seed)`` is one task, whatever seeds `reset` gives its
episodes. One with ``make.vector(seeds)``, a `gymnasium.vector.VectorEnv` that resets within the same step, is stepped by one
call; of any other the environments are stepped one by one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from markets import InputError
from metalearner.environments.distributions import Spaces

_PROBED = 8  # steps that tell one distribution from another


@dataclass(frozen=True)
class Environments:
    """Tasks of one distribution.

    Attributes
    ----------
    make : callable
        Seed to environment.
    seeds : sequence of int or None
        The tasks; None is an endless stream of them, whose seeds are 2³¹ and above: smaller ones are never trained on.
    """

    make: Callable[[int], gymnasium.Env]
    seeds: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and (not isinstance(self.seeds, (Sequence, np.ndarray)) or not len(self.seeds)):
            raise InputError(f"seeds is {self.seeds!r}; Environments wants a sequence of at least one, as range(64)")

    @classmethod
    def of(cls, tasks: Any) -> Environments:
        """`tasks` if they are `Environments`, else all those of a distribution.

        Raises
        ------
        InputError
            When it is neither.
        """
        if isinstance(tasks, cls):
            return tasks
        if not callable(tasks):
            raise InputError(f"{type(tasks).__name__} makes no environments; give a callable, seed -> gymnasium.Env")
        return cls(tasks)

    @property
    def identity(self) -> str:
        """For checkpoints: the distribution's name, the seeds, and what happens in the first steps of one task.

        A name alone says nothing of what a closure holds.
        """
        name = re.sub(r" at 0x[0-9a-f]+", "", repr(self.make))
        one, digest = self._one(), hashlib.sha256()
        shown, _ = one.reset(seed=0)
        one.action_space.seed(0)
        digest.update(np.asarray(shown).tobytes())
        for _ in range(_PROBED):
            shown, reward, terminated, truncated, _ = one.step(one.action_space.sample())
            digest.update(np.asarray(shown).tobytes() + np.float64(reward).tobytes())
            if terminated or truncated:
                break
        one.close()
        return f"{name} {None if self.seeds is None else list(self.seeds)} {digest.hexdigest()}"

    @property
    def spaces(self) -> Spaces:
        """Of every task alike."""
        one = self._one()
        one.close()
        return Spaces.of(one.observation_space, one.action_space)

    def _one(self) -> gymnasium.Env:
        one = self.make(2**31 if self.seeds is None else int(self.seeds[0]))
        if not hasattr(one, "observation_space"):
            raise InputError(f"the distribution made {one!r}, which is no gymnasium environment")
        return one

    def sample(self, rng: np.random.Generator, tasks: int) -> np.ndarray:
        """Seeds of some tasks."""
        if self.seeds is None:
            return rng.integers(2**31, 2**32, tasks)
        return rng.choice(np.asarray(self.seeds), min(tasks, len(self.seeds)), replace=False)

    def vector(self, seeds: np.ndarray) -> VectorEnv:
        """The tasks of `seeds`, side by side."""
        if hasattr(self.make, "vector"):
            envs = self.make.vector(seeds)
            mode = envs.metadata.get("autoreset_mode")
            if mode != AutoresetMode.SAME_STEP:
                raise InputError(
                    f"the distribution's vector resets by {mode}; it must be {AutoresetMode.SAME_STEP}, within the same step"
                )
            return envs
        makers = [lambda seed=int(seed): self.make(seed) for seed in seeds]
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
