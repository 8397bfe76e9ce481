"""Training on a disk that fills up, and on rows on which nothing trades."""

import errno
import os

import numpy as np
import pandas as pd
import pytest
import samples
from command import call
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError

from backtests import tracking
from markets import InputError
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
