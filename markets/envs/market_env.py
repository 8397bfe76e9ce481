"""Gymnasium environments over the one accounting kernel: `MarketEnv`, and `VectorMarketEnv` that steps many at once.

Both are faces of the same `_Accounts`, so they agree to the bit. End of data or of the episode is ``truncated``; ruin is
``terminated``. An action is a row of target weights, decided at the close that the observation shows and filled after
it. The names are registered with gymnasium as ``regimeshift/Market-v0`` when `markets` is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
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

from markets.accounting.costs import Costs, Execution, make_market
from markets.accounting.kernels import in_threads, scratch, step_kernel
from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.data.loading import load
from markets.envs.actions import Actions
from markets.envs.rewards import Reward, RewardFunction
from markets.features.composition import Features
from markets.features.parts import LARGEST
from markets.regimes.base import RegimeDetector
from markets.regimes.hidden_markov import HiddenMarkovRegimes
from markets.tasks import Task, TaskSet, stretches

# Just before ruin a weight has no bound; an observation needs one.
LARGEST_WEIGHT = 100.0
LARGEST_REWARD = 1e9


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _observe(features, mark, at, shares, equity, out):
    """Features of the current row, then current weights, into `out` (n, A·F + A)."""
    width, n = features.shape[1], shares.shape[1]
    for b in range(at.size):
        row = at[b]
        for f in range(width):
            out[b, f] = features[row, f]
        for i in range(n):
            weight = shares[b, i] * mark[row, i] / equity[b] if equity[b] > 0 else 0.0
            out[b, width + i] = min(max(weight, -LARGEST_WEIGHT), LARGEST_WEIGHT)


class _Accounts:
    """n accounts at rows of one panel: what both environments hold."""

    def __init__(
        self,
        n: int,
        bars: Bars | str | Path,
        regime: str | int | None,
        task: Task | TaskSet | None,
        detector: RegimeDetector | None,
        features: Features | None,
        costs: Costs | str,
        execution: Execution | None,
        episode_bars: int,
        actions: str,
        positions: Sequence[float],
        reward: str | RewardFunction | Reward,
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
        # an episode starts anywhere that leaves it a step, but for the tasks of a set: they are told apart from their first bar
        begins = [[first] if isinstance(task, TaskSet) else np.arange(first, last - 1) for first, last in self.spans]
        self._starts = np.concatenate(begins)
        self._ends = np.repeat([last - 1 for _, last in self.spans], [len(b) for b in begins])

        symbols = len(self.symbols)
        # rows of two tables, so that a restart is two assignments
        self._counts, self._money = np.zeros((3, n), dtype=np.int64), np.zeros((4, n))
        self.at, self.end, self.scaled = self._counts
        self.cash, self.equity, self.cost, self.traded = self._money
        self._fresh = np.array([self.execution.cash, self.execution.cash, 0.0, 0.0])[:, None]
        self.shares = np.zeros((n, symbols))
        self.running = np.zeros(n, dtype=bool)  # between a reset and the end of an episode
        bound = np.repeat([LARGEST, LARGEST_WEIGHT], [self.features.shape[1], symbols]).astype(np.float32)
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.actions = Actions(actions, positions, symbols, self.execution.long_only)
        self.action_space = self.actions.space
        self.reward = reward if isinstance(reward, Reward) else Reward(reward)
        self.reward.moments = np.zeros((n, 2))

    def start(
        self, which: np.ndarray, rngs: Sequence[np.random.Generator], span: tuple[int, int] | None = None
    ) -> None:
        """Put accounts `which` at random starts, each by its own generator, or at the start of a span."""
        if span is None:
            count = len(self._starts)
            picks = [int(rngs[b].random() * count) for b in which.tolist()]  # a fifth of the time of `integers`
            first, end = self._starts[picks], self._ends[picks]
        else:
            first, end = np.array([span[0]]), np.array([span[1] - 1])
        self._counts[:, which] = first, np.minimum(end, first + self.episode_bars), np.zeros_like(first)
        self._money[:, which] = self._fresh
        self.shares[which] = 0.0
        self.running[which] = True
        if self.reward.kind == "differential_sharpe":
            self.reward.moments[which] = 0.0

    def step(self, action: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(observation, reward, terminated, truncated) of one bar; inactive accounts stay and get zeros."""
        aim = self.actions.weights(action, len(self.at))
        stopped = active & ~self.running
        if stopped.any():
            raise ResetNeeded(
                f"environments {np.flatnonzero(stopped).tolist()} are done or were never started; call reset"
            )
        before = self.equity.copy()
        seen = np.empty((len(self.at), *self.observation_space.shape), dtype=np.float32)

        def run(rows: slice) -> None:
            accounts = (self.at, aim, self.cash, self.shares, self.equity, self.cost, self.traded, self.scaled)
            step_kernel(self.market, active[rows], *(x[rows] for x in accounts), self.rules, scratch(aim.shape[1]))
            self._observe(rows, seen[rows])

        in_threads(run, len(self.at), aim.size)
        terminated = active & (self.equity <= 0)
        truncated = active & (self.at >= self.end) & ~terminated
        self.running &= ~(terminated | truncated)
        reward = self.reward(before, self.equity, self)
        return seen, (reward if active.all() else np.where(active, reward, 0.0)), terminated, truncated

    def observe(self, which: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What accounts `which` see, float32 of shape (n, A·F + A)."""
        out = np.empty((len(self.at[which]), *self.observation_space.shape), dtype=np.float32)
        self._observe(which, out)
        return out

    def _observe(self, which: np.ndarray | slice, out: np.ndarray) -> None:
        _observe(self.features, self.market.mark, self.at[which], self.shares[which], self.equity[which], out)

    def info(self, b: int) -> dict[str, Any]:
        return {"equity": float(self.equity[b]), "cost": float(self.cost[b]), "traded": float(self.traded[b]),
                "row": int(self.at[b]), "scaled": int(self.scaled[b])}  # fmt: skip


def _spans(
    bars: Bars, regime: str | int | None, task: Task | TaskSet | None, detector: RegimeDetector | None, lookback: int
) -> list[tuple[int, int]]:
    """Stretches of rows (first, after the last), in rows of ``bars.with_past()``, that episodes may run in."""
    held = bars.with_past()
    if task is not None:
        found = [(t.start, t.stop) for t in ((task,) if isinstance(task, Task) else task)]
    elif regime is None:
        found = [(bars.past, len(held))]
    else:
        path = (detector or HiddenMarkovRegimes().fit(held)).filter(held)
        named = path.names[regime] if isinstance(regime, int) and 0 <= regime < len(path.names) else regime
        if named not in path.names:
            raise InputError(
                f"regime {regime!r} is unknown; the detector's are {', '.join(path.names)}, or 0 to {len(path.names) - 1}"
            )
        label = path.names.index(str(named))
        found = [(max(first, bars.past), last) for first, last, k in stretches(path) if k == label]
    warm = [(max(first, lookback), last) for first, last in found]
    usable = [(first, last) for first, last in warm if last - first >= 2]
    if not usable:
        what = f"regime {regime!r}" if regime is not None else "the task" if task else bars.name
        raise InputError(f"{what} has no two bars in a row after the {lookback} that warm the features up")
    return usable


class MarketEnv(gymnasium.Env):
    """Trade a universe bar by bar; one regime of it, if one is named.

    Parameters
    ----------
    bars : Bars or str
        What to trade, or what `markets.load` takes.
    regime : str or int, optional
        Name of a regime, or its label (0 is the calmest): episodes run only where the detector's filter says so, and end
        where it ends.
    task : Task or TaskSet, optional
        Episodes run inside this task instead; of a set, each runs through one that is drawn anew, from its first bar.
    detector : RegimeDetector, optional
        Fitted; by default a `HiddenMarkovRegimes` is fitted on `bars`, which is a fit on the whole span: give your own
        for a clean test.
    features : Features, optional
    costs : Costs or str
        A side; ``"10bp"`` by default.
    execution : Execution, optional
        Fill time, sizing, limits. Weights beyond its limits are scaled to them.
    episode_bars : int
        Steps at most in an episode. It starts at a random bar, and ends early at the end of the data or of the regime.
    actions : {"box", "simplex", "discrete"}
        See `Actions`.
    positions : sequence of float
        For discrete actions.
    reward : {"log_return", "mean_variance", "differential_sharpe"} or callable
        See `Reward`.
    render_mode : {"ansi", "rgb_array"}, optional

    Notes
    -----
    Observation: Box of shape (A·F + A,), float32: the features of each symbol, then the current weights. `info` has equity,
    cost and traded value of the bar, the row of the panel, and ``scaled``: on how many bars of the episode the action was
    beyond the limits and was scaled to them.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012 (gymnasium asks for this form)

    def __init__(
        self,
        bars: Bars | str = "stocks",
        *,
        regime: str | int | None = None,
        task: Task | TaskSet | None = None,
        detector: RegimeDetector | None = None,
        features: Features | None = None,
        costs: Costs | str = "10bp",
        execution: Execution | None = None,
        episode_bars: int = 252,
        actions: str = "box",
        positions: Sequence[float] = (-1, 0, 1),
        reward: str | RewardFunction | Reward = "log_return",
        render_mode: str | None = None,
    ):
        self._accounts = _Accounts(
            1, bars, regime, task, detector, features, costs, execution, episode_bars, actions, positions, reward
        )
        self._history: list[float] = []
        self.observation_space = self._accounts.observation_space
        self.action_space = self._accounts.action_space
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=None if seed is None else int(seed))
        return self._start(None)

    def _start(self, span: tuple[int, int] | None) -> tuple[np.ndarray, dict]:
        self._accounts.start(np.array([0]), [self.np_random], span)
        self._history = [float(self._accounts.equity[0])]
        return self._accounts.observe()[0], self._accounts.info(0)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        seen, reward, terminated, truncated = self._accounts.step(np.asarray(action)[None], np.ones(1, dtype=bool))
        info = self._accounts.info(0)
        self._history.append(info["equity"])
        return seen[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    def render(self) -> str | np.ndarray | None:
        if self.render_mode == "rgb_array":
            return self._picture()
        if self.render_mode != "ansi":
            return None
        a = self._accounts
        held = ", ".join(
            f"{symbol} {shares * mark / a.equity[0]:+.1%}"
            for symbol, shares, mark in zip(a.symbols, a.shares[0], a.market.mark[a.at[0]], strict=True)
            if shares
        )
        return f"{a.index[a.at[0]]}  equity {a.equity[0]:,.2f}  {held or 'flat'}\n"

    def _picture(self) -> np.ndarray:
        """Prices (start = 1) above, equity below, of the episode so far; uint8 of shape (360, 480, 3)."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        a, row = self._accounts, int(self._accounts.at[0])
        times = a.index[row - len(self._history) + 1 : row + 1]
        figure = Figure(figsize=(4.8, 3.6), dpi=100, layout="constrained")
        prices, equity = figure.subplots(2, sharex=True)
        mark = a.market.mark[row - len(self._history) + 1 : row + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            prices.plot(times, mark / mark[0], lw=0.8)
        prices.set_title(f"{times[-1]:%Y-%m-%d}", fontsize=9)
        prices.set_ylabel("prices")
        equity.plot(times, self._history, color="black")
        equity.set_ylabel("equity")
        figure.autofmt_xdate()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


class TaskEnv(gymnasium.Env):
    """A meta-episode: several episodes in one task, for learners whose memory should carry over (RL²).

    Each reset draws a task; then `episodes` runs through it follow, each with a fresh account from the task's first bar.
    Only the last of them ends the meta-episode; `info["episode_over"]` tells where the others end.

    Parameters
    ----------
    tasks : TaskSet
    episodes : int
    **options
        As in `MarketEnv`.

    Notes
    -----
    Observation: that of `MarketEnv`, then the last reward and whether an episode has just ended (Duan et al. 2016).
    """

    metadata = MarketEnv.metadata

    def __init__(self, tasks: TaskSet, episodes: int = 2, **options: Any):
        if episodes < 1:
            raise InputError(f"episodes is {episodes}; it must be at least 1")
        self._env = MarketEnv(tasks.bars, **options)
        self._spans = [(t.start, t.stop) for t in tasks]
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
        observation, info = self._env._start(self._spans[self._task])
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
        regime: str | int | None = None,
        task: Task | TaskSet | None = None,
        detector: RegimeDetector | None = None,
        features: Features | None = None,
        costs: Costs | str = "10bp",
        execution: Execution | None = None,
        episode_bars: int = 252,
        actions: str = "box",
        positions: Sequence[float] = (-1, 0, 1),
        reward: str | RewardFunction | Reward = "log_return",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ):
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = ", ".join(mode.value for mode in AutoresetMode)
            raise InputError(f"autoreset_mode {autoreset_mode!r} is unknown; use {modes}") from None
        self._accounts = _Accounts(
            num_envs, bars, regime, task, detector, features, costs, execution, episode_bars, actions, positions, reward
        )
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
        self._accounts.start(np.flatnonzero(mask), self._rngs)
        self._done = self._done & ~mask  # what infos hold stays as it was
        return self._accounts.observe(), self._infos(mask)

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
        a = self._accounts
        values = {"equity": a.equity, "cost": a.cost, "traded": a.traded, "row": a.at, "scaled": a.scaled}
        everyone, out = mask.all(), {}
        for key, value in values.items():
            out[key], out[f"_{key}"] = value.copy() if everyone else np.where(mask, value, 0), mask
        return out
