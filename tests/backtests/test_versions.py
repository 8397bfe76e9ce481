"""Versions are loaded only as they were registered, without MLflow and without pickles, and decide as their backtest did."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from policies import random_strategy
from safetensors.torch import load_file, save_file

from backtests import deployment, registry, tracking, walk_forward
from markets import Bars, InputError
from strategies import Momentum


@pytest.fixture(scope="module")
def root(short_certificates, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("versions") / "mlruns"
        mlflow.set_tracking_uri(tracking.connect(root))  # for what the tests ask MLflow
        yield root
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def version(meta, bars, root):
    """A champion, which no gate has judged."""
    built = registry.register("test-rl2", meta, bars=bars, root=root)
    mlflow.MlflowClient().set_registered_model_alias(built.name, "champion", str(built.number))
    return built


@pytest.fixture
def challenger(version, bars, root):
    """A version that is not the champion."""
    strategy = random_strategy()
    strategy.seen_until = bars.index[-1]
    return registry.register("test-rl2", strategy, bars=bars, root=root)


def champion():
    return int(mlflow.MlflowClient().get_model_version_by_alias("test-rl2", "champion").version)


def forge(place):
    """Write the hashes beside the files anew."""
    hashes = {
        p.relative_to(place).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in place.rglob("*")
        if p.is_file() and p.name != "files.json"
    }
    (place / "files.json").write_text(json.dumps(hashes))


def weights_times(folder, factor):
    """Other weights, the decision that they make recorded as if it were the right one."""
    place = folder / "artifacts" / "strategy"
    weights = {k: v * factor if "last" in k else v for k, v in load_file(place / "weights.safetensors").items()}
    save_file(weights, place / "weights.safetensors")
    forge(place)
    strategy, contract = deployment.load(place)
    (place / "check.json").write_text(json.dumps(deployment.decide(strategy, contract, contract.bars)))


def edited(name, old, new):
    def edit(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def flipped(folder):
    path = folder / "artifacts/strategy/weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


TAMPERED = {
    "weights and their check": (lambda folder: weights_times(folder, 1.5), "artifacts/strategy/check.json was changed"),
    "a flipped bit": (flipped, "artifacts/strategy/weights.safetensors was changed"),
    "another base": (
        edited("artifacts/strategy/strategy.json", '"inverse_volatility"', '"equal_weight"'),
        "artifacts/strategy/strategy.json was changed",
    ),
    "other code": (edited("serving.py", "import mlflow", "import mlflow  # "), "serving.py was changed"),
    "no seen_until": (
        edited("artifacts/strategy/strategy.json", '"seen_until": "2006-09-29 00:00:00"', '"seen_until": null'),
        "artifacts/strategy/strategy.json was changed",
    ),
    "another contract": (edited("artifacts/strategy/contract.json", "2006", "2004"), "contract.json was changed"),
    "other requirements": (edited("requirements.txt", "torch", "torched"), "requirements.txt was changed"),
    "another MLmodel": (edited("MLmodel", "serving.py", "other.py"), "MLmodel was changed"),
    "a file more": (lambda folder: (folder / "artifacts/strategy/x.py").write_text(""), "x.py was added"),
    "a file less": (lambda folder: (folder / "conda.yaml").unlink(), "conda.yaml was removed"),
}


def test_regression_a_version_of_which_a_file_changed_is_neither_promoted_nor_loaded(challenger, version, root):
    """The decision recorded in the same artifact was all that was compared: "difference 0.0"."""
    folder = registry.verified(challenger, root=root)
    shutil.copytree(folder, root / "intact")
    for what, (tamper, message) in TAMPERED.items():
        tamper(folder)
        for refused in (registry.promote, lambda it, root: registry.load(f"{it.name}/{it.number}", root=root)):
            with pytest.raises(InputError, match=message) as refusal:
                refused(challenger, root=root)
            assert "\n" not in str(refusal.value), what
        shutil.rmtree(folder)
        shutil.copytree(root / "intact", folder)
    assert champion() == version.number
    assert registry.verified(challenger, root=root) == folder


def test_regression_a_version_that_was_loaded_is_still_what_was_registered(bars, root, monkeypatch):
    """Python kept compiled code among its files: after the first promotion no command would load the champion."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as it is on any machine but that of these tests
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    version = registry.register("loaded", Momentum(20), bars=bars, root=root)
    registry.promote(version, root=root)  # in a process of its own
    registry.load("loaded", root=root).unwrap_python_model()  # as the server does
    assert not list(registry.verified(version, root=root).rglob("*.pyc"))


@pytest.mark.usefixtures("reloaded_here")
def test_a_version_that_decides_or_is_otherwise_than_recorded_is_not_promoted(challenger, version, root):
    """Even if the hashes of the files were forged too."""
    folder, client = registry.verified(challenger, root=root), mlflow.MlflowClient()

    def record():
        forge(folder / "artifacts/strategy")
        hashes = {
            p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file() and p.name != "registered_model_meta"
        }
        client.set_model_version_tag(challenger.name, str(challenger.number), "files", json.dumps(hashes))

    check = folder / "artifacts/strategy/check.json"
    text = json.loads(check.read_text())
    check.write_text(json.dumps(text | {"band": [text["band"][0] + 1e-3, *text["band"][1:]]}))
    record()
    with pytest.raises(InputError, match=r"differ by 0.001 .*not promoted"):
        registry.promote(challenger, root=root)
    weights_times(folder, 1.5)
    record()
    with pytest.raises(InputError, match="its weights are not those that were registered"):
        registry.promote(challenger, root=root)
    client.delete_model_version_tag(challenger.name, str(challenger.number), "files")
    with pytest.raises(InputError, match="registered without the hashes of its files"):
        registry.promote(challenger, root=root)
    assert champion() == version.number


def test_regression_served_decisions_are_those_of_the_backtest_with_gaps(root):
    """A coin around the clock, a stock with its own hours, a coin listed late: registering was refused for the gaps."""
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=1600, freq="h")
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.004, (1600, 3)), axis=0))
    opened = (index.hour >= 14) & (index.hour <= 20) & (index.day_of_week < 5)
    close[~opened, 1] = np.nan
    close[:1480, 2] = np.nan
    close[1500::7, 2] = np.nan
    bars = Bars.make(index, ("COIN", "STOCK", "NEW"), close, name="mixed")
    strategy = random_strategy()
    registry.register("mixed", strategy, bars=bars[:1520], root=root)
    model, plan = registry.load("mixed/1", root=root), walk_forward([strategy], bars[1400:], progress=False)[0].plan
    for stop in range(1520, 1601, 4):
        found = registry.target_weights(model, bars[:stop])
        np.testing.assert_allclose(found["target_weight"], plan.aim[stop - 1401], atol=1e-12)
        np.testing.assert_allclose(found["band"], plan.band[stop - 1401], atol=1e-12)
    request = registry.request(model, bars)
    assert None in {row[1] for row in request["bars"]}
    answer = model.predict(pd.DataFrame([json.loads(json.dumps(request))])).iloc[0]
    np.testing.assert_allclose(answer["target_weight"], plan.aim[-1], atol=1e-12)
    with pytest.raises(InputError, match=r"STOCK has .* closes; the model reads 65 of each symbol"):
        model.predict(pd.DataFrame([{**request, "times": request["times"][-80:], "bars": request["bars"][-80:]}]))


def test_regression_a_champion_and_a_challenger_are_backtested_side_by_side(version, challenger, meta, bars, root):
    models = [registry.load(f"models:/test-rl2{which}", root=root) for which in ("@champion", f"/{challenger.number}")]
    assert [model.name for model in models] == [f"test-rl2/{version.number}", f"test-rl2/{challenger.number}"]
    assert [model.seen_until for model in models] == [meta.seen_until, bars.index[-1]]
    with pytest.warns(UserWarning, match="has learnt from bars up to"):
        result = walk_forward([*models, meta], bars[1310:], progress=False)
    np.testing.assert_allclose(result[0].equity, result[2].equity, rtol=1e-12)
    assert result[0].fingerprint == meta.fingerprint
    turned = bars.select(["S2", "S1", "S0"])
    np.testing.assert_allclose(models[0].plan(turned).aim[:, ::-1], models[0].plan(bars).aim, atol=1e-12)
    with pytest.raises(InputError, match="without S2"):
        models[0].plan(bars.select(["S0", "S1"]))


def test_the_callers_setting_about_pickles_is_left_alone(version, root, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    registry.load("test-rl2", root=root)
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" not in os.environ


class Bomb:
    """What runs code when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


@pytest.mark.process
def test_a_pickle_in_a_version_is_never_read(root, bars, tmp_path):
    """Not even if its hashes were forged in the database too, and MLflow is told that the model is a pickle."""
    marker, client = tmp_path / "ran", mlflow.MlflowClient()
    version = registry.register("bomb", Momentum(20), bars=bars, root=root)
    folder = registry.verified(version, root=root)
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Bomb(marker)))
    text = (folder / "MLmodel").read_text()
    assert "python_model: " not in text
    (folder / "MLmodel").write_text(
        text.replace("    python_function:", "  python_function:").replace(
            "model_code_path: ", "python_model: python_model.pkl\n    model_code_path_before: "
        )
    )
    for refused in (lambda: registry.promote(version, root=root), lambda: registry.load("bomb/1", root=root)):
        with pytest.raises(InputError, match=r"python_model\.pkl was added"):
            refused()
    hashes = {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "registered_model_meta"
    }
    client.set_model_version_tag("bomb", "1", "files", json.dumps(hashes))
    with pytest.raises(InputError, match="cannot be loaded in a fresh process"):
        registry.promote(version, root=root)
    model = registry.load("bomb/1", root=root)  # which reads JSON
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"(?i)pickle"):
        _ = model.model
    assert not marker.exists()


def test_regression_signal_refuses_a_symbol_that_no_longer_trades(version, bars, root):
    close = bars.close.copy()
    close[-40:, 2] = np.nan
    with pytest.raises(InputError, match="S2 no longer trades"):
        registry.target_weights(registry.load("test-rl2", root=root), Bars.make(bars.index, bars.symbols, close))


@pytest.mark.process
def test_regression_a_decision_does_not_wait_for_mlflow(version, root):
    """`signal` took eight seconds, most of them to import MLflow and to open its store."""
    code = (
        f"import sys; from backtests import registry; model = registry.load('test-rl2', root={str(root)!r})\n"
        "print(model.version.number, 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(version.number), "False"]
