import mlflow
import pytest

from backtests import tracking, walk_forward
from markets import InputError
from strategies import EqualWeight


def test_a_run_records_all_that_it_depended_on(bars, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    result = walk_forward([EqualWeight()], bars, progress=False)
    report = result.report(tmp_path / "r.html")
    with tracking.run("test", seed=3, training={"steps": 5}) as active:
        tracking.log_bars(bars, "test")
        tracking.log_metrics({"train/max drawdown": 0.5, "undefined": float("nan")}, step=7)
        tracking.log_result(result, report)
    assert (tmp_path / "mlruns" / "mlflow.db").exists()
    run = mlflow.get_run(active.info.run_id)
    assert run.data.params == {"seed": "3", "training.steps": "5"}
    assert run.data.metrics["equal_weight/Sharpe"] == pytest.approx(result[0].metrics["Sharpe"])
    assert run.data.metrics["train/max_drawdown"] == 0.5
    assert run.data.tags["git_commit"]
    assert run.inputs.dataset_inputs[0].dataset.digest == bars.hash[:36]
    found = {a.path for a in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"metrics.csv", "equity.csv", "r.html", "packages.json", "data"} <= found
    assert {p.name for p in tmp_path.iterdir()} == {"mlruns", "r.html"}
    assert {p.name for p in (tmp_path / "mlruns").iterdir()} == {"mlflow.db", "artifacts", ".lock"}


def test_an_address_that_is_set_is_respected(tmp_path, monkeypatch):
    address = f"sqlite:///{tmp_path}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert tracking.connect(tmp_path / "unused") == address
    assert not (tmp_path / "unused").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="MLflow's folder cannot be written to"):
        tracking.connect(tmp_path / "file" / "mlruns")
