"""`StableVecEnv`: the vector environment for stable-baselines3.

stable-baselines3 requires its own interface, `VecEnv`: episodes restart within the step that ends them, the last observation is
in ``infos[i]["terminal_observation"]``, and ``infos[i]["TimeLimit.truncated"]`` distinguishes the end of the data from ruin.
This module needs stable-baselines3 (``pip install stable-baselines3``); no other module imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from markets.envs.vector_env import VectorMarketEnv


class StableVecEnv(VecEnv):
    """A `VectorMarketEnv` with the interface of stable-baselines3.

    Parameters
    ----------
    num_envs : int
        Number of environments.
    **options
        Other arguments of `VectorMarketEnv`.
    """

    def __init__(self, num_envs: int, **options: Any):
        self._envs = VectorMarketEnv(num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        self._actions: np.ndarray | None = None
        self._earned, self._length = np.zeros(num_envs), np.zeros(num_envs, dtype=np.int64)
        super().__init__(num_envs, self._envs.single_observation_space, self._envs.single_action_space)

    def reset(self) -> np.ndarray:
        seeds = self._seeds if any(s is not None for s in self._seeds) else None
        observation, _ = self._envs.reset(seed=seeds)
        self.reset_infos: list[dict] = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._earned[:], self._length[:] = 0.0, 0
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        assert self._actions is not None
        observation, reward, terminated, truncated, found = self._envs.step(self._actions)
        done = terminated | truncated
        self._earned += reward
        self._length += 1
        infos: list[dict] = [
            {"equity": float(e), "cost": float(c)} for e, c in zip(found["equity"], found["cost"], strict=True)
        ]
        for b in np.flatnonzero(done):
            last = found["final_info"]
            infos[b] = {
                "equity": float(last["equity"][b]),
                "cost": float(last["cost"][b]),
                "terminal_observation": found["final_obs"][b],
                "TimeLimit.truncated": bool(truncated[b]),
                "episode": {"r": float(self._earned[b]), "l": int(self._length[b])},
            }
        self._earned[done], self._length[done] = 0.0, 0
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        self._envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self._envs, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("all accounts share one environment; set options when creating it")

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        found = getattr(self._envs, method_name)(*arguments, **options)
        return [found] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> Sequence[bool]:
        return [False] * len(list(self._get_indices(indices)))
