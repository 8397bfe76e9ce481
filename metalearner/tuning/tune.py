"""Tuning: search the settings of a learner for the best score on validation tasks.

The tree-structured Parzen estimator proposes settings (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS
2011; Optuna: Akiba et al., KDD 2019). A trial whose best validation so far is below the median of the others at the same step is
pruned. All trials have the same seed and tasks, so that they differ by their settings alone. Scores are those of the validation
tasks that select the weights: what tests the result, the tasks of the tilt's test and the test span, is never opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed
from optuna.trial import FrozenTrial, TrialState
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from markets import InputError
from markets.common.progress import visible
from markets.common.ranges import OneOf, Range
from markets.common.words import count
from metalearner.learners.base import MetaLearner
from metalearner.learners.settings import settings_of, with_settings
from metalearner.objectives.across import Across
from metalearner.tuning.journal import REASON, Journal, is_lost, quiet
from metalearner.tuning.space import Space, contains, space
from metalearner.tuning.trial import Work, run_trial
from strategies import Strategy

_ABOUT = "about"  # attribute of a study: what its trials have in common
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a study has found so far.

    Attributes
    ----------
    learner : MetaLearner
        With the best settings.
    settings : dict of str to object
        The best settings, of those that were searched.
    score : float
        Their mean score on the validation tasks that select the weights.
    best : int
        Number of that trial.
    table : DataFrame
        One row per trial that has ended, best first, indexed by its number: ``score``, of a pruned trial the last one;
        ``state`` (complete, pruned, failed, lost); ``steps`` trained; the settings; and ``reason`` why it failed.
    space : dict of str to Range or OneOf
    path : Path
        Of the study.
    starts_as_it_is : bool
        Whether trial 0 is the learner with its own settings.
    """

    learner: MetaLearner
    settings: dict[str, Any]
    score: float
    best: int
    table: pd.DataFrame
    space: Space
    path: Path
    starts_as_it_is: bool

    @property
    def trials(self) -> int:
        """Trials that gave a figure, for the deflated Sharpe ratio."""
        return int(self.table["state"].isin(("complete", "pruned")).sum())

    @property
    def finding(self) -> str:
        """What has been found, in a sentence."""
        states = self.table["state"].value_counts()
        others = ", ".join(f"{states[state]} {state}" for state in ("pruned", "failed", "lost") if state in states)
        as_it_is = self.best != 0 and self.starts_as_it_is and self.table["state"].get(0) == "complete"
        first = float(self.table["score"].get(0, float("nan")))
        before = f"; the learner as it is (trial 0) has {first:+.4g}" if as_it_is else ""
        return (
            f"Trial {self.best} is the best of {count(len(self.table), 'trial')}{f' ({others})' if others else ''}: "
            f"validation {self.score:+.4g}{before}."
        )


def tune(
    learner: MetaLearner,
    tasks: Any,
    validation: Any,
    *,
    trials: int = 20,
    study: str | Path = "study.log",
    search: Mapping[str, Range | OneOf | None] | None = None,
    jobs: int = 1,
    progress: bool = True,
    ended: Callable[[pd.DataFrame], None] | None = None,
) -> Tuned:
    """Search the settings of a learner for the best score on validation tasks.

    The study is a file. Whoever calls this with the same file, learner and tasks, from another process or machine or after a
    kill, joins it or goes on with it; a trial that was lost with its process is tried again once.

    Parameters
    ----------
    learner : MetaLearner
        As it is in all else. Its own settings are the first trial, if they lie in the search space.
    tasks, validation
        See `MetaLearner.fit`.
    trials : int
        How many the study is to have in all, with those of other processes; failed ones count, and lost ones do not.
    study : str or Path
        File of the study.
    search : dict of str to Range, OneOf or None, optional
        What to search; see `metalearner.tuning.space`.
    jobs : int
        Trials at a time, in processes of their own if it is not 1.
    progress : bool
        Whether to show a progress bar, on a terminal.
    ended : callable, optional
        Called with the table of trials whenever one has ended here.

    Returns
    -------
    Tuned

    Raises
    ------
    InputError
        When nothing can be searched, the file is no study or one of another learner or other tasks, or no trial gave a score.
    """
    if trials < 1:
        raise InputError(f"trials is {trials}; it must be at least 1")
    searched = space(learner, search)
    if not searched:
        raise InputError(f"{learner.name} has no setting whose range is stated; say what to search, and where")
    work = Work(Path(study).resolve(), learner, tasks, validation, searched, trials)
    journal = Journal(study)
    with quiet():
        _begin(journal, work, study)
        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("best {task.fields[best]}"), disable=not visible(progress),
        )  # fmt: skip
        with bar:
            row = bar.add_task("tuning", total=trials, completed=_ended(journal), best=_best(journal))

            def step(number: int, at: int) -> None:
                bar.update(row, description=f"trial {number}, step {at}")

            for _ in _trials(work, jobs, step):
                bar.update(row, completed=_ended(journal), best=_best(journal))
                if ended is not None:
                    ended(_table(journal))
    return _found(journal, work)


def _trials(work: Work, jobs: int, step: Callable[[int, int], None]) -> Iterator[int]:
    """Run trials until the study has all of its own; yields the number of each as it ends."""
    if jobs == 1:
        while (number := run_trial(work, step)) is not None:
            yield number
        return
    left = work.trials - len(Journal(work.path).begun())
    ran = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(run_trial)(work) for _ in range(left))
    yield from (number for number in ran if number is not None)


def _begin(journal: Journal, work: Work, given: str | Path) -> None:
    """Say in a new study what its trials have in common, and begin with the learner as it is; check that of an old one."""
    about = _about(work)
    with journal.lock:
        before = journal.study.user_attrs.get(_ABOUT)
        if before is None:
            journal.study.set_user_attr(_ABOUT, about)
            if _starts_as_it_is(work):
                journal.study.enqueue_trial(_current(work))
            return
    for name in about | before:
        if about.get(name) != before.get(name):
            raise InputError(
                f"{given!s}: a study with {name} {before.get(name)}, and here it is {about.get(name)}; "
                "go on with the same, or choose another file"
            )


def _current(work: Work) -> dict[str, Any]:
    """The learner's own values of what is searched."""
    return {name: settings_of(work.learner)[name].value for name in work.space}


def _starts_as_it_is(work: Work) -> bool:
    return all(contains(work.space[name], value) for name, value in _current(work).items())


def _about(work: Work) -> dict[str, str]:
    """What all trials of a study have in common, in words that can be compared."""
    learner, space = work.learner, work.space
    settings = {name: setting.value for name, setting in settings_of(learner).items() if name not in space}
    shared = {
        name: _words(value) for name, value in settings.items() if not name.startswith(("training.device", "name"))
    }
    data = [_identity(each) for each in (work.tasks, work.validation)]
    return {
        "learner": type(learner).__name__,
        **{f"a search of {name} in": str(found) for name, found in space.items()},
        **shared,
        "tasks of fingerprint": hashlib.sha256(json.dumps(data).encode()).hexdigest()[:12],
    }


def _words(value: Any) -> str:
    """A setting in words that are the same in every process: strategies by their names."""
    if isinstance(value, tuple) and any(isinstance(each, Strategy) for each in value):
        return ", ".join(each.name for each in value)
    return str(value)


def _identity(tasks: Any) -> str:
    """What tells tasks from others; of environments their maker's name."""
    if isinstance(tasks, Across):
        return " ".join(_identity(each.tasks) for each in tasks.universes)
    if hasattr(tasks, "bars"):
        return f"{tasks.bars.hash} {[(task.start, task.cut, task.stop) for task in tasks]}"
    return getattr(tasks, "__qualname__", type(tasks).__name__)


def _ended(journal: Journal) -> int:
    return sum(trial.state.is_finished() for trial in journal.begun())


def _complete(journal: Journal) -> list[FrozenTrial]:
    return journal.study.get_trials(states=(TrialState.COMPLETE,))


def _best(journal: Journal) -> str:
    return max((f"{t.value:+.4g}" for t in _complete(journal)), key=float, default="...")


def _table(journal: Journal) -> pd.DataFrame:
    """See `Tuned.table`."""
    rows = {}
    for trial in journal.study.get_trials():
        if not trial.state.is_finished():
            continue
        curve = trial.intermediate_values
        last = max(curve, default=0)
        rows[trial.number] = {
            "score": trial.value if trial.state == TrialState.COMPLETE else curve.get(last, float("nan")),
            "state": "lost" if is_lost(trial) else _STATES[trial.state],
            "steps": last,
            **trial.params,
            "reason": trial.user_attrs.get(REASON, ""),
        }
    # as objects, so that whole numbers stay whole where a trial was lost before it had all settings
    frame = pd.DataFrame.from_dict(rows, orient="index", dtype=object).rename_axis("trial")
    frame = frame.astype({"score": float, "steps": int})
    order = {"complete": 0, "pruned": 1, "failed": 2, "lost": 3}
    return frame.sort_values(
        ["state", "score"], ascending=[True, False], key=lambda c: c.map(order) if c.name == "state" else c
    )


def _found(journal: Journal, work: Work) -> Tuned:
    complete = _complete(journal)
    if not complete:
        failed = [t.user_attrs[REASON] for t in journal.begun() if REASON in t.user_attrs]
        why = f"the last one said: {failed[-1]}" if failed else "those that are running may be in other processes"
        raise InputError(f"{work.path.name}: no trial has a score yet; {why}")
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    return Tuned(
        with_settings(work.learner, best.params), dict(best.params), float(best.value), best.number,
        _table(journal), work.space, work.path, _starts_as_it_is(work),
    )  # fmt: skip
