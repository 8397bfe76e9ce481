"""The environments of `benchmarks.published`, as task distributions.

A family is a callable that makes seeded environments: ``family(seed)`` is one task, and the same seed gives the same task with
the same episodes. ``family.vector(seeds)`` is the fast path: many tasks stepped by one numpy call.

- `Bandit`: Bernoulli arms (Duan et al., "RL²", arXiv 1611.02779, table 1).
- `Point`: a point in the plane that must reach a goal (Finn et al., "MAML", arXiv 1703.03400, section 5.3).
- `SeedWorld`: the two-dimensional world of the project's seed code, with a target per task.
- `Grid`: a grid whose goal is hidden (Zintgraf et al., "VariBAD", arXiv 1910.08348, section 5.1).

All four are functions of arrays with one row per environment; a single environment is a batch of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

Step = tuple[np.ndarray, np.ndarray, np.ndarray]


class World(ABC):
    """A family of tasks: how tasks and episodes are sampled, and the dynamics of N environments.

    Attributes
    ----------
    observation_space, action_space : Space
        Spaces of one environment.
    horizon : int
        Number of steps after which an episode ends.
    truncates : bool
        Whether the end at the horizon is a time limit (truncation) rather than a termination.
    """

    observation_space: Space
    action_space: Space
    horizon: int
    truncates: ClassVar[bool] = True

    @abstractmethod
    def task(self, rng: np.random.Generator) -> np.ndarray:
        """Sample the parameters of one task, shape (P,)."""

    def chance(self, rng: np.random.Generator) -> np.ndarray:
        """Sample all randomness of one episode, shape (Q,); none by default."""
        return np.zeros(0)

    @abstractmethod
    def start(self, chance: np.ndarray) -> np.ndarray:
        """Initial states, shape (N, S), given the episodes' randomness, shape (N, Q)."""

    @abstractmethod
    def move(self, task: np.ndarray, chance: np.ndarray, state: np.ndarray, t: np.ndarray, action: np.ndarray) -> Step:
        """Next states (N, S), rewards (N,) and terminations (N,), given the actions at steps t, shape (N,)."""

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Observations, shape (N, F): the state by default."""
        return state.astype(np.float32)

    def __call__(self, seed: int) -> WorldEnv:
        """The environment of the task with this seed."""
        return WorldEnv(self, seed)

    def vector(self, seeds: Sequence[int] | np.ndarray) -> VectorWorldEnv:
        """A vector environment of the tasks with these seeds."""
        return VectorWorldEnv(self, seeds)


class WorldEnv(gymnasium.Env):
    """One task of a `World`, implemented as a batch of one."""

    def __init__(self, world: World, seed: int):
        self._envs = VectorWorldEnv(world, [seed], autoreset=False)
        self.observation_space, self.action_space = world.observation_space, world.action_space
        (self._np_random,) = self._envs.rngs
        self._np_random_seed = int(seed)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._envs.rngs = [self.np_random]
        observation, _ = self._envs.reset(options=options)
        return observation[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, terminated, truncated, _ = self._envs.step(np.asarray(action)[None])
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}


class VectorWorldEnv(VectorEnv):
    """N tasks of a `World`, with autoreset in the same step.

    Parameters
    ----------
    world : World
    seeds : sequence of int, length N
        Seeds of the tasks, and of their episodes until `reset` is given other seeds.
    autoreset : bool
        Whether to start the next episode of a task when one ends.
    """

    def __init__(self, world: World, seeds: Sequence[int] | np.ndarray, *, autoreset: bool = True):
        self.world, self.num_envs = world, len(seeds)
        self.autoreset_mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = world.observation_space, world.action_space
        self.observation_space = batch_space(world.observation_space, self.num_envs)
        self.action_space = batch_space(world.action_space, self.num_envs)
        self.rngs = [seeding.np_random(int(seed))[0] for seed in seeds]
        self.tasks = np.stack([world.task(rng) for rng in self.rngs])
        self._begin(np.ones(self.num_envs, dtype=bool))

    def _begin(self, which: np.ndarray) -> None:
        chance = np.stack([self.world.chance(self.rngs[i]) for i in np.flatnonzero(which)])
        if which.all():
            self._chance, self._state, self._t = chance, self.world.start(chance), np.zeros(self.num_envs, dtype=int)
        else:
            self._chance[which], self._state[which], self._t[which] = chance, self.world.start(chance), 0

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        """Start an episode of each task.

        Parameters
        ----------
        seed : int or sequence of int, optional
            Seeds of the episodes (the tasks do not change); an int is the first of N consecutive seeds.
        options : dict, optional
            ``reset_mask``, shape (N,): which environments to reset.
        """
        if seed is None or isinstance(seed, (int, np.integer)):
            seed = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments")
        which = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool)))
        for i in np.flatnonzero(which):
            if (given := seed[i]) is not None:
                self.rngs[i] = seeding.np_random(int(given))[0]
        self._begin(which)
        return self.world.observe(self._state), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Step every task; ``infos["final_obs"]`` has the final observations of episodes that ended."""
        self._state, reward, terminated = self.world.move(self.tasks, self._chance, self._state, self._t, actions)
        self._t = self._t + 1
        late = (self._t >= self.world.horizon) & ~terminated
        terminated, truncated = (terminated, late) if self.world.truncates else (terminated | late, late & False)
        done, infos = terminated | truncated, {}
        observation = self.world.observe(self._state)
        if self.autoreset_mode == AutoresetMode.SAME_STEP and done.any():
            infos = {"final_obs": observation, "_final_obs": done}
            self._begin(done)
            observation = self.world.observe(self._state)
        return observation, reward, terminated, truncated, infos


@dataclass(frozen=True)
class Bandit(World):
    """A bandit with ``arms`` Bernoulli arms, each with p ~ U(0, 1), and ``horizon`` pulls; reward 0 or 1, no observation.

    The end of an episode is a termination, not a time limit.
    """

    arms: int = 5
    horizon: int = 10
    truncates: ClassVar[bool] = False

    @property
    def observation_space(self) -> Space:  # type: ignore[override]
        return Box(0.0, 0.0, (1,), np.float32)

    @property
    def action_space(self) -> Space:  # type: ignore[override]
        return Discrete(self.arms)

    def task(self, rng: np.random.Generator) -> np.ndarray:
        return rng.random(self.arms)

    def chance(self, rng: np.random.Generator) -> np.ndarray:
        return rng.random(self.horizon)

    def start(self, chance: np.ndarray) -> np.ndarray:
        return np.zeros((len(chance), 1))

    def move(self, task: np.ndarray, chance: np.ndarray, state: np.ndarray, t: np.ndarray, action: np.ndarray) -> Step:
        rows = np.arange(len(state))
        reward = (chance[rows, t] < task[rows, action]).astype(np.float64)
        return state, reward, np.zeros(len(state), dtype=bool)


@dataclass(frozen=True)
class Point(World):
    """A point that starts at the origin, with a goal ~ U[−½, ½]² and steps of at most 0.1 per coordinate; reward −distance.

    Terminated where both coordinates are within 0.01 of the goal.
    """

    horizon: int = 100
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-0.1, 0.1, (2,), np.float32)

    def task(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, 2)

    def start(self, chance: np.ndarray) -> np.ndarray:
        return np.zeros((len(chance), 2))

    def move(self, task: np.ndarray, chance: np.ndarray, state: np.ndarray, t: np.ndarray, action: np.ndarray) -> Step:
        state = state + np.clip(action, -0.1, 0.1)
        away = state - task
        return state, -np.sqrt((away**2).sum(1)), (np.abs(away) < 0.01).all(1)


@dataclass(frozen=True)
class SeedWorld(World):
    """State ~ N(0, I₂), next = state + action, reward −‖next − target‖₁; terminated where a coordinate leaves [−5, 5].

    In the seed code the target is the origin; here it is U[−2, 2]² per task. The horizon of ten steps and the limit of 1 per
    coordinate on actions are our choices. Rewards are negative, so a policy can raise its return by leaving the box and ending
    the episode early; it has solved the task only if it goes to the target.
    """

    horizon: int = 10
    reach: float = 2.0
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def task(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-self.reach, self.reach, 2)

    def chance(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal(2)

    def start(self, chance: np.ndarray) -> np.ndarray:
        return chance.copy()

    def move(self, task: np.ndarray, chance: np.ndarray, state: np.ndarray, t: np.ndarray, action: np.ndarray) -> Step:
        state = state + np.clip(action, -1.0, 1.0)
        return state, -np.abs(state - task).sum(1), (np.abs(state) > 5.0).any(1)


MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])


@dataclass(frozen=True)
class Grid(World):
    """A square of ``size``² cells with one hidden goal; reward 1 on the goal, else −0.1.

    Actions are stay, up, right, down, left. Episodes start in the lower left corner; the goal is any other cell. Observations are
    the coordinates, scaled to [−1, 1].
    """

    size: int = 5
    horizon: int = 15
    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Discrete(len(MOVES))

    def task(self, rng: np.random.Generator) -> np.ndarray:
        return np.array(np.divmod(rng.integers(1, self.size**2), self.size))

    def start(self, chance: np.ndarray) -> np.ndarray:
        return np.zeros((len(chance), 2), dtype=int)

    def observe(self, state: np.ndarray) -> np.ndarray:
        return (2 * state / (self.size - 1) - 1).astype(np.float32)

    def move(self, task: np.ndarray, chance: np.ndarray, state: np.ndarray, t: np.ndarray, action: np.ndarray) -> Step:
        state = np.clip(state + MOVES[action], 0, self.size - 1)
        there = (state == task).all(1)
        return state, np.where(there, 1.0, -0.1), np.zeros(len(state), dtype=bool)
