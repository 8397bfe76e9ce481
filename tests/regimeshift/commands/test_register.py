"""Register, backtest and signal on the command line: a deployed model answers for what it was made for, and nothing else."""

import json
import sqlite3

import numpy as np
import pandas as pd
import pytest
import samples
from command import call, refused

from regimeshift.commands.signal import _age


def write(bars, path):
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(path)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A working folder, its names awkward, with a trained, backtested and registered model."""
    folder = tmp_path_factory.mktemp("my desk – ünï")
    bars = samples.regime_bars(1500, 3, seed=1)
    write(bars, folder / "my data.csv")
    write(bars.select(["S0", "S1"]), folder / "two.csv")
    write(samples.regime_bars(1500, 4, seed=1), folder / "four.csv")
    write(bars[:1400], folder / "old.csv")
    frame = pd.read_csv(folder / "my data.csv")
    frame.rename(columns={"S0": "S1", "S1": "S0"}).to_csv(folder / "exchanged.csv", index=False)
    frame[["date", "S2", "S0", "S1"]].to_csv(folder / "ordered.csv", index=False)
    frame.assign(date=pd.date_range("2026-01-01", periods=1500, freq="h")).to_csv(folder / "hourly.csv", index=False)
    silent = frame.copy()
    silent.loc[1480:, "S2"] = np.nan
    silent.to_csv(folder / "silent.csv", index=False)
    for words in (
        ("train", "my data.csv", "--steps", 4, "--out", "models/my model"),
        ("backtest", "my data.csv", "--models", "models/my model"),
        ("register", "my data.csv", "--model", "models/my model", "--name", "my model"),
    ):
        done = call(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert "Its backtest in MLflow: 2004-" in done.stdout  # what `backtest` logged
    return folder


def tags(desk, version):
    with sqlite3.connect(desk / "mlruns" / "mlflow.db") as database:
        return dict(database.execute("select key, value from model_version_tags where version = ?", (version,)))


def signal(desk, bars, *words):
    return call("signal", "--model", "my model", "--bars", bars, *words, cwd=desk)


def test_regression_the_hash_of_the_data_is_one_and_the_same(desk):
    """What `data` printed, the version and the training run each said another one."""
    found = tags(desk, 1)
    whole = call("data", "my data.csv", cwd=desk).stdout
    assert f"data_hash {found['data_hash']}\nspan_hash {found['span_hash']}\n" in whole
    part = call("data", "my data.csv", "--start", found["backtest_span"][:10], cwd=desk).stdout
    assert f"data_hash {found['data_hash']}\nspan_hash " in part
    assert found["span_hash"] not in part.split("span_hash")[1]
    assert found["span_hash"] == found["data_hash"]  # it was adapted to the whole
    logged = [json.loads(path.read_text()) for path in (desk / "mlruns").rglob("data/*.json")]
    assert len(logged) == 2
    assert {data["data_hash"] for data in logged} == {found["data_hash"]}
    tested = part.split("span_hash ")[1].split()[0]
    assert {data["span_hash"] for data in logged} == {found["span_hash"], tested}  # of training, and of the backtest


def test_regression_a_version_from_the_command_line_carries_its_backtest(desk):
    found = tags(desk, 1)
    assert found["backtest_span"].startswith("2004-")
    assert float(found["backtest_Sharpe"])
    assert found["backtest_run"]


def test_the_signal_says_how_old_the_last_bar_is(desk):
    done = signal(desk, "my data.csv")
    assert done.returncode == 0, done.stderr
    assert "The day of the last bar ended" in done.stdout
    assert "days ago." in done.stdout
    assert "Check of my data:" in done.stdout
    answer = json.loads(signal(desk, "my data.csv", "--json").stdout)
    assert answer["after"] == "2006-09-29 00:00:00"
    assert answer["age_hours"] > 24 * 365
    assert set(answer["rate"].values()) == {1.0}
    ordered = json.loads(signal(desk, "ordered.csv", "--json").stdout)
    assert list(ordered["target_weight"]) == ["S2", "S0", "S1"]
    assert ordered["target_weight"] == pytest.approx(answer["target_weight"], abs=1e-12)
    request = json.loads(signal(desk, "my data.csv", "--request").stdout)["dataframe_records"][0]
    assert request["symbols"] == ["S0", "S1", "S2"]
    assert len(request["times"]) == len(request["bars"]) == 314


def test_regression_an_unadjusted_split_at_the_last_bars_gets_no_signal(desk):
    """A split of 20:1 that was not adjusted is a fall by 95 %, and got a signal."""
    frame = pd.read_csv(desk / "my data.csv")
    for row in (-1, -3):
        split = frame.copy()
        split.loc[len(frame) + row :, "S1"] /= 20
        split.assign(date=pd.bdate_range("2007-01-01", periods=len(frame))).to_csv(desk / "split.csv", index=False)
        for words in ((), ("--json",), ("--request",)):
            refused(signal(desk, "split.csv", *words), "split: S1:", "looks like an unadjusted split: 20:1")
        assert "S1 split" in json.loads(signal(desk, "split.csv", "--json", "--news").stdout)["check"]
    split.loc[len(frame) - 40 :, "S1"] = frame["S1"][len(frame) - 40 :] / 20  # decided on before
    split.assign(date=pd.bdate_range("2007-01-01", periods=len(frame))).to_csv(desk / "split.csv", index=False)
    assert "S1 split" in signal(desk, "split.csv").stdout


@pytest.mark.parametrize(
    ("index", "hours", "text"),
    [
        (["2026-01-04", "2026-01-05"], 12.0, "The day of the last bar ended 12 hours ago."),
        (["2026-01-05", "2026-01-06"], -12.0, "The day of the last bar ends 12 hours from now."),
        (["2026-01-06 10:00", "2026-01-06 11:00"], 1.0, "The last bar was 1 hour ago, if its times are UTC."),
        (["2026-01-06 16:00", "2026-01-06 17:00"], -5.0, "The last bar is 5 hours from now, if its times are UTC."),
        (["2026-01-06 10:00+01:00", "2026-01-06 11:00+01:00"], 2.0, "The last bar was 2 hours ago."),
        (["2026-01-04 00:00+01:00", "2026-01-05 00:00+01:00"], 13.0, "The day of the last bar ended 13 hours ago."),
    ],
)
def test_regression_a_date_is_the_end_of_its_day_and_times_without_a_zone_may_be_local(index, hours, text):
    assert _age(pd.DatetimeIndex(index), pd.Timestamp("2026-01-06 12:00", tz="UTC")) == (hours, text)


def test_regression_other_bars_get_no_signal(desk):
    refused(call("signal", "--model", "my model", cwd=desk), "name the latest bars, as in: regimeshift signal")
    refused(signal(desk, "two.csv"), "two is without S2; the model was made for S0, S1, S2")
    refused(signal(desk, "four.csv"), "four has S3 besides")
    refused(signal(desk, "stocks"), "stocks is without S0")
    refused(signal(desk, "old.csv"), "old ends at 2006-05-12", "give bars that end then or later")
    refused(signal(desk, "exchanged.csv"), "of S0", "those of S1: are columns exchanged?")
    refused(signal(desk, "hourly.csv"), "1 hour apart; the model was made for bars 1 day apart")
    refused(signal(desk, "silent.csv"), "S2 no longer trades: its last close is of 2006-09-01")


def test_regression_a_model_is_not_run_on_data_that_nobody_named(desk):
    """`adapt` and `backtest` took the 20 US stocks."""
    refused(call("adapt", "--model", "models/my model", cwd=desk), "name the data that the model is made for")
    refused(
        call("backtest", "--models", "models/my model", cwd=desk),
        "regimeshift backtest FILE.csv --models models/my model",
    )


def test_regression_a_champion_is_not_replaced_by_mistake(desk):
    """With the data forgotten, the model was made for 20 US stocks, and became the champion."""
    before = tags(desk, 2)
    refused(
        call("register", "--model", "models/my model", "--name", "my model", cwd=desk),
        "name the data that the model is made for",
    )
    refused(
        call("register", "stocks", "--model", "models/my model", "--name", "my model", cwd=desk),
        "champion of my model was made for S0",
    )
    refused(
        call("register", "two.csv", "--model", "models/my model", "--name", "my model", cwd=desk),
        "register it under another name",
    )
    refused(
        call("register", "hourly.csv", "--model", "models/my model", "--name", "my model", cwd=desk),
        "are 1 hour apart; RL2 was trained on bars 1 day apart",
    )
    write(samples.regime_bars(900, 3, seed=1), desk / "short.csv")
    refused(
        call("register", "short.csv", "--model", "models/my model", "--name", "my model", cwd=desk),
        "has learnt from bars up to",
    )
    assert tags(desk, 2) == before == {}


def test_regression_champion_and_challenger_stand_in_one_table(desk):
    assert call("train", "my data.csv", "--steps", 4, "--seed", 3, "--out", "models/other", cwd=desk).returncode == 0
    done = call("register", "my data.csv", "--model", "models/other", "--name", "my model", "--no-promote", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "no backtest of this model" in done.stdout
    models = ("models:/my model@champion", "models:/my model/2", "models/my model")
    done = call("backtest", "my data.csv", "--models", *models, cwd=desk)
    assert done.returncode == 0, done.stderr
    for name in ("my model/1", "my model/2", "RL2", "RL2, unadapted"):
        assert name in done.stdout
    refused(call("backtest", "my data.csv", "--models", "models:/none", cwd=desk), "model 'none' cannot be loaded")
    refused(call("backtest", "two.csv", "--models", models[0], cwd=desk), "two is without S2")


@pytest.mark.usefixtures("reloaded_here")
def test_promote_rollback_and_history(desk):
    done = call("register", "my data.csv", "--model", "models/my model", "--name", "my model", "--no-promote", cwd=desk)
    number = done.stdout.split("models:/my model/")[1].split(",")[0]
    words = ("promote", "my model", number, "--latency", 60_000)
    done = call(*words, cwd=desk)
    refused(done, "freshness: its bars end at 2006-09-29", "not promoted")
    for gate in ("files", "reload", "certificate", "champion", "deflated Sharpe", "latency", "freshness"):
        assert f"\n {gate} " in done.stdout
    assert "the same account as models:/my model/1" in done.stdout  # in the backtest that stands in MLflow
    refused(call(*words, "--force", cwd=desk), "--force needs a reason, which is recorded: --why TEXT")
    done = call(*words, "--force", "--why", "an old file", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "(an old file): freshness." in done.stdout
    assert f"models:/my model/{number} is now the champion; my model/1 is now previous." in done.stdout
    assert "is the champion already." in call(*words, cwd=desk).stdout
    done = call("rollback", "my model", "--why", "it was a test", cwd=desk)
    assert f"models:/my model/1 is the champion again; my model/{number} is now previous." in done.stdout
    lines = call("history", "my model", cwd=desk).stdout.splitlines()[-3:]
    assert [line.split()[2] for line in lines] == ["promote", "promote", "rollback"]
    assert "forced past freshness; an old file" in lines[1]
    assert lines[2].endswith("it was a test")
    found = [json.loads(line) for line in call("history", "my model", "--json", cwd=desk).stdout.splitlines()]
    assert [(move["before"], move["version"]) for move in found] == [(None, 1), (1, int(number)), (int(number), 1)]
    assert "freshness: failed: its bars end" in call("history", "my model", "--gates", cwd=desk).stdout
    refused(call("promote", "my model", 99, cwd=desk), "there is no version 99 of 'my model' in the registry")
    refused(call("history", "nobody", cwd=desk), "there is no registered model 'nobody'")


@pytest.mark.usefixtures("reloaded_here")
def test_a_rule_a_blend_and_an_own_file_are_registered(desk):
    done = call(
        "register",
        "my data.csv",
        "--strategy",
        "momentum:30",
        "equal_weight",
        "--name",
        "two",
        "--no-promote",
        cwd=desk,
    )
    assert done.returncode == 0, done.stderr
    (desk / "mine.py").write_text(
        "from strategies import EqualWeight, WeightLimit\ndef mine():\n    return WeightLimit(EqualWeight(), 0.25)\n"
    )
    done = call("register", "my data.csv", "--strategy", "mine.py:mine", "--name", "mine", cwd=desk)
    assert "It runs its own copy of mine.py, SHA-256 " in done.stdout, done.stderr
    done = call("signal", "--model", "mine", "--bars", "my data.csv", "--json", cwd=desk)
    assert json.loads(done.stdout)["target_weight"] == {"S0": 0.25, "S1": 0.25, "S2": 0.25}
    refused(
        call("register", "my data.csv", "--model", "models/x", "--strategy", "momentum:30", cwd=desk),
        "register takes --model or --strategy, not both",
    )
    refused(call("register", "my data.csv", "--strategy", "momentun", cwd=desk), "rule 'momentun' is unknown")
