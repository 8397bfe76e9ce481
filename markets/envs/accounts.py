"""`Accounts`: the state that environments step, one owner of every array of it.

An environment that was copied, pickled or sent to another process must go on to the bit. So each number of the state lives in
exactly one array here, and no view of one is ever kept; what never changes (`Panel`) is shared by copies.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from markets.accounting.costs import Costs
from markets.accounting.kernels import (
    BEFORE,
    COST,
    END,
    EQUITY,
    LARGEST_WEIGHT,
    ROW,
    SCALED,
    TRADED,
    observe_kernel,
    step_kernel,
    workspace,
)
from markets.accounting.market import Market, make_market
from markets.accounting.simulate import in_threads
from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.data.loading import load
from markets.envs.actions import Actions
from markets.envs.config import EnvConfig
from markets.envs.rewards import Reward
from markets.features.parts import LARGEST
from markets.regimes.base import RegimePath
from markets.regimes.hidden_markov import HiddenMarkovRegimes
from markets.tasks import Task, TaskSet, stretches

# An episode of one step says nothing of what a decision leads to.
LEAST_STEPS = 2


class Panel:
    """Prices, rules and features as the kernels read them; nobody writes to them, so copies share them.

    Attributes
    ----------
    market : Market
    parameters : ndarray of shape (P,)
        `Rules.packed`.
    features : ndarray of float32, shape (N, A·F)
        Zero where they are not known.
    index : DatetimeIndex of shape (N,)
    symbols : tuple of str, length A
    """

    def __init__(self, held: Bars, config: EnvConfig):
        assert isinstance(config.costs, Costs)
        self.market, rules = make_market(held, config.costs, config.execution)
        table = np.nan_to_num(config.features.compute(held)).astype(np.float32)
        self.parameters, self.features = rules.packed(), np.ascontiguousarray(table.reshape(len(held), -1))
        self.index, self.symbols = held.index, held.symbols
        self._freeze()

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As `step_kernel` takes them."""
        return (*self.market, self.parameters, self.features)

    def _freeze(self) -> None:
        # To numba a read-only array is another type: all of one kind, or kernels would be compiled twice.
        for array in (*self.market, self.parameters, self.features):
            array.setflags(write=False)

    def __deepcopy__(self, memo: dict) -> Panel:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.market = Market(*self.market)
        self._freeze()  # pickling makes arrays writable


class Accounts:
    """n accounts at rows of one panel.

    Parameters
    ----------
    n : int
    bars : Bars, or what `markets.load` takes
    config : EnvConfig

    Attributes
    ----------
    counts : ndarray of int64, shape (3, n)
        See `markets.accounting.kernels.step_kernel`.
    money : ndarray of shape (5, n)
    shares : ndarray of shape (n, A)
    running : ndarray of bool, shape (n,)
        Between a reset and the end of an episode.
    moments : ndarray of shape (n, 2)
        What a reward remembers of each account.
    spans : list of (int, int)
        Stretches of rows of the panel (first, after the last) that episodes run in.
    fitted_until : Timestamp or None
        Last bar that a detector was fitted on, where the environment fitted it: episodes start after it.

    Raises
    ------
    InputError
        Too few bars, an unknown regime, or no stretch that is long enough.
    """

    def __init__(self, n: int, bars: Bars | str | Path, config: EnvConfig):
        if config.task is not None:
            bars = config.task.bars
        bars = bars if isinstance(bars, Bars) else load(bars)
        held = bars.with_past()
        config.features.require(held, more=LEAST_STEPS)
        assert isinstance(config.reward, Reward)
        self.panel, self.reward, self.episode_bars = Panel(held, config), config.reward, config.episode_bars
        self.fitted_until, self.spans = _spans(bars, config)
        least = min(LEAST_STEPS, config.episode_bars)
        # an episode starts anywhere that leaves it so many steps; tasks of a set are told apart from their first bar
        begins = [
            [first] if isinstance(config.task, TaskSet) else np.arange(first, last - least)
            for first, last in self.spans
        ]
        self._starts = np.concatenate(begins)
        self._ends = np.repeat([last - 1 for _, last in self.spans], [len(b) for b in begins])

        symbols = len(held.symbols)
        self.counts, self.money = np.zeros((3, n), dtype=np.int64), np.zeros((5, n))
        self.shares, self.running = np.zeros((n, symbols)), np.zeros(n, dtype=bool)
        self.moments = np.zeros((n, 2))
        cash = config.execution.cash
        self._fresh = np.array([cash, cash, 0.0, 0.0, cash])[:, None]
        bound = np.repeat([LARGEST, LARGEST_WEIGHT], [self.panel.features.shape[1], symbols]).astype(np.float32)
        self.observation_space = spaces.Box(-bound, bound, dtype=np.float32)
        self.actions = Actions(config.actions, config.positions, symbols, config.execution.long_only)
        self._everyone, self._work = np.ones(n, dtype=bool), workspace(symbols)

    @property
    def market(self) -> Market:
        return self.panel.market

    @property
    def row(self) -> np.ndarray:
        """Rows of the panel that the accounts are at, shape (n,)."""
        return self.counts[ROW]

    @property
    def equity(self) -> np.ndarray:
        return self.money[EQUITY]

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
        self.counts[:, which] = first, np.minimum(end, first + self.episode_bars), np.zeros_like(first)
        self.money[:, which] = self._fresh
        self.shares[which] = 0.0
        self.running[which] = True
        self.moments[which] = 0.0

    def step(self, action: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(observation, reward, terminated, truncated) of one bar; inactive accounts stay and get zeros."""
        stopped = active & ~self.running
        if stopped.any():
            raise _reset_needed(np.flatnonzero(stopped))
        aim = self.actions.weights(action, len(active))
        seen = np.empty((len(active), *self.observation_space.shape), dtype=np.float32)

        def run(rows: slice) -> None:
            self._advance(rows.start, rows.stop, active, aim, seen, workspace(aim.shape[1]))

        if not np.isfinite(aim).all():  # before any of the threads has begun
            raise self.actions.not_finite(action, int(np.argmin(np.isfinite(aim).all(axis=1))))
        in_threads(run, len(active), aim.size)
        terminated = active & (self.money[EQUITY] <= 0)
        truncated = active & (self.counts[ROW] >= self.counts[END]) & ~terminated
        self.running &= ~(terminated | truncated)
        reward = self.reward(self.money[BEFORE], self.money[EQUITY], self)
        return seen, (reward if active.all() else np.where(active, reward, 0.0)), terminated, truncated

    def step_one(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """What `step` gives for the one account that there is, to the bit, and its `info`; in plain numbers.

        Arrays of one number would cost three times as much as all the rest.
        """
        if not self.running[0]:
            raise _reset_needed(np.zeros(1, dtype=int))
        aim = self.actions.one(action)
        seen = np.empty((1, *self.observation_space.shape), dtype=np.float32)
        if self._advance(0, 1, self._everyone, aim, seen, self._work) >= 0:
            raise self.actions.not_finite(np.asarray(action)[None], 0)
        row, end, scaled = self.counts[:, 0].tolist()
        _, equity, cost, traded, before = self.money[:, 0].tolist()
        terminated = equity <= 0
        truncated = row >= end and not terminated
        if terminated or truncated:
            self.running[0] = False
        info = {"equity": equity, "cost": cost, "traded": traded, "row": row, "scaled": scaled}
        return seen[0], self.reward.one(before, equity, self), terminated, truncated, info

    def _advance(
        self, first: int, last: int, active: np.ndarray, aim: np.ndarray, seen: np.ndarray, work: np.ndarray
    ) -> int:
        return step_kernel(
            *self.panel.arrays, first, last, active, aim, self.counts, self.money, self.shares, seen, work
        )

    def observe(self, which: np.ndarray) -> np.ndarray:
        """What accounts `which` (k,) see, float32 of shape (k, A·F + A)."""
        out = np.empty((len(which), *self.observation_space.shape), dtype=np.float32)
        observe_kernel(self.panel.features, self.market.mark, which, self.counts, self.money, self.shares, out)
        return out

    def infos(self) -> dict[str, np.ndarray]:
        """What infos hold, an array of shape (n,) each."""
        money, counts = self.money, self.counts
        values = {"equity": money[EQUITY], "cost": money[COST], "traded": money[TRADED], "row": counts[ROW],
                  "scaled": counts[SCALED]}  # fmt: skip
        return {key: value.copy() for key, value in values.items()}


def _reset_needed(which: np.ndarray) -> ResetNeeded:
    return ResetNeeded(f"environments {which.tolist()} are done or were never started; call reset")


def _spans(bars: Bars, config: EnvConfig) -> tuple[pd.Timestamp | None, list[tuple[int, int]]]:
    """Last bar that a detector was fitted on here, and stretches of rows (first, after the last) that episodes may run in.

    Rows are those of ``bars.with_past()``.
    """
    held, fitted_until, lookback = bars.with_past(), None, config.features.lookback
    if config.task is not None:
        tasks = (config.task,) if isinstance(config.task, Task) else config.task
        found = [(t.start, t.stop) for t in tasks]
    elif config.regime is None:
        found = [(bars.past, len(held))]
    else:
        path, fitted = _regimes(held, config)
        fitted_until = held.index[fitted - 1] if fitted else None
        label = path.label(config.regime)
        found = [(max(first, bars.past, fitted), last) for first, last, k in stretches(path) if k == label]
    warm = [(max(first, lookback), last) for first, last in found]
    least = min(LEAST_STEPS, config.episode_bars) + 1
    usable = [(first, last) for first, last in warm if last - first >= least]
    if not usable:
        what = f"regime {config.regime!r}" if config.regime is not None else "the task" if config.task else bars.name
        after = f" and after {fitted_until}, where the detector was fitted" if fitted_until is not None else ""
        raise InputError(
            f"{what} has no {least} bars in a row after the {lookback} that warm the features up{after}; give more bars or "
            "shorter features"
        )
    return fitted_until, usable


def _regimes(held: Bars, config: EnvConfig) -> tuple[RegimePath, int]:
    """The detector's labels, and how many bars from the first it was fitted on here; 0 where it came fitted."""
    if config.detector is not None:
        return config.detector.filter(held), 0
    past = held[: len(held) // 2] if config.fit_until is None else held.until(config.fit_until)
    if config.fit_until is None:
        warnings.warn(
            f"a detector of regimes is fitted on {held.index[0]:%Y-%m-%d} to {past.index[-1]:%Y-%m-%d}, the first half of "
            f"{held.name}, and episodes start after it; give a fitted detector, or fit_until",
            stacklevel=5,
        )
    return HiddenMarkovRegimes().fit(past).filter(held), len(past)
