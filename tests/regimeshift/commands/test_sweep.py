"""``regimeshift sweep``: what it prints, the page and the table that it writes, and what it refuses."""

import pandas as pd
import pytest
import samples
from command import call, refused
from mlflow import MlflowClient

from backtests.sweeps import optimise, sweep
from markets import load
from strategies import MovingAverageCross

GRID = ("--grid", "fast=5:25:10", "slow=15:60:15")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    bars = samples.regime_bars(700, 3, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(folder / "data.csv")
    return folder


def test_peak_plateau_and_walk_forward(desk):
    done = call(
        "sweep", "data.csv", *GRID, "--every", 60, "--train", 250, "--choose", "Sharpe", "--table", "all.csv", cwd=desk
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bars = load(desk / "data.csv")
    grid, where = {"fast": (5, 15), "slow": (15, 30, 45)}, lambda fast, slow: fast < slow
    found = sweep(MovingAverageCross, grid, bars, where=where)
    chosen = optimise(MovingAverageCross, grid, bars, train=250, every=60, where=where)
    assert found.section("Sharpe").finding in done.stdout
    assert chosen.section().finding in done.stdout
    assert "1 setting that the strategy refuses left out." in done.stdout
    assert "5 trials" in done.stdout
    table = pd.read_csv(desk / "all.csv", index_col=["fast", "slow"])
    pd.testing.assert_series_equal(table["Sharpe"], found.table["Sharpe"], rtol=1e-12)
    page = (desk / "sweep.html").read_text()
    assert "Walk-forward optimisation of MovingAverageCross" in page
    assert page.count("plotly-graph-div") == 2


def test_regression_a_later_backtest_counts_the_settings_of_a_sweep(desk, tmp_path):
    """The sweep was not logged, so the deflated Sharpe ratio of what it had found knew of no trials."""
    (tmp_path / "data.csv").write_text((desk / "data.csv").read_text())
    rule = ("backtest", "data.csv", "--strategies", "moving_average_cross:5:30", "--no-check")
    for grid, trials in ((GRID, 6), ((*GRID, "--costs", "20bp"), 11)):
        assert call("sweep", "data.csv", *grid, cwd=tmp_path).returncode == 0
        assert call(*rule, cwd=tmp_path).returncode == 0
        runs = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").search_runs(["1"], "params.benchmark != ''")
        assert runs[0].data.params["trials"] == str(trials)


def test_its_help_names_every_option(tmp_path):
    text = call("sweep", "--help", cwd=tmp_path).stdout
    for option in (
        "--strategy",
        "--grid",
        "--metric",
        "--every",
        "--train",
        "--choose",
        "--scheme",
        "--jobs",
        "--report",
    ):
        assert option in text


def test_earlier_bars_only_warm_up(desk):
    done = call("sweep", "data.csv", *GRID, "--from", "2002", "--report", "late.html", cwd=desk)
    bars = load(desk / "data.csv")["2002":]
    where = {"where": lambda fast, slow: fast < slow}
    found = sweep(MovingAverageCross, {"fast": (5, 15), "slow": (15, 30, 45)}, bars, **where)
    assert found.section("Sharpe").finding in done.stdout


def test_a_class_of_a_users_file(desk):
    (desk / "mine.py").write_text("from strategies import Momentum\nclass Mine(Momentum):\n    pass\n")
    done = call(
        "sweep", "data.csv", "--strategy", "mine.py:Mine", "--grid", "window=5,20", "--metric", "CAGR", cwd=desk
    )
    assert done.returncode == 0, done.stderr
    assert "CAGR peaks at" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--grid is empty"),
        (("--grid", "fast"), "--grid fast: write name=start:stop:step"),
        (("--grid", "speed=1:3"), "grid: MovingAverageCross takes fast, slow"),
        (
            ("--grid", "fast=a", "slow=20"),
            "no setting is left for moving_average_cross: it cannot use fast a, slow 20 (",
        ),
        (("--grid", "fast=50", "slow=20"), "no setting is left for moving_average_cross: fast is 50 and slow is 20"),
        ((*GRID, "--metric", "luck"), "--metric luck: unknown"),
        ((*GRID, "--strategy", "cross"), "--strategy cross: rule 'cross' is unknown"),
        ((*GRID, "--every", 60), "needs 2,564 bars to choose on"),
        ((*GRID, "--every", 60, "--train", 200, "--choose", "luck"), "choose is 'luck'; use plateau"),
    ],
)
def test_what_cannot_be_swept_is_refused(desk, words, message):
    refused(call("sweep", "data.csv", *words, cwd=desk), message)


@pytest.mark.parametrize("words", [("--choose", "luck"), ("--train", 5000), ("--train", 0), ("--every", 0)])
def test_regression_a_wrong_walk_forward_is_refused_before_the_sweep(desk, words):
    """The whole grid was swept and shown first, and its table and page were then not written."""
    done = call("sweep", "data.csv", *GRID, "--every", 60, *words, cwd=desk)
    refused(done, "--choose, --train, --every: ")
    assert done.stdout == ""
