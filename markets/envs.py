"""Gymnasium environments over the one accounting kernel: `MarketEnv`, and `VectorMarketEnv` that steps many at once.

Both are faces of the same `_Accounts`, so they agree to the bit. End of data or of the episode is ``truncated``; ruin is
``terminated``. An action is a row of target weights, decided at the close that the observation shows and filled after
it. The names are registered with gymnasium as ``regimeshift/Market-v0`` when `markets` is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numba import njit

from markets.accounting import Costs, Execution, make_market
from markets.bars import Bars
from markets.errors import InputError
from markets.features import LARGEST, Features
from markets.regimes import HiddenMarkovRegimes
from markets.simulator import step_kernel
from markets.sources import load
from markets.tasks import Task, stretches

# The log return of ruin is minus infinity; a learner is told this instead, about losing all but a 20,000th.
RUIN_REWARD = -10.0
# Just before ruin a weight has no bound; an observation needs one.
LARGEST_WEIGHT = 100.0


@njit(cache=True, nogil=True)
def _observe(features, mark, at, shares, equity, out):
    """Features of the current row, then current weights, into `out` (n, A·F + A)."""
    width, n = features.shape[1], shares.shape[1]
    for b in range(at.size):
        out[b, :width] = features[at[b]]
        for i in range(n):
            weight = shares[b, i] * mark[at[b], i] / equity[b] if equity[b] > 0 else 0.0
            out[b, width + i] = min(max(weight, -LARGEST_WEIGHT), LARGEST_WEIGHT)


class _Accounts:
    """n accounts at rows of one panel: what both environments hold."""

    def __init__(
        self,
        n: int,
        bars: Bars | str | Path,
        regime: str | None,
        task: Task | None,
        detector: HiddenMarkovRegimes | None,
        features: Features | None,
        costs: Costs | str,
        execution: Execution | None,
        episode_bars: int,
    ):
        if episode_bars < 1:
            raise InputError(f"episode_bars is {episode_bars}; it must be at least 1")
        if task is not None:
            bars = task.bars
        bars = bars if isinstance(bars, Bars) else load(bars)
        held = bars.with_past()
        features = features or Features()
        features.require(held, more=2)
        self.execution = execution or Execution()
        self.market, self.rules = make_market(held, Costs.parse(costs), self.execution)
        table = np.nan_to_num(features.compute(held)).astype(np.float32)
        self.features = np.ascontiguousarray(table.reshape(len(held), -1))
        self.index, self.symbols = held.index, held.symbols
        self.episode_bars = episode_bars
        self.spans = _spans(bars, regime, task, detector, features.lookback)
        # an episode starts anywhere that leaves it a step
        self._starts = np.concatenate([np.arange(first, last - 1) for first, last in self.spans])
        self._ends = np.concatenate([np.full(last - 1 - first, last - 1) for first, last in self.spans])

        symbols = len(self.symbols)
        self.at, self.end = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.cash, self.equity = np.zeros(n), np.zeros(n)
        self.cost, self.traded = np.zeros(n), np.zeros(n)
        self.shares = np.zeros((n, symbols))
        self.running = np.zeros(n, dtype=bool)  # between a reset and the end of an episode
        lowest = 0.0 if self.execution.long_only else -1.0
        bound = np.repeat([LARGEST, LARGEST_WEIGHT], [self.features.shape[1], symbols]).astype(np.float32)
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.action_space = spaces.Box(lowest, 1.0, (symbols,), np.float64)

    def start(self, b: int, rng: np.random.Generator) -> None:
        """Put account b at a random start."""
        pick = int(rng.integers(len(self._starts)))
        self.at[b] = self._starts[pick]
        self.end[b] = min(self._ends[pick], self._starts[pick] + self.episode_bars)
        self.cash[b] = self.equity[b] = self.execution.cash
        self.shares[b] = 0.0
        self.cost[b] = self.traded[b] = 0.0
        self.running[b] = True

    def step(self, aim: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(reward, terminated, truncated) of one bar; inactive accounts stay and get zeros."""
        if not self.running[active].all():
            stopped = np.flatnonzero(active & ~self.running).tolist()
            raise ResetNeeded(f"environments {stopped} are done or were never started; call reset")
        if aim.shape != self.shares.shape:
            raise ValueError(f"actions have shape {aim.shape}, but {self.shares.shape} is needed (weights by symbol)")
        if not np.isfinite(aim).all():
            b, i = np.argwhere(~np.isfinite(aim))[0]
            raise ValueError(f"action of environment {b} for {self.symbols[i]} is {aim[b, i]}; weights must be finite")
        before = self.equity.copy()
        step_kernel(
            self.market, active, self.at, aim, self.cash, self.shares, self.equity, self.cost, self.traded, self.rules
        )
        terminated = active & (self.equity <= 0)
        truncated = active & ~terminated & (self.at >= self.end)
        self.running[terminated | truncated] = False
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = np.log(np.maximum(self.equity, 0.0) / before)
        reward = np.where(active, np.maximum(growth, RUIN_REWARD), 0.0)
        return reward, terminated, truncated

    def observe(self) -> np.ndarray:
        out = np.empty((len(self.at), *self.observation_space.shape), dtype=np.float32)
        _observe(self.features, self.market.mark, self.at, self.shares, self.equity, out)
        return out

    def info(self, b: int) -> dict[str, Any]:
        return {"equity": float(self.equity[b]), "cost": float(self.cost[b]), "traded": float(self.traded[b]),
                "row": int(self.at[b])}  # fmt: skip


def _spans(
    bars: Bars, regime: str | None, task: Task | None, detector: HiddenMarkovRegimes | None, lookback: int
) -> list[tuple[int, int]]:
    """Stretches of rows (first, after the last), in rows of ``bars.with_past()``, that episodes may run in."""
    held = bars.with_past()
    if task is not None:
        found = [(task.start, task.stop)]
    elif regime is None:
        found = [(bars.past, len(held))]
    else:
        path = (detector or HiddenMarkovRegimes().fit(held)).filter(held)
        if regime not in path.names:
            raise InputError(f"regime {regime!r} is unknown; the detector's are {', '.join(path.names)}")
        label = path.names.index(regime)
        found = [(max(first, bars.past), last) for first, last, k in stretches(path) if k == label]
    warm = [(max(first, lookback), last) for first, last in found]
    usable = [(first, last) for first, last in warm if last - first >= 2]
    if not usable:
        what = f"regime {regime!r}" if regime else "the task" if task else bars.name
        raise InputError(f"{what} has no two bars in a row after the {lookback} that warm the features up")
    return usable


class MarketEnv(gymnasium.Env):
    """Trade a universe bar by bar; one regime of it, if one is named.

    Parameters
    ----------
    bars : Bars or str
        What to trade, or what `markets.load` takes.
    regime : str, optional
        Name of a regime: episodes run only where the detector's filter says so, and end where it ends.
    task : Task, optional
        Episodes run inside this task instead.
    detector : HiddenMarkovRegimes, optional
        Fitted; by default one is fitted on `bars`, which is a fit on the whole span: give your own for a clean test.
    features : Features, optional
    costs : Costs or str
        A side; ``"10bp"`` by default.
    execution : Execution, optional
        Fill time, sizing, limits. Weights beyond its limits are scaled to them.
    episode_bars : int
        Steps at most in an episode. It starts at a random bar.
    render_mode : {"ansi"}, optional

    Notes
    -----
    Observation: Box of shape (A·F + A,), float32: the features of each symbol, then the current weights.
    Action: Box of shape (A,), target weights. Reward: log return of equity over the bar, after all costs; ruin is −10.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (gymnasium asks for this form)

    def __init__(
        self,
        bars: Bars | str = "stocks",
        *,
        regime: str | None = None,
        task: Task | None = None,
        detector: HiddenMarkovRegimes | None = None,
        features: Features | None = None,
        costs: Costs | str = "10bp",
        execution: Execution | None = None,
        episode_bars: int = 252,
        render_mode: str | None = None,
    ):
        self._accounts = _Accounts(1, bars, regime, task, detector, features, costs, execution, episode_bars)
        self.observation_space = self._accounts.observation_space
        self.action_space = self._accounts.action_space
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=None if seed is None else int(seed))
        self._accounts.start(0, self.np_random)
        return self._accounts.observe()[0], self._accounts.info(0)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        aim = np.array(action, dtype=np.float64, ndmin=2)
        reward, terminated, truncated = self._accounts.step(aim, np.ones(1, dtype=bool))
        info = self._accounts.info(0)
        return self._accounts.observe()[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> str | None:
        if self.render_mode != "ansi":
            return None
        a = self._accounts
        held = ", ".join(
            f"{symbol} {shares * mark / a.equity[0]:+.1%}"
            for symbol, shares, mark in zip(a.symbols, a.shares[0], a.market.mark[a.at[0]], strict=True)
            if shares
        )
        return f"{a.index[a.at[0]]}  equity {a.equity[0]:,.2f}  {held or 'flat'}\n"


class VectorMarketEnv(VectorEnv):
    """Many `MarketEnv` in one: every account is stepped by one call of the kernel.

    Parameters
    ----------
    num_envs : int
    autoreset_mode : AutoresetMode or str
        ``NextStep`` (default), ``SameStep`` or ``Disabled``.
    bars, regime, task, detector, features, costs, execution, episode_bars
        As in `MarketEnv`.
    """

    def __init__(
        self,
        num_envs: int = 1,
        bars: Bars | str = "stocks",
        *,
        regime: str | None = None,
        task: Task | None = None,
        detector: HiddenMarkovRegimes | None = None,
        features: Features | None = None,
        costs: Costs | str = "10bp",
        execution: Execution | None = None,
        episode_bars: int = 252,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ):
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = ", ".join(mode.value for mode in AutoresetMode)
            raise InputError(f"autoreset_mode {autoreset_mode!r} is unknown; use {modes}") from None
        self._accounts = _Accounts(num_envs, bars, regime, task, detector, features, costs, execution, episode_bars)
        self.num_envs = num_envs
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.single_observation_space = self._accounts.observation_space
        self.single_action_space = self._accounts.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = [seeding.np_random(None)[0] for _ in range(num_envs)]
        self._done = np.zeros(num_envs, dtype=bool)

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
            if (own := seeds[b]) is not None:
                self._rngs[b] = seeding.np_random(int(own))[0]
            self._accounts.start(int(b), self._rngs[b])
        self._done &= ~mask
        return self._accounts.observe(), self._infos(mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        accounts = self._accounts
        fresh = self._done if self.autoreset_mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, dtype=bool)
        aim = np.ascontiguousarray(actions, dtype=np.float64)
        reward, terminated, truncated = accounts.step(aim, ~fresh)
        for b in np.flatnonzero(fresh):  # NEXT_STEP: this step is the reset
            accounts.start(int(b), self._rngs[b])
        done = terminated | truncated
        observation, infos = accounts.observe(), {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP and done.any():
            last = np.full(self.num_envs, None, dtype=object)
            for b in np.flatnonzero(done):
                last[b] = observation[b].copy()
            infos = {"final_obs": last, "_final_obs": done, "final_info": self._infos(done), "_final_info": done}
            for b in np.flatnonzero(done):
                accounts.start(int(b), self._rngs[b])
            observation = accounts.observe()
        infos |= self._infos(np.ones(self.num_envs, dtype=bool))
        self._done = done
        return observation, reward, terminated, truncated, infos

    def _infos(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        a = self._accounts
        values = {"equity": a.equity, "cost": a.cost, "traded": a.traded, "row": a.at}
        out = {}
        for key, value in values.items():
            out[key], out[f"_{key}"] = np.where(mask, value, 0), mask.copy()
        return out
