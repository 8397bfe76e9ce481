"""Training on a disk that fills up."""

import errno
import os

import pandas as pd
import pytest
import samples
from command import call
from mlflow.exceptions import MlflowException
from safetensors import SafetensorError

from backtests import tracking
from metalearner.training import checkpoints
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
