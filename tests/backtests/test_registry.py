"""Register, check, promote, load and serve, with a real registry, process and server."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest

from backtests import registry, tracking, walk_forward
from markets import Bars, Features, InputError
from markets.features import Calendar, Range, Return
from strategies import EqualWeight, Policy, PolicySettings, PolicyStrategy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("registry") / "mlruns"
        mlflow.set_tracking_uri(tracking.connect(root))  # for what the tests ask MLflow
        yield root
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def version(meta, bars, root):
    result = walk_forward([meta, EqualWeight()], bars[1300:], progress=False)
    built = registry.register("test-rl2", meta, result, root=root)
    assert registry.promote(built, root=root) <= 1e-6
    return built


def test_the_champion_has_the_weights_of_the_trained_model(version, meta, bars, root):
    model = registry.load("test-rl2", root=root)
    plan = meta.adapt(bars).plan(bars[-1:])
    found = registry.target_weights(model, bars)
    np.testing.assert_allclose(found["target_weight"], plan.aim[0], atol=1e-6)
    np.testing.assert_allclose(found["band"], plan.band[0], atol=1e-6)


def test_the_version_says_where_it_comes_from(version, bars, root):
    built = mlflow.MlflowClient().get_model_version("test-rl2", str(version.number))
    assert built.tags["data_sha256"] == bars[1300:].hash
    assert float(built.tags["reload_difference"]) <= 1e-6
    for key in ("backtest_Sharpe", "backtest_span", "costs", "execution", "git_commit", "package_torch", "fingerprint"):
        assert built.tags[key]


def test_nothing_that_was_stored_is_a_pickle(version, root):
    stored = [p for p in (root / "artifacts").rglob("*") if p.is_file()]
    assert any(p.name == "weights.safetensors" for p in stored)
    assert not [p for p in stored if p.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def test_a_version_whose_weights_changed_is_not_promoted(version, meta, bars, root):
    other = registry.register("test-rl2", meta, bars=bars, root=root)
    check = max((root / "artifacts").rglob("check.json"), key=lambda p: p.stat().st_mtime)
    text = json.loads(check.read_text())
    text["band"][0] += 1e-3
    check.write_text(json.dumps(text))
    with pytest.raises(InputError, match=r"differ by 0.001 .*not promoted"):
        registry.promote(other, root=root)
    champion = mlflow.MlflowClient().get_model_version_by_alias("test-rl2", "champion")
    assert int(champion.version) == version.number


def test_what_cannot_be_registered_or_loaded(version, meta, bars, root):
    with pytest.raises(InputError, match=r"model 'none' cannot be loaded .* registered models: test-rl2"):
        registry.load("none", root=root)
    for part, reads in ((Calendar(), "the index"), (Range(), "the high, the low")):
        policy = Policy(PolicySettings(features=Features((Return(5), part))))
        with pytest.raises(InputError, match=f"reads {reads}; a deployed model is sent closes alone"):
            registry.register("x", PolicyStrategy(policy, 5), bars=bars, root=root)
    with pytest.raises(InputError, match="only torch policies are deployed"):
        registry.register("x", EqualWeight(), bars=bars, root=root)
    with pytest.raises(InputError, match="has 200 bars, but 273 are needed"):
        registry.register("x", meta, bars=bars[:200], root=root)
    with pytest.raises(InputError, match="pass a result or bars"):
        registry.register("x", meta, root=root)
    with pytest.raises(InputError, match="model name 'a/b'"):
        registry.register("a/b", meta, bars=bars, root=root)
    other = meta.shrunk(0.3, "RL2")
    with pytest.raises(InputError, match="no backtest of this very RL2"):
        registry.register("x", other, walk_forward([meta], bars[1300:], progress=False), root=root)
    close = bars.close.copy()
    close[-3, 1] = np.nan
    with pytest.raises(InputError, match="S1 has no close at"):
        registry.register("x", meta, bars=Bars.make(bars.index, bars.symbols, close), root=root)
    with pytest.raises(InputError, match="has 50 bars; the model reads"):
        registry.target_weights(registry.load("test-rl2", root=root), bars[:50])


@contextlib.contextmanager
def served(uri, root, folder):
    """The address of a real model server; if its port is taken meanwhile, another one is tried."""
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    log = folder / "log"
    for _ in range(3):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            uri,
            "--env-manager",
            "local",
            "--port",
            str(port),
        ]
        with log.open("w") as file:
            server = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=file, stderr=file, start_new_session=True
            )
        try:
            if answers(server, f"http://127.0.0.1:{port}/ping"):
                yield f"http://127.0.0.1:{port}"
                return
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, 15)
            server.wait()
        assert "address already in use" in log.read_text().lower(), log.read_text()
    raise AssertionError("three ports were taken before the server had them")


def answers(server, address):
    """Whether the server starts; waits as long as its process lives (limited by pytest's timeout)."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2)
            return True
        except OSError:
            time.sleep(0.2)
    return False


@pytest.mark.process
def test_a_real_server_answers_with_the_same_weights(version, bars, root, tmp_path):
    def ask(window):
        body = json.dumps({"dataframe_records": [{"bars": window}]}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(request, timeout=60).read())["predictions"][0]

    with served("models:/test-rl2@champion", root, tmp_path) as address:
        found = registry.target_weights(registry.load("test-rl2", root=root), bars)
        answer = ask(bars.close[-400:].tolist())
        np.testing.assert_allclose(answer["target_weight"], found["target_weight"], atol=1e-12)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask([["dear"]])
        with pytest.raises(urllib.error.HTTPError):
            ask(bars.close[-10:].tolist())


def test_regression_signal_refuses_a_symbol_that_no_longer_trades(version, bars, root):
    close = bars.close.copy()
    close[-40:, 2] = np.nan
    with pytest.raises(InputError, match="S2 no longer trades"):
        registry.target_weights(registry.load("test-rl2", root=root), Bars.make(bars.index, bars.symbols, close))
