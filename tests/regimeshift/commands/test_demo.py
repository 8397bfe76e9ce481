"""The demo, whole: on the user's CSV and Parquet files, and twice with one seed."""

import mlflow
import pandas as pd
import pytest
from command import call

from markets import load


def demo(folder, *words):
    folder.mkdir(exist_ok=True)
    done = call("demo", "--steps", "6", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "champion" in done.stdout
    assert (folder / "report.html").stat().st_size > 1e6
    return done.stdout


@pytest.fixture(scope="module")
def two_symbols(tmp_path_factory):
    stocks = load("stocks")
    path = tmp_path_factory.mktemp("data") / "two.parquet"
    pd.DataFrame(stocks.close[:, :2], index=stocks.index, columns=list(stocks.symbols[:2])).to_parquet(path)
    return path


def outcome(folder):
    weights = [(folder / "models" / f"two-{kind}" / "weights.safetensors").read_bytes() for kind in ("rl2", "finetune")]
    runs = mlflow.MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db").search_runs(["1"])
    metrics = {run.info.run_name: run.data.metrics for run in runs}
    return weights, metrics, (folder / "report.html").read_bytes()


@pytest.mark.process
def test_a_seed_gives_the_same_weights_metrics_and_report(two_symbols, tmp_path):
    for name in "ab":
        demo(tmp_path / name, "--data", two_symbols, "--seed", 1)
    a, b = (outcome(tmp_path / name) for name in "ab")
    assert a == b
    assert "validation" in a[1]["train rl2"]
    benchmark, other = (a[1][name].keys() for name in ("equal weight", "RL2, unadapted"))
    assert {"sharpe", "cagr", "verdict/sharpe"} <= benchmark
    assert other - benchmark <= {
        "verdict/p",
        "verdict/p_worse",
        "verdict/more_years",
    }  # which a benchmark does not have
    assert benchmark <= other
    assert call("train", two_symbols, "--steps", 6, "--seed", 2, "--out", "c", cwd=tmp_path).returncode == 0
    assert (tmp_path / "c" / "weights.safetensors").read_bytes() != a[0][0]


@pytest.mark.process
def test_sp500_as_a_csv(tmp_path):
    from arch.data import sp500

    sp500.load().to_csv(tmp_path / "sp500.csv")
    output = demo(tmp_path / "out", "--data", tmp_path / "sp500.csv")
    for name in ("RL2, unadapted", "pre-train + fine-tune", "equal weight", "momentum 252", "next", "signal --model"):
        assert name.lower() in output.lower()
