"""Register, check, promote, load and serve, with a real registry, process and server."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
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
import torch
from safetensors.torch import load_file, save_file

from backtests import certificate, deployment, registry, tracking, walk_forward
from backtests.request import from_request, to_request
from markets import Bars, Features, InputError
from markets.features import Calendar, Range, Return
from strategies import Blend, EqualWeight, Momentum, Policy, PolicySettings, PolicyStrategy, Strategy

FEATURES = Features.standard(horizons=(1, 5, 21), volatility=30, short_volatility=8, averages=(20,))


def random_strategy(seed=0, context=20, name="random", **options):
    """A policy with random weights, so that it trades."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(PolicySettings(**{"features": FEATURES} | options))
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(policy.eval(), context, name)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("registry") / "mlruns"
        patch.setattr(certificate, "ROWS", 5)  # test_certificate.py has more of them
        patch.setattr(certificate, "FUZZED", 5)
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


def test_the_callers_setting_about_pickles_is_left_alone(version, root, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", raising=False)
    registry.load("test-rl2", root=root)
    assert "MLFLOW_ALLOW_PICKLE_DESERIALIZATION" not in os.environ


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


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "UTC+05:30"])
@pytest.mark.parametrize("freq", ["h", "B"])
def test_regression_a_policy_that_reads_the_calendar_decides_in_the_zone_of_its_bars(zone, freq, tmp_path):
    """Served decisions were made in UTC, the backtest's in the zone of the data; weights differed by .19."""
    index = pd.date_range("2024-01-01", periods=400, freq=freq, tz=zone)
    close = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, (400, 3)), axis=0))
    bars = Bars.make(index, ("A", "B", "C"), close)
    strategy = random_strategy(features=Features((Return(5, 63), Calendar())), base="equal_weight")
    aim = strategy.plan(bars).aim
    contract = deployment.make_contract(strategy, bars[:380])
    deployment.save(strategy, contract, tmp_path)
    loaded, read = deployment.load(tmp_path)
    assert str(read.bars.index.tz) == str(index.tz)
    recorded = json.loads((tmp_path / "check.json").read_text())
    again = deployment.decide(loaded, read, from_request(*to_request(read.bars).values()))
    np.testing.assert_allclose(again["target_weight"], recorded["target_weight"], atol=1e-12)
    for end in range(380, 401, 4):
        elsewhere = bars[:end].in_zone("Asia/Tokyo")
        for asked in (elsewhere, from_request(*deployment.request(loaded, read, elsewhere).values())):
            found = deployment.decide(loaded, read, asked)
            np.testing.assert_allclose(found["target_weight"], aim[end - 1], atol=1e-12)
