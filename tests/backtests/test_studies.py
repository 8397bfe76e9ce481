"""The run of a study: one for all who share it, a child per trial, whose number the deflated Sharpe ratio counts."""

import contextlib

import mlflow
import numpy as np
import pandas as pd
import pytest

from backtests import studies, tracking, walk_forward
from strategies import BuyAndHold

TABLE = pd.DataFrame(
    {
        "score": [0.1, 0.3, np.nan, np.nan, 0.2],
        "state": ["complete", "complete", "failed", "lost", "pruned"],
        "reason": ["", "", "too slow", "", ""],
    }
)
SETTINGS = {k: {"training.learning_rate": 10.0**-k} for k in range(5)}


@pytest.fixture
def log(bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def log(study, rows):
        with studies.study_run(study, contextlib.nullcontext(), "tune", command="tune", seed=3) as active:
            studies.log_study(bars, TABLE.iloc[rows], SETTINGS, repr)
        return active.info.run_id

    return log


def test_trials_are_logged_once_whoever_logs_them_and_counted(log, bars):
    first = log("a", [0, 1])
    assert log("a", [0, 1, 2, 3, 4]) == first, "a second process goes on with the same run"
    other = log("b", [1])
    assert other != first
    address = tracking.connect()
    client, experiment = mlflow.MlflowClient(address), tracking.experiment_id(address)
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{first}'")
    found = {int(run.data.tags["trial"]): run for run in runs}
    assert sorted(found) == [0, 1, 2, 4], "a lost trial is tried again under another number"
    assert len(runs) == 4
    assert found[1].data.metrics == {"validation": 0.3}
    assert found[1].data.params["training.learning_rate"] == "0.1"
    assert {k: run.data.tags["state"] for k, run in found.items()} == {
        0: "complete", 1: "complete", 2: "failed", 4: "pruned"
    }  # fmt: skip
    assert found[2].data.tags[tracking.NOTE] == "too slow"
    assert client.get_run(first).data.params == {"command": "tune", "seed": "3"}
    result = walk_forward([BuyAndHold()], bars[1300:], progress=False)
    assert tracking.count_trials(result).count == 1 + 3, "the backtest, and three that gave a score; one of them twice"
