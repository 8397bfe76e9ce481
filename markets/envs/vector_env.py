"""`VectorMarketEnv`: a batch of `MarketEnv`, stepped by one call of the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.envs.accounts import Accounts
from markets.envs.config import EnvConfig


class VectorMarketEnv(VectorEnv):
    """A batch of `MarketEnv`: all accounts are stepped by one call of the kernel.

    Parameters
    ----------
    num_envs : int
        Number of environments.
    autoreset_mode : AutoresetMode or str
        ``NextStep`` (default), ``SameStep`` or ``Disabled``.
    bars, config, **options
        As in `MarketEnv`.

    Raises
    ------
    InputError
        See `EnvConfig` and `Accounts`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        bars: Bars | str = "stocks",
        config: EnvConfig | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **options: Any,
    ):
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = ", ".join(mode.value for mode in AutoresetMode)
            raise InputError(f"autoreset_mode {autoreset_mode!r} is unknown; use {modes}") from None
        self._accounts = Accounts(num_envs, bars, EnvConfig.of(config, options))
        self.num_envs = num_envs
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.single_observation_space = self._accounts.observation_space
        self.single_action_space = self._accounts.actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = [seeding.np_random(None)[0] for _ in range(num_envs)]
        self._done = np.zeros(num_envs, dtype=bool)

    @property
    def fitted_until(self) -> pd.Timestamp | None:
        """Last bar of the fit, if the environment fitted a detector itself, else None; episodes start after it."""
        return self._accounts.fitted_until

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict | None = None
    ) -> tuple[np.ndarray, dict]:
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        else:
            seeds = [int(seed) + b for b in range(self.num_envs)] if isinstance(seed, (int, np.integer)) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        mask = np.ones(self.num_envs, dtype=bool)
        if options and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"])
            if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
                raise ValueError(f"reset_mask must be a bool array of shape ({self.num_envs},) with at least one True")
        for b in np.flatnonzero(mask):
            if (given := seeds[b]) is not None:
                self._rngs[b] = seeding.np_random(int(given))[0]
        self._accounts.start(np.flatnonzero(mask), self._rngs)
        self._done = self._done & ~mask  # a new array: infos returned earlier hold the old one
        return self._accounts.observe(np.arange(self.num_envs)), self._infos(mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        accounts = self._accounts
        fresh = self._done if self.autoreset_mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, dtype=bool)
        observation, reward, terminated, truncated = accounts.step(actions, ~fresh)
        done, infos = terminated | truncated, {}
        restart = np.flatnonzero(fresh)  # NEXT_STEP: this step is the reset
        if self.autoreset_mode == AutoresetMode.SAME_STEP and done.any():
            restart = np.flatnonzero(done)
            last = np.full(self.num_envs, None, dtype=object)
            for b in restart:
                last[b] = observation[b].copy()
            infos = {"final_obs": last, "_final_obs": done, "final_info": self._infos(done), "_final_info": done}
        if restart.size:
            accounts.start(restart, self._rngs)
            observation[restart] = accounts.observe(restart)
        infos |= self._infos(np.ones(self.num_envs, dtype=bool))
        self._done = done
        return observation, reward, terminated, truncated, infos

    def _infos(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        everyone, out = mask.all(), {}
        for key, value in self._accounts.infos().items():
            out[key], out[f"_{key}"] = value if everyone else np.where(mask, value, 0), mask
        return out
