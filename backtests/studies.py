"""The MLflow run of a study that tunes a learner: one for all processes that share the study, with a child run per trial.

A trial is logged once it has ended, and whoever logs looks for trials that nobody has logged, so that none is missing after a
kill. Those that gave a score count as trials on their data (`backtests.tracking.count_trials`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from backtests import tracking
from markets import Bars

if TYPE_CHECKING:
    import mlflow

_STUDY = "study"  # tag of a study's run: which study
_TRIAL = "trial"  # tag of a trial's run: its number
_UNLOGGED = "lost"  # state of trials that are tried again


@contextlib.contextmanager
def study_run(
    study: str, lock: AbstractContextManager, name: str, /, root: str | Path = tracking.ROOT, **parameters: Any
) -> Iterator[mlflow.ActiveRun]:
    """Context manager of a study's run, which is made if the store has none.

    Parameters
    ----------
    study : str
        What tells it from other studies.
    lock : context manager
        Under which processes that share it make the run.
    name, root, parameters
        See `backtests.tracking.run`.
    """
    import mlflow

    with tracking.connected_to(root) as address:
        client, experiment = mlflow.MlflowClient(), tracking.experiment_id(address)
        with lock:
            found = client.search_runs([experiment], f"tags.{_STUDY} = '{study}'")
            if not found:
                with tracking.run(name, root, **parameters) as made_here:
                    mlflow.set_tag(_STUDY, study)
        number = found[0].info.run_id if found else made_here.info.run_id
        with mlflow.start_run(run_id=number, nested=mlflow.active_run() is not None) as active:
            yield active


def log_study(
    bars: Bars,
    table: pd.DataFrame,
    settings: Mapping[Any, Mapping[str, Any]],
    config: Callable[[Mapping[str, Any]], str],
) -> None:
    """Log the trials of a study that have no run yet, as children of the active run. It is called under the study's lock.

    Parameters
    ----------
    bars : Bars
        What they were tried on.
    table : DataFrame
        Indexed by the trials' numbers, with columns ``score``, ``state`` and ``reason``.
    settings : dict of int to dict
        The settings of each trial.
    config : callable
        The whole configuration in words, from a trial's settings. The same one again is no new trial.
    """
    import mlflow

    run = mlflow.active_run()
    assert run is not None
    children = mlflow.MlflowClient().search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'", max_results=50_000
    )
    logged = {child.data.tags.get(_TRIAL) for child in children}
    for number, row in table.sort_index().iterrows():
        if str(number) in logged or row["state"] == _UNLOGGED:
            continue
        fingerprint = hashlib.sha256(config(settings[number]).encode()).hexdigest()
        with tracking.child(
            f"trial {number}", row["reason"], **settings[number], data=bars.name, fingerprint=fingerprint
        ):
            mlflow.set_tags({_TRIAL: str(number), "state": row["state"]})
            tracking.log_metrics({"validation": row["score"]})
            if row["state"] != "failed":
                tracking.count_as_trial(bars)
