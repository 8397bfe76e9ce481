import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings

import mlflow
import numpy as np
import pytest
import samples

from backtests import registry, tracking, walk_forward
from backtests.significance import verdict
from markets import InputError
from strategies import BuyAndHold, EqualWeight, InverseVolatility


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An empty MLflow database: its migrations take seconds, and every test starts with a copy."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(tmp_path, database, short_certificates, monkeypatch):
    """A working directory with an empty store in ``mlruns``, and MLflow as in a new process."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(database, tmp_path / "mlruns")
    set_by_mlflow = {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"}
    for key in set_by_mlflow | {key for key in os.environ if key.startswith("MLFLOW_")}:
        monkeypatch.setenv(key, "")  # so that it is as it was afterwards, even if there was none
        monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)

    def forget():
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)
        mlflow.tracking._model_registry.utils._registry_uri = mlflow.tracking.fluent._active_experiment_id = None
        mlflow.tracking.fluent._last_active_run_id.set(None)

    forget()
    yield tmp_path
    forget()


def test_a_run_records_all_that_it_depended_on(bars, store):
    result = walk_forward([EqualWeight(), BuyAndHold()], bars, progress=False)
    report = result.report(store / "r.html")
    with tracking.run("test", seed=3, training={"steps": 5}) as active:
        tracking.log_bars(bars, "test")
        tracking.log_metrics({"train/max drawdown": 0.5, "undefined": float("nan")}, step=7)
        tracking.log_result(result, report)
    client = mlflow.MlflowClient(tracking.connect())
    run = client.get_run(active.info.run_id)
    assert run.data.params == {"seed": "3", "training.steps": "5"}
    assert run.data.metrics == {"train/max_drawdown": 0.5}
    assert run.data.tags["git_commit"]
    assert run.inputs.dataset_inputs[0].dataset.digest == bars.hash[:36]
    found = {a.path for a in client.list_artifacts(run.info.run_id)}
    assert {"metrics.csv", "equity.csv", "r.html", "packages.json", "data", "plots"} <= found
    plots = {a.path for a in client.list_artifacts(run.info.run_id, "plots")}
    assert plots >= {"plots/equity.png", "plots/weights.png", "plots/months.png"}
    assert {p.name for p in store.iterdir()} == {"mlruns", "r.html"}
    assert {p.name for p in (store / "mlruns").iterdir()} == {"mlflow.db", "artifacts", "mlflow.db.lock"}


def test_regression_strategies_can_be_sorted_and_pages_say_what_they_show(bars, store):
    """There were 84 metrics with the strategy in their name in one run, no description, and pages for language models."""
    result = walk_forward([EqualWeight(), BuyAndHold()], bars, progress=False)
    with tracking.run("test") as parent:
        tracking.log_result(result)
    client = mlflow.MlflowClient(tracking.connect())
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "regimeshift" in experiment.tags[tracking.NOTE]
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    runs = client.search_runs([experiment.experiment_id], query, order_by=["metrics.sharpe DESC"])
    best = sorted(result, key=lambda b: -b.metrics["Sharpe"])
    assert [run.info.run_name for run in runs] == [b.name for b in best]
    for run, backtest in zip(runs, best, strict=True):
        assert run.data.metrics["sharpe"] == pytest.approx(backtest.metrics["Sharpe"])
        assert run.data.metrics["max_drawdown"] == pytest.approx(backtest.metrics["max drawdown"])
        assert run.data.params["costs"] == str(result.costs)
        assert backtest.name in run.data.tags[tracking.NOTE]
    note = client.get_run(parent.info.run_id).data.tags[tracking.NOTE]
    assert f"| {best[0].name} | {best[0].metrics['Sharpe']:.2f} |" in note
    assert not client.get_run(parent.info.run_id).data.metrics


def test_the_page_and_the_description_show_the_same_numbers(bars, store):
    result = walk_forward([EqualWeight(), BuyAndHold()], bars, progress=False)
    with tracking.run("test") as active:
        tracking.log_result(result, result.report(store / "r.html"))
    note = mlflow.MlflowClient(tracking.connect()).get_run(active.info.run_id).data.tags[tracking.NOTE]
    described = [line.strip("| ").split(" | ") for line in note.splitlines() if line.startswith("|")][2:]
    page = (store / "r.html").read_text()
    shown = re.findall(r"<tr>(.*?)</tr>", page[page.index("<tbody>") : page.index("</tbody>")])
    assert described == [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in shown]
    assert len(described) == 2


def test_a_description_of_the_users_is_kept_and_an_older_experiment_gets_its_kind(store):
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlruns/mlflow.db")
    number = client.create_experiment(tracking.EXPERIMENT, tags={tracking.NOTE: "mine"})
    tracking.connect()
    found = client.get_experiment(number)
    assert found.tags[tracking.NOTE] == "mine"
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"
    client.delete_experiment(number)
    with pytest.raises(InputError, match=f"was deleted; restore it with: .*--experiment-id {number}"):
        tracking.connect()


def test_regression_an_address_overrides_the_folder_and_says_so(store, monkeypatch):
    address = f"sqlite:///{store}/other/mine.db"
    (store / "mlruns").rename(store / "other")
    (store / "other" / "mlflow.db").rename(store / "other" / "mine.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.warns(UserWarning, match=rf"MLFLOW_TRACKING_URI is {address}, so root='.*unused' is not used"):
        assert tracking.connect(store / "unused") == address
    assert tracking.connect() == address
    assert {p.name for p in store.rglob("*")} == {"other", "mine.db", "mine.db.lock"}, (
        "nothing in the working directory"
    )


def test_a_folder_that_cannot_be_made_is_named(store):
    (store / "file").write_text("")
    with pytest.raises(InputError, match="MLflow's folder cannot be written to"):
        tracking.connect(store / "file" / "mlruns")


def state():
    """What of the process MLflow's functions, or ours, could have changed."""
    loggers = {name: logging.getLogger(name).level for name in ("", "mlflow", "alembic")}
    return (
        mlflow.get_tracking_uri(),
        mlflow.get_registry_uri(),
        mlflow.tracking.fluent._active_experiment_id,
        mlflow.active_run() and mlflow.active_run().info.run_id,
        mlflow.last_active_run() and mlflow.last_active_run().info.run_id,
        {k: v for k, v in os.environ.items() if k != "_MLFLOW_TELEMETRY_SESSION_ID"},  # comes and goes by itself
        list(warnings.filters),
        loggers,
        list(logging.getLogger().handlers),
    )


@pytest.mark.parametrize("opened", [False, True], ids=["no run", "an open run"])
@pytest.mark.parametrize("configured", [False, True], ids=["our store", "the user's store"])
def test_regression_the_users_mlflow_is_as_it_was(configured, opened, meta, bars, store, database):
    """After register, a run of the user's landed in our experiment; after load, their pickled models no longer loaded."""
    shutil.copy(database, store)  # where MLflow logs by default
    if configured:
        mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
        mlflow.set_registry_uri(mlflow.get_tracking_uri())
    mlflow.set_experiment("mine")
    if opened:
        mlflow.start_run()
    before = state()
    tracking.connect()
    assert state() == before
    result = walk_forward([meta], bars[1300:], progress=False)
    with tracking.run("ours") as active:
        assert mlflow.active_run().info.run_id == active.info.run_id
        assert mlflow.get_tracking_uri() == tracking.connect()
        tracking.log_result(result)
    assert state() == before
    version = registry.register("m", meta, result)
    assert state() == before
    assert registry.load("m/1").unwrap_python_model().strategy
    assert state() == before
    with pytest.raises(InputError, match="cannot be loaded"):
        registry.load("none")
    assert state() == before
    registered = mlflow.MlflowClient(tracking.connect()).get_model_version("m", str(version.number))
    assert registered.tags["data"] == bars.name
    with mlflow.start_run(nested=True) as run:
        pass
    assert mlflow.get_experiment(mlflow.get_run(run.info.run_id).info.experiment_id).name == "mine"


@pytest.mark.process
def test_regression_processes_may_create_a_store_at_once(tmp_path):
    """Four at once on a fresh SQLite store, named by MLFLOW_TRACKING_URI, failed in its migrations."""
    code = (
        "import os, mlflow.store.tracking.sqlalchemy_store\n"
        "from backtests import tracking\n"
        "children = []\n"
        "for _ in range(4):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        tracking.connect()\n"
        "        os._exit(0)\n"
        "    children.append(child)\n"
        "raise SystemExit(sum(os.waitpid(child, 0)[1] != 0 for child in children))\n"
    )
    address = f"sqlite:///{tmp_path}/store/m.db"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert mlflow.MlflowClient(address).get_experiment_by_name(tracking.EXPERIMENT)


@pytest.mark.process
def test_regression_a_notebook_without_ipywidgets_stays_quiet():
    """MLflow imports tqdm, which told every notebook to install ipywidgets."""
    code = (
        "import sys, types\n"
        "sys.modules['ipywidgets'] = None\n"
        "sys.modules['ipykernel.zmqshell'] = types.ModuleType('zmqshell')  # by which tqdm knows a notebook\n"
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=object)\n"
        "from backtests import tracking\n"
        "with tracking._quiet(): pass\n"
        "assert 'tqdm.auto' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_regression_the_hashes_of_training_are_those_of_the_loaded_bars(bars, store):
    """Tasks leave out bars, so the hash of theirs is none that `data` prints."""
    loaded, part = bars[700:], bars[700:900]
    with tracking.run("train") as active:
        tracking.log_bars(part, "training", whole=loaded)
    run = mlflow.MlflowClient(tracking.connect()).get_run(active.info.run_id)
    logged = json.loads(next(store.rglob("training.json")).read_text())
    assert (logged["data_hash"], logged["span_hash"]) == (bars.hash, loaded.span_hash)
    assert run.inputs.dataset_inputs[0].dataset.digest == loaded.span_hash[:36]
    assert (logged["bars"], logged["last"]) == (200, str(part.index[-1]))


def test_the_verdict_is_logged_with_each_strategy(bars, store):
    result = walk_forward([EqualWeight(), BuyAndHold()], bars, progress=False)
    found = verdict(result, trials=tracking.count_trials(result))
    with tracking.run("test") as parent:
        tracking.log_result(result, verdict=found)
    client = mlflow.MlflowClient(tracking.connect())
    whole = client.get_run(parent.info.run_id)
    assert whole.data.params == {"benchmark": "equal weight", "trials": "2"}
    assert found.sentences["buy and hold"] in whole.data.tags[tracking.NOTE]
    assert found.finding in whole.data.tags[tracking.NOTE]
    assert "verdict.csv" in {a.path for a in client.list_artifacts(parent.info.run_id)}
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and attributes.run_name = 'buy and hold'"
    (child,) = client.search_runs([whole.info.experiment_id], query)
    assert child.data.tags["verdict"] == found.sentences["buy and hold"]
    row = found.table.loc["buy and hold"]
    assert child.data.metrics["verdict/dsr"] == pytest.approx(row["dsr"])
    assert child.data.metrics["verdict/p"] == pytest.approx(row["p"])
    assert child.data.metrics["sharpe"] == pytest.approx(row["sharpe"])


def test_trials_are_counted_from_the_history(bars, store):
    """A setting counts once, however often it ran; other costs, rules or starts are other settings; other data are none."""
    first = walk_forward([EqualWeight(), BuyAndHold()], bars, progress=False)
    assert tracking.count_trials(first).count == 2
    for _ in range(2):
        with tracking.run("test"):
            tracking.log_result(first)
    assert tracking.count_trials(first).count == 2
    dear = walk_forward([EqualWeight()], bars, costs="50bp", progress=False)
    assert tracking.count_trials(dear).count == 3
    later = walk_forward([EqualWeight(), BuyAndHold()], bars[300:], progress=False)
    with tracking.run("test"):
        tracking.log_result(later)
    assert tracking.count_trials(first).count == 4
    longer = walk_forward([EqualWeight(), BuyAndHold()], bars[:-50], progress=False)
    assert tracking.count_trials(longer).count == 4, "newer bars are no new trial"
    other = walk_forward([EqualWeight()], samples.regime_bars(300, 5, 0), progress=False)
    assert tracking.count_trials(other).count == 1


def test_regression_settings_that_a_name_does_not_tell_are_trials(bars, store):
    """All are called "inverse volatility", and counted as one: the best of 4 was deflated as if it were the only one."""
    for window in (10, 20, 40, 40):
        with tracking.run("test"):
            tracking.log_result(walk_forward([InverseVolatility(window)], bars, progress=False))
    result = walk_forward([InverseVolatility(80)], bars, progress=False)
    assert tracking.count_trials(result).count == 4
    newer = walk_forward([InverseVolatility(80)], bars[:-1], progress=False)
    assert tracking.count_trials(newer).count == 3, "a setting on other bars may be one of those that are counted"


def test_regression_a_sweep_on_newer_bars_is_no_new_trial(bars, store):
    result = walk_forward([EqualWeight()], bars, progress=False)
    for some, shift in ((bars[:-9], 0.0), (bars, 0.1)):
        with tracking.run("sweep"):
            tracking.log_trials(some, "a grid", np.array([0.1, 0.2]) + shift)
    assert tracking.count_trials(result).count == 3


def test_the_trials_of_a_sweep_count_with_their_dispersion(bars, store):
    result = walk_forward([EqualWeight(), BuyAndHold()], bars, progress=False)
    ratios = np.array([0.1, 0.5, -0.3, np.nan, 1.2])
    for _ in range(2):
        with tracking.run("sweep"):
            tracking.log_trials(bars, "MovingAverageCross fast 5-50, slow 50-300", ratios)
    found = tracking.count_trials(result)
    assert found.count == 7
    known = [*ratios[np.isfinite(ratios)], *(b.metrics["Sharpe"] for b in result)]
    assert found.std == pytest.approx(np.std(known, ddof=1), rel=0.15)  # the NaN counts as one of mean 0.375
