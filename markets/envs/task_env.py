"""`TaskEnv`: several episodes of one task as one gymnasium episode, for learners that keep their memory across episodes."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from markets.common.errors import InputError
from markets.envs.config import EnvConfig
from markets.envs.market_env import MarketEnv
from markets.tasks import TaskSet

LARGEST_REWARD = 1e9  # bound of the reward in observations


class TaskEnv(gymnasium.Env):
    """Meta-episodes: several episodes of one task, for learners that keep their memory across episodes (RL²).

    Each reset draws a task. Then `episodes` episodes follow, each with a new account from the task's first bar. The
    meta-episode ends with the last of them; ``info["episode_over"]`` marks the end of every episode.

    Parameters
    ----------
    tasks : TaskSet
        Features that are not defined yet, in a task at the very start of the bars, are 0.
    episodes : int
        Episodes per meta-episode.
    config : EnvConfig, optional
    render_mode : {"ansi", "rgb_array"}, optional
    **options
        Fields of `EnvConfig` that override those of `config`.

    Raises
    ------
    InputError
        When `regime`, `detector`, `fit_until` or `task` is given; see also `EnvConfig` and `Accounts`.

    Notes
    -----
    The observation is that of `MarketEnv`, then the last reward and whether an episode has just ended (Duan et al. 2016).
    """

    metadata = MarketEnv.metadata

    def __init__(
        self,
        tasks: TaskSet,
        episodes: int = 2,
        config: EnvConfig | None = None,
        *,
        render_mode: str | None = None,
        **options: Any,
    ):
        if episodes < 1:
            raise InputError(f"episodes is {episodes}; it must be at least 1")
        settings = EnvConfig.of(config, options)
        for name in ("regime", "detector", "fit_until", "task"):
            if getattr(settings, name) is not None:
                raise InputError(f"{name} cannot be given to TaskEnv, whose episodes run inside its tasks")
        self._env = MarketEnv(tasks.bars, settings, render_mode=render_mode)
        self._spans = [(task.start, task.stop) for task in tasks]  # from the first bar on, warm features or not
        self.episodes = episodes
        inner = self._env.observation_space
        assert isinstance(inner, spaces.Box)
        bound = np.append(inner.high, [LARGEST_REWARD, 1.0]).astype(np.float32)
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = self._env.action_space
        self.render_mode = self._env.render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._task = int(self.np_random.integers(len(self._spans)))
        self._episode = 0
        return self._begin(0.0, False)

    def _begin(self, reward: float, over: bool) -> tuple[np.ndarray, dict]:
        observation, info = self._env.start(self._spans[self._task])
        return self._seen(observation, reward, over), info | {"task": self._task, "episode_over": over}

    @staticmethod
    def _seen(observation: np.ndarray, reward: float, over: bool) -> np.ndarray:
        return np.append(observation, [np.clip(reward, -LARGEST_REWARD, LARGEST_REWARD), float(over)]).astype(
            np.float32
        )

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, terminated, truncated, info = self._env.step(action)
        over = terminated or truncated
        if over:
            self._episode += 1
        if over and self._episode < self.episodes:
            seen, info = self._begin(reward, True)
            return seen, reward, False, False, info
        info |= {"task": self._task, "episode_over": over}
        return self._seen(observation, reward, over), reward, terminated, truncated, info

    def render(self) -> str | np.ndarray | None:
        return self._env.render()
