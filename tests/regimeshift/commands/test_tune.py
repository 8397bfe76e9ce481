"""``regimeshift tune``: its file trains as given, later backtests count its trials, and no trial sees the test."""

import json

import numpy as np
import pandas as pd
import pytest
import samples
from command import call, refused
from mlflow import MlflowClient

from metalearner import load_meta
from regimeshift import steps
from regimeshift.commands.tune import Tune
from regimeshift.training import Prepared

SHORT = ("--lookback", "30", "--steps", "4", "--n-regimes", "1")


def written(folder, bars, poisoned_from=None):
    close = bars.close.copy()
    if poisoned_from is not None:
        noise = np.random.default_rng(0).normal(0, 0.2, close[poisoned_from:].shape)
        close[poisoned_from:] *= np.exp(noise.cumsum(axis=0))
    pd.DataFrame(close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(folder / "my.csv")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    written(folder, samples.regime_bars(900, 2, seed=1))
    done = call("tune", "my.csv", *SHORT, "--trials", "3", "--costs", "5bp", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_it_says_what_it_found_and_writes_a_file_a_page_and_the_next_command(desk):
    folder, done = desk
    config = json.loads((folder / "tune/my-rl2.json").read_text())
    assert config["train"] == {"costs": "5bp", "lookback": 30, "n_regimes": 1, "steps": 4, "learner": "rl2"}
    assert f"Trial {config['about']['trial']} is the best of 3 trials: validation " in done.stdout
    assert "Next:" in done.stdout
    assert "train my.csv --config tune/my-rl2.json" in done.stdout
    assert (folder / "tune/my-rl2.html").read_text().count("plotly-graph-div") == 2
    assert not list(folder.rglob("*.running"))


def test_the_best_configuration_trains_as_given_and_a_backtest_counts_the_trials(desk, monkeypatch):
    folder, _ = desk
    config = json.loads((folder / "tune/my-rl2.json").read_text())
    given = []
    before = steps.train

    def train(learner, *args, **options):
        given.append(learner)
        return before(learner, *args, **options)

    monkeypatch.setattr(steps, "train", train)
    done = call("train", "my.csv", "--config", "tune/my-rl2.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (learner,) = given
    for name, value in config["settings"].items():
        holder, key = learner, name
        while "." in key:
            first, _, key = key.partition(".")
            holder = getattr(holder, first)
        assert getattr(holder, key) == value
    assert learner.training.steps == 4
    assert learner.objective.costs.commission == 5e-4
    meta = load_meta(folder / "models/my-rl2")
    assert meta.history["validation"].max() == config["about"]["score"], "to the bit what the trial scored"
    done = call("backtest", "my.csv", "--models", "models/my-rl2", "--costs", "5bp", "--no-check", cwd=folder)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    (logged,) = client.search_runs(["1"], "params.benchmark != ''")
    backtested = [run for run in client.search_runs(["1"]) if "sharpe" in run.data.metrics]
    assert int(logged.data.params["trials"]) == len(backtested) + 3, "the trials, beside the backtest's own strategies"


def test_nothing_of_the_test_is_handed_to_a_trial(desk, tmp_path):
    """Absurd prices in the test span change neither the tasks, to the bit, nor the regimes that they are cut by."""
    folder, _ = desk
    written(tmp_path, samples.regime_bars(900, 2, seed=1), poisoned_from=600)
    options = Tune(lookback=30, steps=4, n_regimes=1)
    given = []
    for place in (folder, tmp_path):
        ready = Prepared.of(options, str(place / "my.csv"), {})
        assert ready.bars.index[600] >= ready.where.test
        _, *sets = ready.tasks(options)
        given.append([(each.bars.hash, [(task.start, task.cut, task.stop) for task in each]) for each in sets])
    assert given[0] == given[1]


def test_again_with_all_trials_there_only_says_so_and_a_changed_option_is_refused(desk):
    folder, before = desk
    again = call("tune", "my.csv", *SHORT, "--trials", "3", "--costs", "5bp", cwd=folder)
    assert again.stdout == before.stdout
    other = call("tune", "my.csv", *SHORT, "--trials", "3", cwd=folder)
    refused(other, "tune/my-rl2.log: a study with objective.costs.commission 0.0005, and here it is 0.001")
    runs = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db").search_runs(["1"], "tags.trial LIKE '%'")
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--trials", "0"), ("--trials 0", "at least 1")),
        (("--jobs", "0"), ("--jobs 0",)),
        (("--search", "training.rate=1:2"), ("--search: training.rate: there is no such setting",)),
        (("--search", "objective.costs.spread=0:1"), ("not searched", "by which trials are compared")),
        (("--search", "training.batch=4:2"), ("--search training.batch=4:2", "its end above its start")),
        (("--study", "my.csv"), ("--study: my.csv: another kind of file",)),
        (("--study", "."), ("--study .: a folder",)),
        (("--out", "."), ("--out .: a folder",)),
        (("--page", "tune.txt"), ("--page tune.txt", ".html")),
        (("--study", "a.log", "--out", "a.log"), ("--out a.log", "that is the study")),
    ],
)
def test_what_is_wrong_is_one_line(desk, words, parts):
    folder, _ = desk
    data = (folder / "my.csv").read_text()
    refused(call("tune", "my.csv", *SHORT, *words, cwd=folder), *parts)
    assert (folder / "my.csv").read_text() == data


def test_its_help_is_for_newcomers(tmp_path):
    text = call("tune", "--help", cwd=tmp_path).stdout
    for option in ("--trials", "--search", "--study", "--out", "--page", "--jobs", "--learner"):
        assert option in text
