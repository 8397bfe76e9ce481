"""The demo, whole: on the user's CSV and Parquet files, twice with one seed, and on files that are short or of one symbol."""

import mlflow
import numpy as np
import pandas as pd
import pytest
from command import call

from backtests import registry
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
    stocks = load("stocks")[:"2007"]
    path = tmp_path_factory.mktemp("data") / "two.parquet"
    pd.DataFrame(stocks.close[:, :2], index=stocks.index, columns=list(stocks.symbols[:2])).to_parquet(path)
    return path


def outcome(folder):
    weights = [(folder / "models" / "two-risk" / part / "weights.safetensors").read_bytes() for part in ("", "control")]
    runs = mlflow.MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db").search_runs(["1"])
    metrics = {run.info.run_name: run.data.metrics for run in runs}
    return weights, metrics, (folder / "report.html").read_bytes()


@pytest.fixture(scope="module")
def shown(two_symbols, tmp_path_factory):
    """The folder and output of a demo that keeps what is learnt, whatever it gains."""
    folder = tmp_path_factory.mktemp("demo") / "a"
    return folder, demo(folder, *same(two_symbols))


def same(path):
    return ("--data", path, "--seed", 1, "--evidence", -100)


@pytest.mark.process
def test_every_figure_is_logged(shown):
    _, runs, _ = outcome(shown[0])
    assert "validation" in runs["train risk"]
    whole = next(metrics for name, metrics in runs.items() if name.startswith("demo"))
    assert 0.4 < whole["share_of_optimum"] < 1
    gains = [f"gain/log_variance/adaptive_risk_unadapted/{end}" for end in ("low", "value", "high")]
    assert whole[gains[0]] < whole[gains[1]] < whole[gains[2]]
    benchmark, other = (runs[name].keys() for name in ("equal weight", "adaptive risk, unadapted"))
    assert {"sharpe", "cagr", "verdict/sharpe"} <= benchmark
    assert other - benchmark <= {
        "verdict/p",
        "verdict/p_worse",
        "verdict/more_years",
    }  # which a benchmark does not have
    assert benchmark <= other


@pytest.mark.slow
@pytest.mark.process
def test_a_seed_gives_the_same_weights_metrics_and_report(shown, two_symbols, tmp_path):
    demo(tmp_path / "b", *same(two_symbols))
    assert outcome(shown[0]) == outcome(tmp_path / "b")


@pytest.mark.process
def test_the_champion_is_adapted_and_signals_as_it_plans(two_symbols, shown):
    folder, output = shown
    for words in ("adaptive risk, unadapted", "static pool", "equal weight", "momentum 252", "buy and hold"):
        assert words in output
    assert "of its tilt on its base" in output
    assert "against adaptive risk, unadapted" in output
    assert "of what the optimum gains over the best constant weights" in output
    following = next(line for line in output.splitlines() if " signal --model two-risk" in line)
    done = call("signal", *following.split(" signal ")[1].split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    registered = registry.load("models:/two-risk@champion", root=folder / "mlruns")
    assert registered.strategy.policy.shrink > 0
    aim = registered.plan(load(str(two_symbols))).aim[-1]
    assert f"{aim[0]:.4%}" in done.stdout


@pytest.mark.slow
@pytest.mark.process
def test_one_symbol_adapts_how_much_it_holds(tmp_path):
    from arch.data import sp500

    sp500.load().to_csv(tmp_path / "sp500.csv")
    output = demo(tmp_path / "out", "--data", tmp_path / "sp500.csv")
    for name in ("adaptive risk, unadapted", "static pool", "equal weight", "momentum 252", "next", "signal --model"):
        assert name.lower() in output.lower()
    assert "certainty equivalent a year" in output
    assert "variance [95 % interval]" not in output


@pytest.fixture
def short(tmp_path):
    close = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, (360, 3)), axis=0))
    index = pd.bdate_range("2010-01-01", periods=360, name="time")
    pd.DataFrame(close, index=index, columns=list("ABC")).to_csv(tmp_path / "short.csv")
    return tmp_path


def test_of_a_short_file_a_line_says_what_is_needed(short):
    done = call("demo", "--data", "short.csv", cwd=short)
    assert (done.returncode, done.stdout) == (2, "")
    assert "short has 360 bars, but 553 are needed" in done.stderr
    assert "use --lookback 59 or less" in done.stderr


@pytest.mark.slow
@pytest.mark.process
def test_a_short_file_is_enough_with_a_short_lookback(short):
    done = call("demo", "--data", "short.csv", "--lookback", 50, "--steps", 3, "--n-regimes", 2, cwd=short)
    assert done.returncode == 0, done.stderr
    assert "it is now the champion" in done.stdout
