"""Tasks: stretches of bars, each with support bars to adapt on and query bars to be evaluated on.

Tasks are cut from stretches of a single regime, or from rolling windows, without rows on which no symbol has a close. Sets of
tasks are split by time, with gaps around the validation span (purging and embargo: López de Prado, "Advances in financial machine
learning", 2018, chapter 7), and optionally by symbol; never at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.bars.time_spans import Span
from markets.common.errors import InputError
from markets.features.composition import Features
from markets.regimes.base import RegimeDetector, RegimePath


@dataclass(frozen=True)
class Task:
    """One stretch of bars: the support to adapt on, then the query to be evaluated on.

    Rows are positions in ``bars.with_past()``, so that all earlier bars are available as warm-up.

    Attributes
    ----------
    bars : Bars
    start, cut, stop : int
        The support is rows ``start`` to ``cut``, the query rows ``cut`` to ``stop``; ends are excluded.
    regime : str
        Name of the regime of the stretch.
    """

    bars: Bars
    start: int
    cut: int
    stop: int
    regime: str

    @property
    def support(self) -> Bars:
        """The bars to adapt on; all earlier bars are their history."""
        return self.bars.rows(self.start, self.cut)

    @property
    def query(self) -> Bars:
        """The bars to be evaluated on; all earlier bars are their history."""
        return self.bars.rows(self.cut, self.stop)

    @property
    def times(self) -> tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp]:
        """Times of the first support bar, the first query bar and the last query bar."""
        index = self.bars.with_past().index
        return index[self.start], index[self.cut], index[self.stop - 1]


@dataclass(frozen=True, repr=False)
class TaskSet:
    """Tasks in order of time, all from the same `Bars`.

    Attributes
    ----------
    tasks : tuple of Task
    lookback : int
        Own bars of a symbol that the features of these tasks read before a row.

    Raises
    ------
    InputError
        When the tasks are from different bars.
    """

    tasks: tuple[Task, ...]
    lookback: int = Features().lookback

    def __post_init__(self) -> None:
        for i, task in enumerate(self.tasks):
            if task.bars is not self.bars and (task.bars.hash, task.bars.past) != (self.bars.hash, self.bars.past):
                raise InputError(
                    f"task {i} has other bars ({task.bars.name}) than the first task ({self.bars.name}); "
                    "a set has one source of bars"
                )

    def __repr__(self) -> str:
        if not self.tasks:
            return "TaskSet(no tasks)"
        first, last = self[0].times[0], self[-1].times[2]
        return f"TaskSet({len(self)} tasks of {self.bars.name}, {first} to {last})"

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
        features: Features | None = None,
        warmup: int | None = None,
    ) -> TaskSet:
        """Cut the stretches of each regime, as labelled by the detector's filter, into tasks.

        A long stretch is cut so that every bar after the first support is a query bar exactly once; a later support overlaps
        the preceding query. A stretch that is too short for that gives one task with half of it as support. Runs of a label
        shorter than `shortest` bars are merged into the preceding stretch.

        Parameters
        ----------
        bars : Bars
        regimes : RegimeDetector
            A fitted detector.
        support, query : int
            Number of bars of each part. The last query of a stretch also takes a remainder shorter than `shortest`.
        shortest : int
            Minimum number of bars of each part.
        features : Features, optional
            What will read the tasks; by default ``Features()``. Tasks begin after its lookback.
        warmup : int, optional
            Own bars that some symbol must have had before the first task; by default one more than the features' lookback.

        Returns
        -------
        TaskSet

        Raises
        ------
        InputError
            When no stretch is long enough.
        """
        bars = bars.without_empty()
        held, warmup = bars.with_past(), _warmup(features, warmup)
        path, warm = regimes.filter(held), held.warm_from(warmup)
        tasks: list[Task] = []
        for first, last, label in stretches(path, shortest):
            first = max(first, warm, bars.past)
            name = path.names[label]
            if last - first >= support + shortest:
                for cut in range(first + support, last - shortest + 1, query):
                    # a short remainder of the stretch is added to the last query instead of being dropped
                    stop = last if last - (cut + query) < shortest else cut + query
                    tasks.append(Task(bars, cut - support, cut, stop, name))
            elif last - first >= 2 * shortest:
                tasks.append(Task(bars, first, (first + last) // 2, last, name))
        if not tasks:
            raise InputError(
                f"{bars.name}: no regime lasts {2 * shortest} bars after a warm-up of {warmup}; give more bars or fewer regimes"
            )
        return cls(tuple(tasks), max(warmup - 1, 0))

    @classmethod
    def from_windows(
        cls,
        bars: Bars,
        *,
        support: int = 60,
        query: int = 60,
        step: int | None = None,
        features: Features | None = None,
        warmup: int | None = None,
    ) -> TaskSet:
        """Cut rolling windows from the visible rows, regardless of regimes.

        Parameters
        ----------
        bars : Bars
        support, query : int
            Number of bars of each part.
        step : int, optional
            Bars from one window to the next; by default `query`, so that queries do not overlap.
        features : Features, optional
            What will read the tasks; by default ``Features()``. Tasks begin after its lookback.
        warmup : int, optional
            Own bars that some symbol must have had before the first task; by default one more than the features' lookback.

        Returns
        -------
        TaskSet

        Raises
        ------
        InputError
            When no window fits, or a length is below 1.
        """
        step = query if step is None else step
        if min(support, query, step) < 1:
            raise InputError(f"support, query and step are {support}, {query} and {step}; each must be at least 1 bar")
        bars, warmup = bars.without_empty(), _warmup(features, warmup)
        first, held = max(bars.warm_from(warmup), bars.past), bars.past + len(bars)
        starts = range(first, held - support - query + 1, step)
        if not starts:
            raise InputError(
                f"{bars.name}: {max(held - first, 0)} bars after a warm-up of {warmup} hold no window of {support} + {query}; "
                "give more bars or shorter windows"
            )
        tasks = tuple(Task(bars, s, s + support, s + support + query, "window") for s in starts)
        return cls(tasks, max(warmup - 1, 0))

    def split(
        self,
        validation: str | pd.Timestamp | tuple[str | pd.Timestamp, str | pd.Timestamp],
        *,
        purge: int = 5,
        embargo: int | None = None,
        symbols: str | Sequence[str] | None = None,
    ) -> tuple[TaskSet, TaskSet]:
        """Split by time into (training, validation); tasks across a boundary are dropped.

        Parameters
        ----------
        validation : str or Timestamp, or a pair of them
            Start of the validation span, which then lasts to the end; or its start and end, both included. With a pair,
            tasks after the span are training tasks too.
        purge : int
            Minimum number of bars between the last training bar before the validation span and the span.
        embargo : int, optional
            Minimum number of bars between the validation span and the first training bar after it. Later training tasks
            have the span in their past: features read it up to their lookback, which is the default, memories up to their
            context.
        symbols : str or sequence of str, optional
            Symbols used for validation only; all others are used for training only. By default all symbols are used for
            both.

        Returns
        -------
        training, validation : TaskSet

        Raises
        ------
        InputError
            When training or validation has no tasks or no symbols.
        """
        embargo = self.lookback if embargo is None else embargo
        if purge < 0 or embargo < 0:
            raise InputError(f"purge and embargo are {purge} and {embargo} bars; neither can be negative")
        since, until = validation if isinstance(validation, tuple) else (validation, None)
        held = self.bars.with_past()
        try:
            rows = Span.of(since, until).rows(held.index)
        except InputError as error:
            raise InputError(f"split at {validation}: {error}") from None
        edge, end = rows.start, rows.stop
        training = tuple(t for t in self.tasks if t.stop <= edge - purge or t.start >= end + embargo)
        held_out = tuple(t for t in self.tasks if t.start >= edge and t.stop <= end)
        if not training or not held_out:
            side = "training" if not training else "validation"
            raise InputError(
                f"split at {validation}: no {side} task is left; tasks run from {self[0].times[0]} to {self[-1].times[2]}: "
                "split at another time, or give more bars"
            )
        if symbols is None:
            return replace(self, tasks=training), replace(self, tasks=held_out)
        symbols = [symbols] if isinstance(symbols, str) else symbols
        others = [s for s in held.symbols if s not in symbols]
        if not others or not symbols:
            raise InputError(
                f"split by symbols: none is left to {'train' if symbols else 'validate'}; there are {', '.join(held.symbols)}"
            )
        return self._selected(training, others), self._selected(held_out, symbols)

    def _selected(self, tasks: tuple[Task, ...], symbols: Sequence[str]) -> TaskSet:
        """Some of the tasks on some of the symbols."""
        bars = self.bars.select(symbols)
        return replace(self, tasks=tuple(replace(task, bars=bars) for task in tasks))

    def table(self) -> pd.DataFrame:
        """Number of tasks, support bars and query bars, one row per regime."""
        rows = [{"regime": t.regime, "support": t.cut - t.start, "query": t.stop - t.cut} for t in self.tasks]
        grouped = pd.DataFrame(rows).groupby("regime", sort=False)
        return grouped.agg(tasks=("query", "size"), support=("support", "sum"), query=("query", "sum"))


def _warmup(features: Features | None, warmup: int | None) -> int:
    """Own bars before the first task, for the features or as given."""
    if warmup is None:
        return (features or Features()).lookback + 1
    if warmup < 0:
        raise InputError(f"warmup is {warmup} bars; it cannot be negative")
    return warmup


def stretches(path: RegimePath, shortest: int = 1) -> list[tuple[int, int, int]]:
    """Runs of one label as (first row, row after the last, label); runs below `shortest` bars join the preceding run."""
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
