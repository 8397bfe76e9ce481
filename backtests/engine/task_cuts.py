"""How the bars known at a fold become the tasks that a learner is trained and validated on: a callable with settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import pandas as pd

from backtests.engine.folds import period
from markets import Bars, HiddenMarkovRegimes, InputError, RegimeDetector, TaskSet


@dataclass(frozen=True)
class WindowTasks:
    """Rolling windows, of which the last are for validation; see `TaskSet.from_windows` and `TaskSet.split`.

    Attributes
    ----------
    support, query : int
        Bars of each part.
    warmup : int or None
        Own bars that some symbol must have had before the first task; by default as many as the default features read.
    validation : float or str
        Validation at the end of the known bars: a share of them, or a time such as ``"3Y"``.
    purge : int
        Bars between training and validation.
    step : int or None
        Bars from one window to the next; by default `query`. With fewer, windows overlap, and there are more of them.
    """

    support: int = 60
    query: int = 60
    warmup: int | None = None
    validation: float | str = 0.25
    purge: int = 5
    step: int | None = None

    def __call__(self, known: Bars) -> tuple[TaskSet, TaskSet]:
        """The (training, validation) tasks of `known`.

        Raises
        ------
        InputError
            When there are too few bars for either.
        """
        tasks = TaskSet.from_windows(known, support=self.support, query=self.query, step=self.step, warmup=self.warmup)
        return tasks.split(validation_start(known, self.validation), purge=self.purge, embargo=0)


@dataclass(frozen=True)
class RegimeTasks:
    """Stretches of one regime, by a detector that is fitted on the bars before validation; see `TaskSet.from_regimes`.

    Attributes
    ----------
    regimes : RegimeDetector
        Not fitted.
    support, query, shortest : int
        Bars of each part, and the fewest.
    warmup, validation, purge
        As for `WindowTasks`.
    """

    regimes: RegimeDetector = field(default_factory=lambda: HiddenMarkovRegimes(3))
    support: int = 60
    query: int = 60
    shortest: int = 10
    warmup: int | None = None
    validation: float | str = 0.25
    purge: int = 5

    def __call__(self, known: Bars) -> tuple[TaskSet, TaskSet]:
        """The (training, validation) tasks of `known`.

        Raises
        ------
        InputError
            When there are too few bars for either.
        """
        since = validation_start(known, self.validation)
        fitted = copy.deepcopy(self.regimes).fit(known[: known.index.searchsorted(since)])
        tasks = TaskSet.from_regimes(
            known, fitted, support=self.support, query=self.query, shortest=self.shortest, warmup=self.warmup
        )
        return tasks.split(since, purge=self.purge, embargo=0)


def validation_start(known: Bars, validation: float | str) -> pd.Timestamp:
    """First bar of the validation span at the end of `known`.

    Raises
    ------
    InputError
        When `validation` is neither a share nor a time, or nothing is before it.
    """
    index = known.index
    if isinstance(validation, str):
        row = int(index.searchsorted(index[-1] - period(validation, "validation")[0], side="right"))
    elif 0 < validation < 1:
        row = int(len(index) * (1 - validation))
    else:
        raise InputError(f"validation is {validation}; it must be a share between 0 and 1, or a time such as '3Y'")
    if not 0 < row < len(index):
        raise InputError(f"{known.name}: validation on the last {validation} leaves no bars to train on before it")
    return index[row]
