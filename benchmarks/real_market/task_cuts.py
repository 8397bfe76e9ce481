"""How the bars known at a fold become tasks: windows, with the last years for validation; or long ones that overlap."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from backtests.engine.folds import period
from backtests.engine.task_cuts import validation_start
from markets import Bars, InputError, TaskSet

_PURGE = 5  # bars between training and validation


@dataclass(frozen=True)
class RecentTasks:
    """Rolling windows; validation is the last `validation` of the known bars, or `at_most` of them if that is less.

    Years suit a long history, of which the last part is most like what comes; of a short one they would leave nothing to train
    on.

    Attributes
    ----------
    support, query : int
        Bars of each part of a window.
    warmup : int
        Bars that some symbol must have had before the first window.
    validation : str
        Time, such as ``"3Y"``.
    at_most : float
        Largest share of the known bars.
    """

    support: int = 126
    query: int = 63
    warmup: int = 316
    validation: str = "3Y"
    at_most: float = 0.35

    @property
    def fewest(self) -> int:
        """Known bars that are enough for a window of training and one of validation, wherever windows begin."""
        window = self.support + 2 * self.query
        return max(ceil(window / self.at_most), ceil((self.warmup + window + _PURGE) / (1 - self.at_most))) + 1

    def __call__(self, known: Bars) -> tuple[TaskSet, TaskSet]:
        """The (training, validation) tasks of `known`.

        Raises
        ------
        InputError
            When there are too few bars for either.
        """
        tasks = TaskSet.from_windows(known, support=self.support, query=self.query, warmup=self.warmup)
        since = max(validation_start(known, self.at_most), known.index[-1] - period(self.validation, "validation")[0])
        return tasks.split(since, purge=_PURGE, embargo=0)


@dataclass(frozen=True)
class LongTasks:
    """Windows about as long as a fold, which overlap, so that a control with frozen estimates is trained on estimates as old as
    those that it will trade with.

    For learners that select nothing on validation: the last window stands for it, and they train on it too
    (`metalearner.Training.on_validation`).

    Attributes
    ----------
    query : int
        Bars of a window, or a seventh of the known bars if that is less.
    step : int
        Bars from one window to the next.
    warmup : int
        Bars that some symbol must have had before the first window.
    """

    query: int = 504
    step: int = 63
    warmup: int = 316

    def __call__(self, known: Bars) -> tuple[TaskSet, TaskSet]:
        """The (training, validation) tasks of `known`.

        Raises
        ------
        InputError
            When there are too few bars for two windows.
        """
        query = min(self.query, len(known.with_past()) // 7)
        every = TaskSet.from_windows(known, support=1, query=query, step=min(self.step, query), warmup=self.warmup)
        if len(every) < 2:
            raise InputError(f"{known.name}: {len(known)} bars are too few for two windows of {query} bars to train on")
        return TaskSet(every.tasks[:-1]), TaskSet(every.tasks[-1:])
