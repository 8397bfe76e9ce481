"""One trial of a study: ask for settings, train with them, tell the score; and prune it where others were better by then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from markets import InputError
from markets.common.ranges import OneOf, Range
from metalearner.learners.base import MetaLearner
from metalearner.learners.settings import settings_of, with_settings
from metalearner.tuning.journal import REASON, Journal, quiet
from metalearner.tuning.space import Space

_STARTUP = 5  # trials before any is pruned


@dataclass(frozen=True)
class Work:
    """What each trial of a study needs; processes are handed it.

    Attributes
    ----------
    path : Path
        Of the study.
    learner : MetaLearner
    tasks, validation
        See `MetaLearner.fit`.
    space : dict of str to Range or OneOf
    trials : int
        How many the study is to have.
    """

    path: Path
    learner: MetaLearner
    tasks: Any
    validation: Any
    space: Space
    trials: int


def run_trial(work: Work, step: Callable[[int, int], None] | None = None) -> int | None:
    """Run the next trial of a study.

    If the process is killed or interrupted, the trial stays as a running one whose lock is free, and the next process that asks
    has it tried again.

    Parameters
    ----------
    work : Work
    step : callable, optional
        Called with the trial's number and the training step at each validation.

    Returns
    -------
    int or None
        Its number; None if the study has all its trials, some of which may be running elsewhere.
    """
    journal = Journal(work.path)
    study, learner = journal.study, work.learner
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=learner.training.steps // 4)
    with quiet(), contextlib.ExitStack() as alive:
        with journal.lock:
            journal.bury()
            if len(journal.begun()) >= work.trials:
                return None
            study.sampler = _sampler(learner.training.seed, len(study.get_trials()))
            trial = study.ask(distributions(learner, work.space))
            alive.enter_context(journal.running(trial.number))

        def report(metrics: dict[str, float], at: int) -> None:
            trial.report(metrics["validation"], at)
            if step is not None:
                step(trial.number, at)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            tried = with_settings(learner, trial.params)
            value: float | None = tried.validate(work.tasks, work.validation, log=report, progress=False)
            state = TrialState.COMPLETE
        except optuna.TrialPruned:
            value, state = None, TrialState.PRUNED
        except (
            InputError,
            FloatingPointError,
        ) as error:  # settings that do not fit together, or a rate that is too large
            trial.set_user_attr(REASON, str(error))
            value, state = None, TrialState.FAIL
        with journal.lock:
            study.tell(trial, value, state)
    return trial.number


def distributions(learner: MetaLearner, space: Space) -> dict[str, BaseDistribution]:
    """A search space as Optuna has it."""
    known = settings_of(learner)

    def distribution(name: str, found: Range | OneOf) -> BaseDistribution:
        if isinstance(found, OneOf):
            return CategoricalDistribution(found.values)
        if isinstance(known[name].value, int):
            return IntDistribution(int(found.low), int(found.high), log=found.log)
        return FloatDistribution(found.low, found.high, log=found.log)

    return {name: distribution(name, found) for name, found in space.items()}


def _sampler(seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for the trial of this number: what it draws depends on nothing but that and the trials before.

    So a study that was interrupted goes on as it would have, and processes that share one do not draw alike.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1)
    return optuna.samplers.TPESampler(seed=int(state[0]))
