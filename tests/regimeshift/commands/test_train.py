"""Training on a disk that fills up, and on rows on which nothing trades."""

import errno
import os

import numpy as np
import pandas as pd
import pytest
import samples
from command import call, refused
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError

from backtests import tracking
from markets import InputError, TaskSet
from markets.synthetic import Perturbation
from metalearner import CVaR, load_meta
from metalearner.training import checkpoints
from regimeshift import steps
from strategies import serialization

FULL = {
    "the model": (serialization, "write_tensors", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    "a checkpoint": (checkpoints, "save_file", SafetensorError("I/O error: No space left on device (os error 28)")),
    "the database": (
        tracking,
        "connect",
        MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: ...]"),
    ),
}


@pytest.mark.parametrize("what", FULL)
def test_regression_a_full_disk_is_one_line(what, tmp_path, monkeypatch):
    bars = samples.regime_bars(1500, 2, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(tmp_path / "my.csv")
    module, name, error = FULL[what]

    def full(*args, **options):
        raise error

    monkeypatch.setattr(module, name, full)
    done = call("train", "my.csv", "--steps", "2", "--out", "m", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("regimeshift: ")
    assert "No space left on device" in last or "the disk is full" in last
    assert not (tmp_path / "m" / "meta.json").exists()


def test_regression_rows_on_which_nothing_trades_change_no_training(tmp_path, monkeypatch):
    """643 sessions trained; the same on 900 calendar days stopped at "no training task is left"."""
    rng, index = np.random.default_rng(0), pd.date_range("2020-01-01", periods=900, name="date")
    size = np.where((np.arange(900) // 60) % 2, 0.02, 0.006)[:, None]
    days = pd.DataFrame(100 * np.exp((rng.normal(size=(900, 3)) * size).cumsum(axis=0)), index, list("ABC"))
    days[index.day_of_week >= 5] = np.nan
    given = []

    def train(learner, tasks, validation, *args, **options):
        given.append((learner, tasks.bars.span_hash, tasks.table().to_dict(), validation.table().to_dict()))
        raise InputError("enough is known")

    monkeypatch.setattr(steps, "train", train)
    for name, frame in {"days": days, "sessions": days.dropna()}.items():
        frame.to_csv(tmp_path / f"{name}.csv")
        assert "enough is known" in call("train", f"{name}.csv", cwd=tmp_path).stderr
    assert given[0] == given[1]


def written(folder):
    bars = samples.regime_bars(900, 2, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(folder / "my.csv")


def test_it_trains_for_the_worst_of_perturbed_markets(tmp_path, monkeypatch):
    """The same command gives the same model; validation stays as the data are."""
    written(tmp_path)
    given, before = [], steps.train

    def train(learner, tasks, validation, *args, **options):
        given.append((learner, tasks, validation, before(learner, tasks, validation, *args, **options)))
        return given[-1][-1]

    monkeypatch.setattr(steps, "train", train)
    words = ["train", "my.csv", "--steps", "2", "--lookback", "30", "--n-regimes", "1", "--copies", "2"]
    for k in range(2):
        more = ["--uncertainty", "costs=3, shift=0.1", "--worst-case", "cvar:0.5", "--out", f"m{k}"]
        done = call(*words, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    learner, tasks, validation, meta = given[0]
    assert learner.objective.worst_case == CVaR(0.5)
    assert (tasks.copies, len(tasks.universes)) == (2, 2)
    assert tasks.universes[1].market == Perturbation(0.1, 1.0, 3.0)
    assert isinstance(validation, TaskSet)
    assert load_meta(tmp_path / "m0").objective.worst_case == CVaR(0.5)
    assert meta.fingerprint == given[1][-1].fingerprint


def test_options_of_the_worst_case_are_checked(tmp_path):
    written(tmp_path)
    words = ("train", "my.csv", "--lookback", "30")
    for more, message in (
        (("--uncertainty", "drift=1"), "--uncertainty: 'drift=1': write any of shift, volatility, costs"),
        (("--uncertainty", "costs=2", "--copies", "1"), "--copies 1: the first is the data as they are"),
        (("--worst-case", "minimax"), "--worst-case: 'minimax': write cvar:0.2"),
        (("--worst-case", "cvar:2"), "--worst-case: worst case: level is 2"),
        (("--worst-case", "cvar:0.5", "--learner", "scratch"), "--worst-case: scratch is not trained on past regimes"),
        (("--worst-case", "cvar:0.5", "--n-regimes", "1", "--steps", "1"), "there is no worst one"),
    ):
        refused(call(*words, *more, cwd=tmp_path), message)
