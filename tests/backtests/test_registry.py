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
import pandas as pd
import pytest
import samples
from policies import random_strategy

from backtests import registry, tracking, walk_forward
from markets import Bars, Features, InputError
from markets.features import Range, Return
from strategies import Blend, EqualWeight, Policy, PolicySettings, PolicyStrategy, Strategy


@pytest.fixture(scope="module")
def root(short_certificates, tmp_path_factory):
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
    assert registry.promote(built, root=root).difference <= 1e-6
    return built


def test_the_champion_has_the_weights_of_the_trained_model(version, meta, bars, root):
    model = registry.load("test-rl2", root=root)
    plan = meta.adapt(bars).plan(bars[-1:])
    found = registry.target_weights(model, bars)
    np.testing.assert_allclose(found["target_weight"], plan.aim[0], atol=1e-12)
    np.testing.assert_allclose(found["band"], plan.band[0], atol=1e-12)
    np.testing.assert_array_equal(found["rate"], 1.0)


def test_the_version_says_where_it_comes_from(version, bars, root):
    tags = registry.tags_of(version, root=root)
    assert tags["data_hash"] == bars.hash
    assert tags["span_hash"] == bars[1300:].span_hash
    assert json.loads(tags["symbols"]) == ["S0", "S1", "S2"]
    assert float(tags["reload_difference"]) <= 1e-6
    for key in ("backtest_Sharpe", "backtest_span", "costs", "execution", "git_commit", "package_torch", "fingerprint"):
        assert tags[key]


def test_nothing_that_was_stored_is_a_pickle(version, root):
    stored = [p for p in (root / "artifacts").rglob("*") if p.is_file()]
    assert any(p.name == "weights.safetensors" for p in stored)
    assert not [p for p in stored if p.suffix in (".pkl", ".pickle", ".pt", ".pth")]


def champion():
    return int(mlflow.MlflowClient().get_model_version_by_alias("test-rl2", "champion").version)


@pytest.mark.usefixtures("reloaded_here")
@pytest.mark.parametrize("trades", ["rate", "at_once"])
def test_regression_policies_that_trade_at_a_rate_or_at_once_are_served(trades, bars, root):
    """The rate was not served, and such a policy could not be promoted."""
    strategy = random_strategy(trades=trades)
    version = registry.register(trades, strategy, bars=bars, root=root)
    assert registry.promote(version, root=root).difference <= 1e-12
    found, plan = registry.target_weights(registry.load(trades, root=root), bars), strategy.plan(bars)
    zero, one = np.zeros(3), np.ones(3)
    np.testing.assert_allclose(found["target_weight"], plan.aim[-1], atol=1e-12)
    np.testing.assert_array_equal(found["band"], zero)
    np.testing.assert_allclose(found["rate"], one if plan.rate is None else plan.rate[-1], atol=1e-12)
    assert (trades == "rate") == (found["rate"] < 1).all()


def test_a_blend_is_deployed(bars, root):
    blend = Blend([random_strategy(0), random_strategy(1, context=5)], "two")
    registry.register("blend", blend, bars=bars, root=root)
    model = registry.load("blend/1", root=root)
    assert model.fingerprint == blend.fingerprint
    np.testing.assert_allclose(
        registry.target_weights(model, bars)["target_weight"], blend.plan(bars).aim[-1], atol=1e-12
    )


def test_a_champion_is_not_replaced_by_a_model_for_other_bars(version, meta, bars, root):
    four = samples.regime_bars(1500, 4, seed=1)
    with pytest.raises(
        InputError, match=r"champion of test-rl2 was made for S0, S1, S2 in bars 1 day apart, and this model for S0"
    ):
        registry.register("test-rl2", meta, bars=four, root=root)
    weekly = Bars.make(pd.date_range("2001-01-01", periods=1500, freq="W"), bars.symbols, bars.close)
    with pytest.raises(InputError, match="7 days apart; RL2 was trained on bars 1 day apart"):
        registry.register("test-rl2", meta, bars=weekly, root=root)
    assert registry.register("other", meta, bars=four, root=root).number == 1
    assert champion() == version.number


def test_regression_a_model_is_not_registered_on_bars_before_its_training_ended(meta, bars, root):
    with pytest.raises(InputError, match=r"has learnt from bars up to .*; register it on bars that end then or later"):
        registry.register("x", meta, bars=bars[:1000], root=root)


def test_regression_a_version_carries_the_backtest_that_mlflow_holds_of_its_model(meta, bars, root):
    first = meta.shrunk(0.5, "half")
    assert "backtest_Sharpe" not in registry.tags_of(registry.register("half", first, bars=bars, root=root), root=root)
    result = walk_forward([EqualWeight(), first], bars[1300:], progress=False)
    with tracking.run("backtest", root=root) as run:
        tracking.log_result(result)
    tags = registry.tags_of(registry.register("half", first, bars=bars, root=root), root=root)
    assert tags["backtest_run"] == run.info.run_id
    assert float(tags["backtest_Sharpe"]) == pytest.approx(result[1].metrics["Sharpe"], rel=1e-5)
    assert tags["backtest_span"] == f"{bars.index[1300]} to {bars.index[-1]}"
    others = bars.select(bars.symbols[:2])  # of which it is no backtest
    assert "backtest_Sharpe" not in registry.tags_of(registry.register("two", first, bars=others, root=root), root=root)


def test_what_cannot_be_registered_or_loaded(version, meta, bars, root):
    with pytest.raises(InputError, match=r"model 'none' cannot be loaded .* registered models: .*test-rl2"):
        registry.load("none", root=root)
    policy = Policy(PolicySettings(features=Features((Return(5), Range()))))
    with pytest.raises(InputError, match="reads the high, but synthetic has none"):
        registry.register("x", PolicyStrategy(policy, 5), bars=bars, root=root)
    with pytest.raises(
        InputError, match=r"x cannot be deployed: strategy: a Elsewhere .* load it with .*load_strategy"
    ):
        registry.register("x", Blend([EqualWeight(), Elsewhere()], "x"), bars=bars, root=root)
    with pytest.raises(InputError, match="has 200 bars, but 273 are needed"):
        registry.register("x", meta, bars=bars[-200:].without_past(), root=root)
    with pytest.raises(InputError, match="pass a result or bars"):
        registry.register("x", meta, root=root)
    with pytest.raises(InputError, match="model name 'a/b'"):
        registry.register("a/b", meta, bars=bars, root=root)
    other = meta.shrunk(0.3, "RL2")
    with pytest.raises(InputError, match="no backtest of this very RL2"):
        registry.register("x", other, walk_forward([meta], bars[1300:], progress=False), root=root)
    close = bars.close.copy()
    close[-3, 1] = np.nan
    close[-30:, 1] = np.nan
    with pytest.raises(InputError, match="S1 no longer trades"):
        registry.register("x", meta, bars=Bars.make(bars.index, bars.symbols, close), root=root)
    with pytest.raises(InputError, match="has 50 bars; the model reads"):
        registry.target_weights(registry.load("test-rl2", root=root), bars[:50])


class Elsewhere(Strategy):
    """Not in a file that a user has named."""

    def plan(self, bars):
        return EqualWeight().plan(bars)


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
    def ask(*requests):
        body = json.dumps({"dataframe_records": requests}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(request, timeout=60).read())["predictions"]

    def refused(request, message):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            ask(request)
        assert refusal.value.code == 400
        assert message in json.loads(refusal.value.read())["message"]

    model = registry.load("test-rl2", root=root)
    good = registry.request(model, bars)
    turned = registry.request(model, bars) | {"symbols": good["symbols"][::-1], "bars": [r[::-1] for r in good["bars"]]}
    whole = good | {"bars": [*good["bars"][:-1], [round(close) for close in good["bars"][-1]]]}
    gap = good | {"bars": [*good["bars"][:-1], [None, *good["bars"][-1][1:]]]}
    with served("models:/test-rl2@champion", root, tmp_path) as address:
        found = registry.target_weights(model, bars)
        first, second, _ = ask(good, turned, whole)
        np.testing.assert_allclose(first["target_weight"], found["target_weight"], atol=1e-12)
        np.testing.assert_allclose(first["rate"], 1.0)
        assert second["symbols"] == ["S2", "S1", "S0"]
        np.testing.assert_allclose(second["target_weight"][::-1], found["target_weight"], atol=1e-12)
        refused({"bars": good["bars"]}, "the request is without symbols")
        refused(good | {"symbols": ["S0", "S1", "AAPL"]}, "the request is without S2")
        refused(good | {"bars": [["dear"]]}, "row 0 of bars must hold 3 closes")
        refused(gap, "S0 has no close at")
        refused(good | {"times": good["times"][-10:], "bars": good["bars"][-10:]}, "has 10 bars; the model reads 273")


def test_regression_a_model_trained_on_times_without_a_zone_is_registered_on_bars_with_one(bars, root):
    """`TypeError: Cannot compare tz-naive and tz-aware datetime-like objects`."""
    strategy = random_strategy()
    strategy.seen_until = bars.index[-5]
    aware = Bars.make(bars.index.tz_localize("America/New_York"), bars.symbols, bars.close)
    with pytest.raises(InputError, match="has learnt from bars up to"):
        registry.register("zones", strategy, bars=aware[:-10], root=root)
    assert registry.register("zones", strategy, bars=aware, root=root).number == 1
    strategy.seen_until = aware.index[-5]
    with pytest.raises(InputError, match=r"seen_until .* has a UTC offset, but the times of the data have none"):
        registry.register("zones", strategy, bars=bars, root=root)


def test_regression_a_model_is_not_registered_on_bars_of_another_length(meta, bars, root):
    """Trained on daily bars, it became version 1 on hourly ones: there was no champion to compare with."""
    hourly = Bars.make(pd.date_range("2026-01-01", periods=len(bars), freq="h"), bars.symbols, bars.close, name="fx")
    with pytest.raises(InputError, match="bars of fx are 1 hour apart; RL2 was trained on bars 1 day apart"):
        registry.register("fx", meta, bars=hourly, root=root)
