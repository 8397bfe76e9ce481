"""A job: what one strategy wants over one fold. It is a pure function of what it is given, so it may run anywhere, and again."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd

from backtests.engine.content import digest
from backtests.engine.folds import Split
from backtests.engine.guard import Guard
from backtests.engine.protocols import Adaptive, Learner, learns
from backtests.results import Event
from markets import Bars, InputError, TaskSet
from markets.bars.time_spans import moment
from strategies import Plan, Strategy
from strategies.strategy import planned

Tasks = Callable[[Bars], tuple[TaskSet, TaskSet]]


@dataclass(frozen=True, eq=False)
class Piece:
    """What one strategy wants over one stretch, and what it was then.

    Attributes
    ----------
    name : str
    plan : Plan of shape (T, A)
    events : tuple of Event
    trained_until, adapted_until : Timestamp or None
    fingerprint : str or None
    remark : str
    """

    name: str
    plan: Plan
    events: tuple[Event, ...] = ()
    trained_until: pd.Timestamp | None = None
    adapted_until: pd.Timestamp | None = None
    fingerprint: str | None = None
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Job:
    """One strategy or learner, and one fold.

    Attributes
    ----------
    strategy : Adaptive or Learner
    split : Split
        What to train on, if it learns, and what to trade.
    every : int
        Bars between adaptations.
    tasks : callable
        From bars to (training, validation) tasks.
    control : bool
        Whether a learner is run without adaptation too.
    guard : Guard or None
    """

    strategy: Adaptive | Learner
    split: Split
    every: int
    tasks: Tasks
    control: bool
    guard: Guard | None


def run(job: Job, bars: Bars) -> list[list[Piece]]:
    """Train, adapt and plan.

    Parameters
    ----------
    job : Job
    bars : Bars
        Of which nothing after a row is shown to what decides at it.

    Returns
    -------
    list of list of Piece
        For the strategy, and its controls if they are wanted: a piece for each stretch of the split.

    Raises
    ------
    InputError
        When there are too few bars, or the strategy looks ahead.
    """
    if not learns(job.strategy):
        return [[_trade(_Trader.of(cast(Adaptive, job.strategy), bars), bars, *span, job) for span in job.split.tests]]
    training, validation = _task_sets(job.tasks, bars, job.split)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*validation tasks cannot support a tilt")  # the remark says so
        # a copy, since a learner may keep what it learnt, and folds that share a process must not see each other's
        meta = copy.deepcopy(job.strategy).fit(training, validation, progress=False)
    name = getattr(job.strategy, "name", "") or meta.name
    fingerprint = getattr(meta, "fingerprint", None) or _fingerprint(meta)
    until = max(task.times[2] for tasks in (training, validation) for task in tasks)
    traders = [_Trader(name, meta.adapt, fingerprint, getattr(meta, "remark", ""), until)]
    if job.control:
        # a learner of another house may have the one control only
        controls = meta.controls() if hasattr(meta, "controls") else {"unadapted": meta.unadapted()}
        for kind, control in controls.items():
            traders.append(_Trader(f"{name}, {kind}", partial(_same, control), fingerprint, "", until, changes=False))
    return [[_trade(trader, bars, *span, job) for span in job.split.tests] for trader in traders]


def _same(control: Strategy, bars: Bars) -> Strategy:
    """What a control adapts to: itself."""
    return control


def _fingerprint(meta: Any) -> str | None:
    """The digest of what a learner returned; None if its content cannot be told."""
    try:
        return digest(meta)
    except TypeError:
        return None


@dataclass(frozen=True)
class _Trader:
    """What is asked for a strategy at each adaptation, and what is said of it."""

    name: str
    adapt: Callable[[Bars], Strategy]
    fingerprint: str | None
    remark: str
    trained_until: pd.Timestamp | None
    once: bool = False  # whether it plans the whole stretch at once
    changes: bool = True  # whether adapting may change it

    @classmethod
    def of(cls, strategy: Adaptive, bars: Bars) -> _Trader:
        once = isinstance(strategy, Strategy) and not strategy.adapts
        seen = getattr(strategy, "seen_until", None)
        until = None if seen is None else moment(f"{strategy.name}: seen_until", seen, bars.index.tz)
        fingerprint, remark = getattr(strategy, "fingerprint", None), getattr(strategy, "remark", "")
        return cls(strategy.name, strategy.adapt, fingerprint, remark, until, once, not once)


def _trade(trader: _Trader, bars: Bars, first: int, last: int, job: Job) -> Piece:
    """Adapt every so many bars to the bars so far, and plan the next ones."""
    starts = range(first, last, last - first if trader.once else job.every)
    checked = job.guard.pieces(len(starts)) if job.guard else set()
    plans: list[Plan] = []
    events: list[Event] = []
    former: Strategy | None = None
    for k, start in enumerate(starts):
        adapted = trader.adapt(bars.rows(bars.past, start + 1))
        if len(bars) + bars.past <= adapted.warmup:
            raise InputError(
                f"{adapted.name} needs {adapted.warmup} bars to warm up, but {bars.name} has {len(bars) + bars.past}; "
                "use more bars or a shorter window"
            )
        stretch = bars.rows(start, min(start + starts.step, last))
        plan = planned(adapted, stretch)
        if job.guard and k in checked:
            job.guard.check(adapted, stretch, plan, len(starts))
        if trader.changes:
            events.append(_event(former, adapted, stretch, plan, plans))
        former = adapted
        plans.append(plan)
    return Piece(
        trader.name, Plan.join(plans), tuple(events), trader.trained_until, events[-1].time if events else None,
        trader.fingerprint, trader.remark,
    )  # fmt: skip


def _event(former: Strategy | None, adapted: Strategy, stretch: Bars, plan: Plan, plans: Sequence[Plan]) -> Event:
    """What the adaptation at the first bar of `stretch` changed of what is wanted at that bar."""
    time, after = stretch.index[0], plan.aim[0]
    if former is None:
        return Event(time, "adapted")
    if former is adapted:  # it adapts in place, so what it would have wanted is gone; the bar before is the nearest
        return changed(time, "adapted", stretch.symbols, plans[-1].aim[-1], after)
    before = planned(former, stretch[:1]).aim[0]
    return changed(time, "adapted", stretch.symbols, before, after)


def changed(time: pd.Timestamp, kind: str, symbols: Sequence[str], before: np.ndarray, after: np.ndarray) -> Event:
    """The event that took the aim from `before` to `after`, both of shape (A,)."""
    difference = np.abs(after - before)
    most = int(difference.argmax())
    if not difference[most] > 0:
        return Event(time, kind, 0.0)
    return Event(time, kind, float(difference.sum()), symbols[most], float(before[most]), float(after[most]))


def _task_sets(tasks: Tasks, bars: Bars, split: Split) -> tuple[TaskSet, TaskSet]:
    """Training and validation tasks, from each isolated stretch by itself, as tasks of the same bars."""
    if not split.isolated:
        first, last = split.train[0]
        return tasks(bars.rows(first, last))
    pairs = []
    for first, last in split.train:
        try:
            pairs.append(tasks(bars.rows(first, last).without_past()))
        except InputError as error:
            short = error
    if not pairs:
        raise InputError(f"no stretch between the test folds is long enough to train on: {short}")
    if not all(isinstance(each, TaskSet) for pair in pairs for each in pair):
        raise InputError(
            "tasks across universes are of all bars up to a time, and would be cut from the test folds too; train across "
            "universes in a walk-forward, without a scheme"
        )
    # one source of bars, as a set of tasks has, without those between the stretches: what reads far back would see the tests
    trained = np.zeros(len(bars) + bars.past, dtype=bool)
    for first, last in split.train:
        trained[first:last] = True
    whole = bars.with_past().only(trained).without_empty()
    index = whole.index

    def together(sets: Sequence[TaskSet]) -> TaskSet:
        moved = []
        for task in (task for each in sets for task in each):
            start, cut, last = index.get_indexer(pd.DatetimeIndex(task.times)).tolist()
            moved.append(replace(task, bars=whole, start=start, cut=cut, stop=last + 1))
        return replace(sets[0], tasks=tuple(moved))

    return together([training for training, _ in pairs]), together([validation for _, validation in pairs])
