"""Task distributions given by gymnasium environments.

A distribution is a callable: ``make(seed)`` returns the environment of one task, which stays the same whatever seeds `reset` is
given for its episodes. If the callable also has ``make.vector(seeds)``, which returns a `gymnasium.vector.VectorEnv` with
autoreset in the same step, all tasks are stepped in one call; otherwise they are stepped one by one.
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

_PROBED = 8  # steps hashed to tell distributions apart


@dataclass(frozen=True)
class Environments:
    """Tasks from one distribution of environments.

    Attributes
    ----------
    make : callable
        Function from a seed to an environment.
    seeds : sequence of int or None
        Seeds of the tasks. None samples new tasks without limit, with seeds of 2³¹ and above, so that smaller seeds can be used
        for validation and tests.

    Raises
    ------
    InputError
        When `seeds` is empty or not a sequence.
    """

    make: Callable[[int], gymnasium.Env]
    seeds: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and (not isinstance(self.seeds, (Sequence, np.ndarray)) or not len(self.seeds)):
            raise InputError(
                f"seeds is {self.seeds!r}; Environments needs a sequence of at least one, such as range(64)"
            )

    @classmethod
    def of(cls, tasks: Any) -> Environments:
        """`tasks` itself if it is an `Environments`; if it is a callable, the environments it makes, without limit.

        Raises
        ------
        InputError
            When `tasks` is neither.
        """
        if isinstance(tasks, cls):
            return tasks
        if not callable(tasks):
            raise InputError(f"{type(tasks).__name__} makes no environments; pass a callable, seed -> gymnasium.Env")
        return cls(tasks)

    @property
    def identity(self) -> str:
        """Fingerprint for checkpoints: the distribution's name, the seeds, and a hash of the first steps of one task.

        The name alone does not identify the values in a closure.
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
        """Observations and actions, which are the same in every task."""
        one = self._one()
        one.close()
        return Spaces.of(one.observation_space, one.action_space)

    def _one(self) -> gymnasium.Env:
        one = self.make(2**31 if self.seeds is None else int(self.seeds[0]))
        if not hasattr(one, "observation_space"):
            raise InputError(f"the distribution made {one!r}, which is not a gymnasium environment")
        return one

    def sample(self, rng: np.random.Generator, tasks: int) -> np.ndarray:
        """Sample the seeds of `tasks` tasks (fewer if there are fewer)."""
        if self.seeds is None:
            return rng.integers(2**31, 2**32, tasks)
        return rng.choice(np.asarray(self.seeds), min(tasks, len(self.seeds)), replace=False)

    def vector(self, seeds: np.ndarray) -> VectorEnv:
        """A vector environment with one environment for each of `seeds`.

        Raises
        ------
        InputError
            When the distribution's own vector environment does not reset within the same step.
        """
        if hasattr(self.make, "vector"):
            envs = self.make.vector(seeds)
            mode = envs.metadata.get("autoreset_mode")
            if mode != AutoresetMode.SAME_STEP:
                raise InputError(
                    f"the distribution's vector environment has autoreset mode {mode}; it must be {AutoresetMode.SAME_STEP}, "
                    "which resets within the same step"
                )
            return envs
        makers = [lambda seed=int(seed): self.make(seed) for seed in seeds]
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
