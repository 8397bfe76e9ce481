"""The command line as a newcomer meets it. What is about processes runs in real ones, the rest in this one."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import samples
from command import COMMAND, call, refused

from markets import InputError

FAST = ["--steps", "4"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A working folder with the user's own bars."""
    folder = tmp_path_factory.mktemp("desk")
    bars = samples.regime_bars(1500, 3, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=list(bars.symbols)).to_csv(folder / "my.csv")
    return folder


@pytest.fixture(scope="module")
def trained(desk):
    done = call("train", "my.csv", *FAST, cwd=desk)
    assert done.returncode == 0, done.stderr
    return desk


def test_help_speaks_of_every_command(tmp_path):
    text = call("--help", cwd=tmp_path).stdout
    for command in (
        "demo",
        "data",
        "regimes",
        "train",
        "adapt",
        "backtest",
        "robustness",
        "register",
        "signal",
        "explain",
        "serve",
        "ui",
    ):
        assert command in text
        done = call(command, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert len(done.stdout) > 200


@pytest.mark.process
def test_help_imports_nothing_heavy():
    """It answers at once: what takes seconds to import is imported where it is used."""
    code = (
        "import sys; sys.argv = ['regimeshift', 'train', '--help']\n"
        "from regimeshift.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'numba', 'mlflow', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_step_is_a_command_on_files(trained):
    done = call("data", "my.csv", cwd=trained)
    assert "1500 bars x 3 symbols" in done.stdout
    done = call("regimes", "my.csv", "--out", "labels.csv", cwd=trained)
    assert "never fitted on" in done.stdout
    labels = pd.read_csv(trained / "labels.csv")
    assert len(labels) == 1500
    assert set(labels["regime"]) <= {"calm", "normal", "crisis"}
    done = call("adapt", "my.csv", "--model", "models/my-rl2", cwd=trained)
    assert (trained / "models/my-rl2/adapted/weights.safetensors").exists(), done.stderr
    done = call(
        "backtest", "my.csv", "--models", "models/my-rl2", "--rules", "equal_weight", "momentum:50", cwd=trained
    )
    assert done.returncode == 0, done.stderr
    assert (trained / "report.html").exists()
    assert "Check of my: nothing found. See: regimeshift data check" in done.stdout
    for name in ("RL2, unadapted", "equal weight", "momentum 50"):
        assert name in done.stdout
    done = call("register", "my.csv", "--model", "models/my-rl2", cwd=trained)
    assert "champion" in done.stdout, done.stderr
    done = call("signal", "--model", "my-rl2", "--bars", "my.csv", "--json", cwd=trained)
    weights = json.loads(done.stdout)["target_weight"]
    assert list(weights) == ["S0", "S1", "S2"]
    assert 0 < sum(weights.values()) <= 1 + 1e-9
    request = json.loads(call("signal", "--model", "my-rl2", "--bars", "my.csv", "--request", cwd=trained).stdout)
    assert np.shape(request["dataframe_records"][0]["bars"])[1] == 3


def test_data_is_checked_worst_first(desk):
    done = call("data", "check", "my.csv", "--page", "pages/data.html", cwd=desk)
    assert done.returncode == 0, done.stderr
    assert "24/5, guessed" in done.stdout
    assert "Wrote pages/data.html" in done.stdout
    assert "quality of the data" in (desk / "pages/data.html").read_text()
    done = call("data", "check", "my.csv", "--calendar", "XNYS", cwd=desk)
    assert "extra session" in done.stdout
    assert done.returncode == 0
    frame = pd.read_csv(desk / "my.csv")
    frame.loc[700, "S1"] *= 20  # a tick that no market made, and one that one may have made
    frame.loc[900, "S2"] *= 1.6
    frame.to_csv(desk / "ticks.csv", index=False)
    done = call("data", "check", "ticks.csv", cwd=desk)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if "spike" in line]
    assert "error" in lines[0]
    assert "S1" in lines[0]
    assert "warning" in lines[1]
    assert "S2" in lines[1]
    assert done.stderr == ""
    refused(call("data", "check", "my.csv", "--calendar", "MOON", cwd=desk), "calendar 'MOON' is unknown")
    refused(call("data", "check", "none.csv", cwd=desk), "none.csv: no such file")
    (desk / "plain").write_text("")
    refused(call("data", "check", "my.csv", "--page", "plain/x.html", cwd=desk), "plain: cannot write there")


def test_data_without_a_word_is_data_show(desk):
    plain, show = call("data", "my.csv", cwd=desk), call("data", "show", "my.csv", cwd=desk)
    assert plain.stdout == show.stdout
    assert "1500 bars x 3 symbols" in plain.stdout
    assert "check" in call("data", "--help", cwd=desk).stdout


@pytest.mark.process
def test_ctrl_c_and_resume_end_in_the_same_bits(trained):
    steps = ["--steps", "60"]
    assert call("train", "my.csv", *steps, "--out", "models/whole", cwd=trained).returncode == 0
    process = subprocess.Popen(
        [*COMMAND, "train", "my.csv", *steps, "--out", "models/cut"], cwd=trained, stderr=subprocess.PIPE
    )
    checkpoint = trained / "models/cut/checkpoint.safetensors"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    if process.returncode != 0:  # a fast machine may have finished
        assert process.returncode == 130
        assert b"--resume" in err
        assert b"Traceback" not in err
    done = call("train", "my.csv", *steps, "--out", "models/cut", "--resume", cwd=trained)
    assert done.returncode == 0, done.stderr
    for name in ("weights.safetensors", "history.csv"):
        assert (trained / "models/whole" / name).read_bytes() == (trained / "models/cut" / name).read_bytes()


@pytest.mark.parametrize("detector", ["hmm", "volatility", "jump", "changepoints"])
def test_regimes_of_every_detector_come_with_a_page(detector, desk):
    done = call("regimes", "my.csv", "--detector", detector, "--n-regimes", "2", "--fit-until", "2003", "--page",
                f"{detector}.html", cwd=desk)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Fitted on 2001-01-01 to 2003-12-31" in done.stdout
    assert f"Wrote {detector}.html" in done.stdout
    assert "What hindsight would have flattered" in (desk / f"{detector}.html").read_text()


def test_regimes_says_how_many_the_data_support(desk):
    done = call("regimes", "my.csv", "--fit-until", "2003", cwd=desk)
    assert re.search(r"The fitted bars support \d regimes? by BIC \(above it, \d: \+", done.stdout)


def test_regimes_that_cannot_be_are_one_line(desk):
    refused(call("regimes", "my.csv", "--detector", "jump", "--n-regimes", "0", cwd=desk), "n_regimes is 0")
    refused(call("regimes", "my.csv", "--fit-until", "2035", cwd=desk), "--fit-until 2035", "leave some bars")
    (desk / "flat").write_text("")
    refused(call("regimes", "my.csv", "--page", "flat/r.html", cwd=desk), "flat: cannot write there")
    refused(call("regimes", "my.csv", "--n-regimes", "200", cwd=desk), "too few for 200 regimes")


@pytest.mark.process
def test_two_at_once_do_not_disturb_each_other(desk):
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = [*COMMAND, "train", "my.csv", *FAST, "--out"]
    both = [
        subprocess.Popen([*command, f"models/at-once-{i}"], cwd=desk, env=environment, stderr=subprocess.PIPE)
        for i in (0, 1)
    ]
    for process in both:
        _, err = process.communicate()
        assert process.returncode == 0, err.decode()
    files = [(desk / f"models/at-once-{i}" / "weights.safetensors").read_bytes() for i in (0, 1)]
    assert files[0] == files[1]


BAD = {
    "empty.csv": ("", "the file is empty"),
    "missing.csv": ("date,symbol,open\n2020-01-01,A,1\n", "column 'close' is missing"),
    "twice.csv": ("date,A\n2020-01-01,1\n2020-01-01,2\n", "appears twice"),
    "unsorted.csv": ("date,A\n2020-01-02,1\n2020-01-01,2\n", "not sorted"),
    "words.csv": ("date,A\n2020-01-01,1\n2020-01-02,cheap\n", "row 3, column 'A': 'cheap' is not a number"),
    "negative.csv": ("date,A\n2020-01-01,1\n2020-01-02,-2\n", "a price must be positive"),
    "nans.csv": ("date,A,B\n2020-01-01,1,\n2020-01-02,2,\n", "symbol B has no close at all"),
    "one.csv": ("date,A\n2020-01-01,1\n", "at least 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_data_is_one_line(name, tmp_path):
    text, message = BAD[name]
    (tmp_path / name).write_text(text)
    refused(call("demo", "--data", name, cwd=tmp_path), name, message)
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing half-written


def test_too_few_bars_are_one_line(tmp_path):
    bars = samples.regime_bars(200, 1, seed=0)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=["A"]).to_csv(tmp_path / "few.csv")
    refused(call("demo", "--data", "few.csv", cwd=tmp_path), "few", "warm")
    assert [p.name for p in tmp_path.iterdir()] == ["few.csv"]


def test_wrong_names_are_one_line(trained):
    refused(call("demo", "--data", "stonks", cwd=trained), "unknown source 'stonks'", "stocks")
    refused(call("demo", "--data", "none.csv", cwd=trained), "none.csv: no such file")
    refused(call("signal", "--model", "nobody", "--bars", "my.csv", cwd=trained), "model 'nobody' cannot be loaded")
    refused(call("backtest", "my.csv", "--models", "models/none", cwd=trained), "models/none: no trained model there")
    refused(call("backtest", "my.csv", "--rules", "luck", cwd=trained), "rule 'luck' is unknown; use equal_weight")
    refused(call("backtest", "my.csv", "--start", "2035", cwd=trained), "no bars from 2035 to the end")
    refused(call("train", "my.csv", "--costs", "ten", cwd=trained), "costs 'ten': write 10bp")
    refused(call("train", "my.csv", "--test", "soon", cwd=trained), "--test 'soon' is not a time")
    refused(call("train", "my.csv", "--test", "2002", "--validation", "2003", cwd=trained), "must be in this order")
    refused(call("train", "my.csv", *FAST, "--seed", "9", "--resume", "--out", "models/my-rl2", cwd=trained),
            "checkpoint.safetensors: a checkpoint of another configuration")  # fmt: skip
    refused(call("backtest", "my.csv", "--costs", "1.2.3bp", cwd=trained), "write 10bp")
    refused(call("backtest", "my.csv", "--rules", cwd=trained), "nothing to backtest")
    refused(call("backtest", "my.csv", "--rules", "momentum:²", cwd=trained), "window must be a whole number")
    refused(call("backtest", "my.csv", "--start", "nan", cwd=trained), "start 'nan' is not a time")
    refused(call("regimes", "my.csv", "--seed", "-1", cwd=trained), "seed is -1")
    refused(call("register", "my.csv", "--model", "models/my-rl2", "--name", "a/b", cwd=trained), "model name 'a/b'")
    refused(
        call("backtest", "my.csv", "--models", "models/my-rl2", "--start", "2002", cwd=trained),
        "have learnt from bars up to",
    )
    (trained / "file").write_text("")
    refused(call("demo", "--data", "my.csv", "--out", "file/x", cwd=trained), "file/x: cannot write there")
    refused(call("backtest", "my.csv", "--report", "file/r.html", cwd=trained), "file: cannot write there")


def test_wrong_options_are_usage_errors(tmp_path):
    done = call("train", "--steps", "many", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_two_models_of_one_name_stand_in_one_table(trained):
    assert call("train", "my.csv", *FAST, "--seed", "3", "--out", "models/other", cwd=trained).returncode == 0
    done = call("backtest", "my.csv", "--models", "models/my-rl2", "models/other", "--report", "two.html",
                "--ledgers", "trades", cwd=trained)  # fmt: skip
    assert "models/my-rl2" in done.stdout, done.stderr
    assert "models/other" in done.stdout
    trades = pd.read_csv(trained / "trades" / "6_equal_weight.csv")
    assert trades["cost"].gt(0).all()
    assert (trained / "trades" / "2_models_my-rl2_unadapted.csv").exists()


@pytest.mark.process
def test_a_server_that_is_none_is_one_line(trained):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "garbage://x"}
    done = subprocess.run(
        [*COMMAND, "backtest", "my.csv"], cwd=trained, env=environment, capture_output=True, text=True, check=False
    )
    refused(done, "MLflow at garbage://x", "MLFLOW_TRACKING_URI")


def test_a_broken_model_is_one_line(trained):
    folder = trained / "models" / "broken"
    assert call("train", "my.csv", *FAST, "--out", folder, cwd=trained).returncode == 0
    (folder / "weights.safetensors").write_bytes(b"junk")
    refused(call("backtest", "my.csv", "--models", "models/broken", cwd=trained), "models/broken: not a saved strategy")
    (folder / "meta.json").write_text('{"learner": "rl2", "name": "x", "training": []}')
    refused(call("backtest", "my.csv", "--models", "models/broken", cwd=trained), "earlier version", "train it again")
    (folder / "meta.json").write_text('{"format": 1, "learner": "rl2", "name": "x", "training": []}')
    refused(call("backtest", "my.csv", "--models", "models/broken", cwd=trained), "not a trained model")


@pytest.mark.parametrize("name", ["OneBarLeak", "BackFill", "CentredWindow", "WholeSampleScore", "SmoothedLabel"])
def test_check_lookahead_finds_what_is_planted(name, tmp_path):
    done = call(
        "check", "lookahead", f"{samples.__file__.replace('samples', 'leaky')}:{name}", "--cuts", "4", cwd=tmp_path
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ahead" in done.stdout
    assert "decisions changed with the future" in done.stdout


def test_check_lookahead_passes_what_is_clean(tmp_path):
    for strategy in (f"{samples.__file__.replace('samples', 'leaky')}:CleanTrend", "momentum:60"):
        done = call("check", "lookahead", strategy, "sp500", "--cuts", "4", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "no look-ahead found" in done.stdout
    refused(call("check", "lookahead", "no.py:Thing", cwd=tmp_path), "no.py: no such file")


def test_regimes_of_a_short_file_says_how_many_bars_it_needs(tmp_path):
    bars = samples.regime_bars(60, 1, seed=1)
    pd.DataFrame(bars.close, index=bars.index.rename("date"), columns=["A"]).to_csv(tmp_path / "short.csv")
    refused(call("regimes", "short.csv", cwd=tmp_path), "17 returns are too few for 1 regime; give at least 20")


def test_bench_ceilings_prints_a_ladder_of_each_family(tmp_path):
    done = call("bench", "ceilings", "--episodes", "30", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("hindsight") == 7
    refused(call("bench", "ceilings", "--episodes", "1", cwd=tmp_path), "at least 2 episodes")
    refused(call("bench", "ceilings", "--seed", "-1", cwd=tmp_path), "--seed -1")


def test_bench_adapt_judges_learners_and_keeps_them(tmp_path):
    wanted = ("bench", "adapt", "--quick", "--tasks", "20", "--learners", "Scratch", "fine-tune", "--out", "here")
    done = call(*wanted, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("bars seen in the new regime", "gradient steps on 100 bars", "20 unseen tasks, 1 training seed;"):
        assert text in done.stdout
    page = (tmp_path / "here" / "drift_momentum.html").read_text()
    assert "How well do they adapt?" in page
    assert "fine-tune" in page
    kept = sorted(path.name for path in (tmp_path / "here").iterdir() if path.is_dir())
    assert len(kept) == 2
    refused(call("bench", "adapt", "--learners", "oracle", cwd=tmp_path), "drift_momentum has recipes for RL2")
    refused(call("bench", "adapt", "--seeds", "0", cwd=tmp_path), "at least 1 seed")


@pytest.mark.parametrize("learner", ["cavia", "experts"])
def test_a_learner_trains_and_adapts_by_its_name(learner, tmp_path):
    done = call("train", "sp500", "--learner", learner, "--steps", "2", "--out", "m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = call("adapt", "sp500", "--model", "m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_strategy_of_ones_own_is_backtested_by_its_file(tmp_path):
    mine = f"{samples.__file__.replace('samples', 'leaky')}:CleanTrend"
    done = call("backtest", "sp500", "--rules", mine, "equal_weight", "--start", "2017", cwd=tmp_path)
    assert "clean trend" in done.stdout, done.stderr


def test_regression_regimes_says_what_the_filtered_part_leaves_out(tmp_path):
    bars = samples.regime_bars(900, 1, seed=3)
    close = bars.close.copy()
    close[800] *= 100
    pd.DataFrame(close, index=bars.index.rename("date"), columns=["A"]).to_csv(tmp_path / "tick.csv")
    done = call("regimes", "tick.csv", cwd=tmp_path)
    heads = [line for line in done.stdout.splitlines() if line.startswith(("Fitted", "Filtered"))]
    assert "left out" not in heads[0]
    assert re.search(r"; 2 returns beyond [\d.]+ % are left out as bad prices$", heads[1])


def test_regression_regimes_refuses_a_table_that_cannot_be_written_before_the_data_is_read(tmp_path):
    """After all the work it said "cannot be written (None)"."""
    refused(call("regimes", "none.csv", "--out", "x.parquet", cwd=tmp_path), "--out x.parquet", "ends in .csv")
    (tmp_path / "file").write_text("")
    refused(call("regimes", "none.csv", "--out", "file/x.csv", cwd=tmp_path), "--out file/x.csv", "cannot write there")
    refused(call("regimes", "none.csv", "--out", "new/x.csv", cwd=tmp_path), "none.csv: no such file")
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize(("bars", "message"), [(2, "0 returns are"), (30, "8 returns are")])
def test_regression_regimes_of_few_bars_says_where_the_fit_ends(bars, message, tmp_path):
    """It spoke of "--fit-until None", or hid that only the first 30 % are fitted."""
    short = samples.regime_bars(bars, 1, seed=1)
    pd.DataFrame(short.close, index=short.index.rename("date"), columns=["A"]).to_csv(tmp_path / "short.csv")
    done = call("regimes", "short.csv", cwd=tmp_path)
    refused(done, message)
    assert "None" not in done.stderr
    refused(done, "The fit ends on", "(--fit-until, by default after the first 30 % of the bars)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--every", "0"), "--every 0: it must be at least 1"),
        (("--rules", "moment"), "--strategies moment: rule 'moment' is unknown"),
        (("--rules", "mine.py:Mine"), "--strategies mine.py:Mine: mine.py: no such file"),
        (("--models", "models/nope"), "--models: models/nope: no trained model there"),
        (("--report", "/proc/x.html"), "--report /proc/x.html: /proc: cannot write there"),
    ],
)
def test_regression_backtest_refuses_options_before_the_data_are_read(words, message, tmp_path):
    refused(call("backtest", "none.csv", *words, cwd=tmp_path), message)  # the data would be missed later


def test_regression_a_backtest_without_its_report_is_logged(desk, monkeypatch):
    from backtests import WalkForward, tracking

    def full(self, path, **options):
        raise InputError(f"{path}: cannot be written")

    logged = []
    monkeypatch.setattr(WalkForward, "report", full)
    monkeypatch.setattr(tracking, "log_result", lambda result, report, verdict: logged.append(report))
    refused(call("backtest", "my.csv", "--rules", "equal_weight", cwd=desk), "report.html: cannot be written")
    assert logged == [None]


def test_backtest_trains_learners_within_its_folds_and_keeps_them(desk, tmp_path):
    words = ["backtest", "my.csv", "--strategies", "equal_weight", "--from", "2005"]
    words += ["--learners", "finetune", "--steps", "2"]
    words += ["--retrain-every", "1Y", "--cache", str(tmp_path / "kept"), "--report", str(tmp_path / "r.html")]
    first = call(*words, cwd=desk)
    assert first.returncode == 0, first.stderr
    assert "pre-train + fine-tune, unadapted" in first.stdout
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert len(kept) == 3  # two folds, one rule
    assert call(*words, "--leverage", "1", cwd=desk).stdout == first.stdout
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    refused(
        call(*words, "--retrain-every", "often", cwd=desk),
        "retrain_every is 'often'; write a number of bars, or a time",
    )


def test_all_strategies_run_and_those_without_enough_bars_are_named(desk, tmp_path):
    done = call(
        "backtest", "my.csv", "--strategies", "all", "--from", "2005", "--report", str(tmp_path / "r.html"), cwd=desk
    )
    assert done.returncode == 0, done.stderr
    for name in ("equal weight", "buy and hold", "momentum 252"):
        assert name in done.stdout
    short = samples.regime_bars(100, 2, seed=1)
    pd.DataFrame(short.close, index=short.index.rename("date"), columns=["A", "B"]).to_csv(tmp_path / "short.csv")
    done = call("backtest", "short.csv", "--strategies", "all", "--from", "2001-05", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Left out: momentum 252, which needs 252 bars to warm up." in done.stdout
    refused(
        call("backtest", "short.csv", "--strategies", "all", "momentum", cwd=tmp_path), "momentum 252 needs 252 bars"
    )


def test_a_strategy_that_looks_ahead_is_refused(desk, tmp_path):
    text = (
        "import numpy as np\nfrom strategies import Plan, Strategy\n\n\nclass Tomorrow(Strategy):\n    name = 'tomorrow'\n\n"
        "    def plan(self, bars):\n        rises = np.diff(bars.close, axis=0, append=bars.close[-1:]) > 0\n"
        "        return Plan(rises / 3)\n"
    )
    (tmp_path / "mine.py").write_text(text)
    words = ["backtest", "my.csv", "--strategies", f"{tmp_path / 'mine.py'}:Tomorrow", "--from", "2006"]
    words += ["--report", str(tmp_path / "r.html")]
    refused(call(*words, cwd=desk), "tomorrow looks ahead: aim of S", "it looks at least 1 bar ahead", "(--no-check)")
    refused(call(*words, "--strict", cwd=desk), "tomorrow looks ahead: aim of S")
    assert call(*words, "--no-check", cwd=desk).returncode == 0
    refused(call(*words, "--no-check", "--strict", cwd=desk), "--strict checks every row")


def test_regression_robustness_of_learners_alone_is_refused_before_they_are_trained(desk):
    """It ended in an IndexError after the whole backtest."""
    words = ["backtest", "my.csv", "--learners", "rl2", "--robustness", "--strategies"]
    refused(call(*words, cwd=desk), "--robustness examines a model or a rule")


def test_the_help_of_backtest_names_every_rule(tmp_path):
    from strategies.named import RULES

    text = " ".join(call("backtest", "--help", cwd=tmp_path).stdout.replace("│", " ").split())
    for rule in RULES.split(", "):
        assert rule in text, rule


@pytest.mark.parametrize("words", [("sweep", "--grid", "size=0.3,0.5"), ("robustness", "--resamples", 2)])
def test_regression_sweeps_and_robustness_refuse_what_looks_ahead(desk, tmp_path, words):
    """Only `backtest` did: a rule that knew tomorrow got a page of splendid settings, and stood every test."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nfrom strategies import Plan, Strategy\n\n\nclass Tomorrow(Strategy):\n    name = 'tomorrow'\n\n"
        "    def __init__(self, size=0.3):\n        self.size = size\n\n"
        "    def plan(self, bars):\n        rises = np.diff(bars.close, axis=0, append=bars.close[-1:]) > 0\n"
        "        return Plan(self.size * rises)\n"
    )
    command, *rest = words
    page = tmp_path / "page.html"
    done = call(
        command, "my.csv", "--strategy", f"{tmp_path / 'mine.py'}:Tomorrow", *rest, "--start", "2006", "--report", page, cwd=desk
    )  # fmt: skip
    refused(done, "tomorrow looks ahead: aim of S")
    assert not page.exists()
