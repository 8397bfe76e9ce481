"""Tasks: stretches of bars, each with bars to adapt on and bars to be judged on.

They are cut from the stretches of one regime each, or from windows that roll over everything. Sets are split by time, with a
gap on either side of what validates (López de Prado, "Advances in financial machine learning", 2018, chapter 7: purge and
embargo), and by symbol too if wanted; never at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.regimes.base import RegimeDetector, RegimePath


@dataclass(frozen=True)
class Task:
    """One stretch of `bars`, rows ``start`` to ``stop`` (excluded), adapted on up to ``cut``.

    ``regime`` is what the stretch is called. The rows are positions in ``bars.with_past()``, so that a task keeps all that came
    before it as warm-up.
    """

    bars: Bars
    start: int
    cut: int
    stop: int
    regime: str

    @property
    def support(self) -> Bars:
        """The bars to adapt on; everything earlier is their history."""
        return self.bars.rows(self.start, self.cut)

    @property
    def query(self) -> Bars:
        """The bars to be judged on."""
        return self.bars.rows(self.cut, self.stop)

    @property
    def times(self) -> tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]:
        """Times of the first support bar, the first query bar and the last query bar."""
        index = self.bars.with_past().index
        return index[self.start], index[self.cut], index[self.stop - 1]


@dataclass(frozen=True)
class TaskSet:
    """Tasks in order of time, all from one `Bars`.

    Raises
    ------
    InputError
        When one is of other bars than the first.
    """

    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        for i, task in enumerate(self.tasks):
            if task.bars is not self.bars and task.bars.hash != self.bars.hash:
                raise InputError(
                    f"task {i} is of other bars ({task.bars.name}) than the first ({self.bars.name}); "
                    "a set has one source of bars"
                )

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, i: int) -> Task:
        return self.tasks[i]

    @property
    def bars(self) -> Bars:
        return self.tasks[0].bars

    @classmethod
    def from_regimes(
        cls,
        bars: Bars,
        regimes: RegimeDetector,
        *,
        support: int = 60,
        query: int = 60,
        shortest: int = 10,
        warmup: int = 253,
    ) -> TaskSet:
        """Cut every stretch that the detector's filter calls one regime into tasks.

        A stretch is cut so that each of its bars after the first support is a query bar once: with supports of
        `support` bars that overlap the query before. A stretch too short for that gives one task with half of it as
        support. Flickers shorter than `shortest` bars count to the stretch before them.

        Parameters
        ----------
        bars : Bars
        regimes : RegimeDetector
            Fitted.
        support, query : int
            Bars at most in each part.
        shortest : int
            Bars at least in each part.
        warmup : int
            Bars to leave out at the very beginning, where features are not known.

        Raises
        ------
        InputError
            When no stretch is long enough.
        """
        held = bars.with_past()
        path = regimes.filter(held)
        tasks: list[Task] = []
        for first, last, label in stretches(path, shortest):
            first = max(first, warmup, bars.past)
            name = path.names[label]
            if last - first >= support + shortest:
                for cut in range(first + support, last - shortest + 1, query):
                    # what is left of a stretch joins the last query rather than being dropped
                    stop = last if last - (cut + query) < shortest else cut + query
                    tasks.append(Task(bars, cut - support, cut, stop, name))
            elif last - first >= 2 * shortest:
                tasks.append(Task(bars, first, (first + last) // 2, last, name))
        if not tasks:
            raise InputError(
                f"{bars.name}: no regime lasts {2 * shortest} bars after a warm-up of {warmup}; give more bars or fewer regimes"
            )
        return cls(tuple(tasks))

    @classmethod
    def from_windows(
        cls, bars: Bars, *, support: int = 60, query: int = 60, step: int | None = None, warmup: int = 253
    ) -> TaskSet:
        """Windows that roll over the visible rows, whatever the regime.

        Parameters
        ----------
        bars : Bars
        support, query : int
            Bars in each part.
        step : int, optional
            Bars from one window to the next; by default `query`, so that no bar is a query twice.
        warmup : int
            Bars to leave out at the very beginning, where features are not known.

        Raises
        ------
        InputError
            When not even one window fits.
        """
        step = query if step is None else step
        if min(support, query, step) < 1:
            raise InputError(f"support, query and step are {support}, {query} and {step}; each is at least 1 bar")
        first, held = max(warmup, bars.past), bars.past + len(bars)
        starts = range(first, held - support - query + 1, step)
        if not starts:
            raise InputError(
                f"{bars.name}: {max(held - first, 0)} bars after a warm-up of {warmup} hold no window of {support} + {query}; "
                "give more bars or shorter windows"
            )
        return cls(tuple(Task(bars, s, s + support, s + support + query, "window") for s in starts))

    def split(
        self,
        validation: str | pd.Timestamp | tuple[str | pd.Timestamp, str | pd.Timestamp],
        *,
        purge: int = 5,
        embargo: int = 252,
        symbols: str | Sequence[str] | None = None,
    ) -> tuple[TaskSet, TaskSet]:
        """Split by time into (training, validation); tasks that lie across an edge are left out.

        Parameters
        ----------
        validation : str or Timestamp, or a pair of them
            Tasks from this time on validate. With a pair, those of that span (both ends included) do, and tasks after it train
            as well.
        purge : int
            Bars at least between the last training bar before the span and the span.
        embargo : int
            Bars at least between the span and the first training bar after it. What trains there has the span among its past:
            its features read as far back as their lookback, a memory as its context.
        symbols : str or sequence of str, optional
            Symbols that validate; the others train. By default all do both.

        Raises
        ------
        InputError
            When one side is left without tasks or without symbols.
        """
        if purge < 0 or embargo < 0:
            raise InputError(f"purge and embargo are {purge} and {embargo} bars; neither can be negative")
        since, until = validation if isinstance(validation, tuple) else (validation, None)
        held = self.bars.with_past()
        try:
            span = held.index.slice_indexer(since, until)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"split at {validation}: this is not a span of time; write times as 2008 or 2008-01-31"
            ) from error
        edge, end = span.start or 0, len(held) if span.stop is None else span.stop
        training = tuple(t for t in self.tasks if t.stop <= edge - purge or t.start >= end + embargo)
        held_out = tuple(t for t in self.tasks if t.start >= edge and t.stop <= end)
        if not training or not held_out:
            side = "training" if not training else "validation"
            raise InputError(
                f"split at {validation}: no {side} task is left; tasks run from {self[0].times[0]} to {self[-1].times[2]}: "
                "split elsewhere, or give more bars"
            )
        if symbols is None:
            return TaskSet(training), TaskSet(held_out)
        symbols = [symbols] if isinstance(symbols, str) else symbols
        others = [s for s in held.symbols if s not in symbols]
        if not others or not symbols:
            raise InputError(
                f"split by symbols: none is left to {'train' if symbols else 'validate'}; there are {', '.join(held.symbols)}"
            )
        return _selected(training, others), _selected(held_out, symbols)

    def table(self) -> pd.DataFrame:
        """Number of tasks and of support and query bars, a row a regime."""
        rows = [{"regime": t.regime, "support": t.cut - t.start, "query": t.stop - t.cut} for t in self.tasks]
        grouped = pd.DataFrame(rows).groupby("regime", sort=False)
        return grouped.agg(tasks=("query", "size"), support=("support", "sum"), query=("query", "sum"))


def _selected(tasks: tuple[Task, ...], symbols: Sequence[str]) -> TaskSet:
    """The same stretches of some symbols."""
    bars = tasks[0].bars.select(symbols)
    return TaskSet(tuple(replace(task, bars=bars) for task in tasks))


def stretches(path: RegimePath, shortest: int = 1) -> list[tuple[int, int, int]]:
    """Runs of one label as (first row, row after the last, label); short runs join the run before them."""
    labels = path.labels
    edges = np.flatnonzero(np.diff(labels)) + 1
    runs: list[tuple[int, int, int]] = []
    for first, last in zip(np.append(0, edges), np.append(edges, len(labels)), strict=True):
        label = int(labels[first])
        if runs and (last - first < shortest or runs[-1][2] == label):
            runs[-1] = (runs[-1][0], int(last), runs[-1][2])
        else:
            runs.append((int(first), int(last), label))
    return runs
