"""`Accounts`: the state of environments.

An environment that was copied, pickled or sent to another process must continue bit-identically. Each number of the state is
therefore stored in exactly one array here, and no views of these arrays are kept. Constant data (`Panel`) is shared by copies.
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

# An episode of one step would not show the consequences of a decision.
LEAST_STEPS = 2


class Panel:
    """Prices, rules and features in the form the kernels read; constant, so copies share them.

    Parameters
    ----------
    held : Bars
    config : EnvConfig

    Attributes
    ----------
    market : Market
    parameters : ndarray of shape (P,)
        `Rules.packed`.
    features : ndarray of float32, shape (N, A·F)
        Zero where a feature is not defined.
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
        """The leading arguments of `step_kernel`."""
        return (*self.market, self.parameters, self.features)

    def _freeze(self) -> None:
        # Numba treats read-only arrays as another type: mixing both kinds would compile the kernels twice.
        for array in (*self.market, self.parameters, self.features):
            array.setflags(write=False)

    def __deepcopy__(self, memo: dict) -> Panel:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.market = Market(*self.market)
        self._freeze()  # pickling makes arrays writable


class Accounts:
    """n accounts that trade at rows of one panel.

    Parameters
    ----------
    n : int
    bars : Bars, or a source for `markets.load`
    config : EnvConfig

    Attributes
    ----------
    counts : ndarray of int64, shape (3, n)
        See `markets.accounting.kernels.step_kernel`.
    money : ndarray of shape (5, n)
        See `step_kernel`.
    shares : ndarray of shape (n, A)
    running : ndarray of bool, shape (n,)
        True between a reset and the end of an episode.
    moments : ndarray of shape (n, 2)
        State of the reward for each account.
    spans : list of (int, int)
        Ranges of rows of the panel (first, after the last) that episodes may use.
    fitted_until : Timestamp or None
        Last bar of the fit, if the environment fitted a detector itself; episodes start after it.

    Raises
    ------
    InputError
        When there are too few bars, the regime is unknown, or no range of rows is long enough.
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
        # an episode may start at any bar that leaves at least this many steps; in a task of a set, at its first bar
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
        """Current row of the panel of each account, shape (n,)."""
        return self.counts[ROW]

    @property
    def equity(self) -> np.ndarray:
        return self.money[EQUITY]

    def start(
        self, which: np.ndarray, rngs: Sequence[np.random.Generator], span: tuple[int, int] | None = None
    ) -> None:
        """Reset the accounts `which`, each to a random start drawn from its own generator, or all to the start of `span`."""
        if span is None:
            count = len(self._starts)
            picks = [int(rngs[b].random() * count) for b in which.tolist()]  # five times faster than `integers`
            first, end = self._starts[picks], self._ends[picks]
        else:
            first, end = np.array([span[0]]), np.array([span[1] - 1])
        self.counts[:, which] = first, np.minimum(end, first + self.episode_bars), np.zeros_like(first)
        self.money[:, which] = self._fresh
        self.shares[which] = 0.0
        self.running[which] = True
        self.moments[which] = 0.0

    def step(self, action: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Step the active accounts by one bar; returns (observation, reward, terminated, truncated).

        Accounts that are not active stay where they are; their reward is 0.

        Raises
        ------
        ResetNeeded
            When an active account is done or was never started.
        ValueError
            When an action has the wrong shape, is not among the positions, or gives weights that are not finite.
        """
        stopped = active & ~self.running
        if stopped.any():
            raise _reset_needed(np.flatnonzero(stopped))
        aim = self.actions.weights(action, len(active))
        seen = np.empty((len(active), *self.observation_space.shape), dtype=np.float32)

        def run(rows: slice) -> None:
            self._advance(rows.start, rows.stop, active, aim, seen, workspace(aim.shape[1]))

        if not np.isfinite(aim).all():  # checked before any thread starts
            raise self.actions.not_finite(action, int(np.argmin(np.isfinite(aim).all(axis=1))))
        in_threads(run, len(active), aim.size)
        terminated = active & (self.money[EQUITY] <= 0)
        truncated = active & (self.counts[ROW] >= self.counts[END]) & ~terminated
        self.running &= ~(terminated | truncated)
        reward = self.reward(self.money[BEFORE], self.money[EQUITY], self)
        return seen, (reward if active.all() else np.where(active, reward, 0.0)), terminated, truncated

    def step_one(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The result of `step` for a single account, bit-identical but as plain numbers, and its `info`.

        Plain numbers make a step several times faster than arrays of one element.
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
        """Observations of the accounts `which` (k,); float32 of shape (k, A·F + A)."""
        out = np.empty((len(which), *self.observation_space.shape), dtype=np.float32)
        observe_kernel(self.panel.features, self.market.mark, which, self.counts, self.money, self.shares, out)
        return out

    def infos(self) -> dict[str, np.ndarray]:
        """Entries of gymnasium's `info`, each an array of shape (n,)."""
        money, counts = self.money, self.counts
        values = {"equity": money[EQUITY], "cost": money[COST], "traded": money[TRADED], "row": counts[ROW],
                  "scaled": counts[SCALED]}  # fmt: skip
        return {key: value.copy() for key, value in values.items()}


def _reset_needed(which: np.ndarray) -> ResetNeeded:
    return ResetNeeded(f"environments {which.tolist()} are done or were never started; call reset")


def _spans(bars: Bars, config: EnvConfig) -> tuple[pd.Timestamp | None, list[tuple[int, int]]]:
    """Last bar of the fit if a detector is fitted here, and ranges of rows (first, after the last) that episodes may use.

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
    known = held.warm_from(lookback + 1) - 1  # first row on which a symbol's features are known
    warm = [(max(first, known), last) for first, last in found]
    least = min(LEAST_STEPS, config.episode_bars) + 1
    usable = [(first, last) for first, last in warm if last - first >= least]
    if not usable:
        what = f"regime {config.regime!r}" if config.regime is not None else "the task" if config.task else bars.name
        after = f" and after {fitted_until}, where the detector was fitted" if fitted_until is not None else ""
        raise InputError(
            f"{what} has no {least} consecutive bars after the {lookback} that warm up the features{after}; give more bars, "
            "or features with a shorter lookback"
        )
    return fitted_until, usable


def _regimes(held: Bars, config: EnvConfig) -> tuple[RegimePath, int]:
    """The detector's labels, and the number of bars it was fitted on here; 0 if it was given already fitted."""
    if config.detector is not None:
        return config.detector.filter(held), 0
    past = held[: len(held) // 2] if config.fit_until is None else held.until(config.fit_until)
    if config.fit_until is None:
        warnings.warn(
            f"a regime detector is fitted on {held.index[0]:%Y-%m-%d} to {past.index[-1]:%Y-%m-%d}, the first half of "
            f"{held.name}, and episodes start after it; give a fitted detector, or fit_until",
            stacklevel=5,
        )
    return HiddenMarkovRegimes().fit(past).filter(held), len(past)
