"""Promote, roll back and look at the history of real versions; that a new process loads them is tested in test_registry.py."""

import json

import mlflow
import numpy as np
import pytest
import torch

from backtests import certificate, registry, tracking, walk_forward
from backtests.gates import STRICT, Rules
from backtests.side_by_side import of_history, of_result
from markets import Features, InputError
from strategies import EqualWeight, Policy, PolicySettings, PolicyStrategy

FEATURES = Features.standard(horizons=(1, 5), volatility=20, short_volatility=8, averages=(20,))
GATES = ["files", "reload", "certificate", "champion", "deflated Sharpe", "latency", "freshness"]


def policy(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = Policy(PolicySettings(features=FEATURES))
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return PolicyStrategy(built.eval(), 3, f"random {seed}")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A store of its own, in which certificates are short and versions are not loaded in a new process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(certificate, "ROWS", 5)
        patch.setattr(certificate, "FUZZED", 5)
        patch.setattr(registry, "prove", lambda *_: 0.0)
        root = tmp_path_factory.mktemp("promotion") / "mlruns"
        mlflow.set_tracking_uri(tracking.connect(root))
        yield root
        mlflow.set_tracking_uri(None)


@pytest.fixture
def pair(root, bars, request):
    """Two versions of a name, and a backtest of both that nobody has logged."""
    models = [policy(0), policy(1)]
    name = request.node.name[:40].replace("[", " ").replace("]", "")
    versions = [registry.register(name, model, bars=bars, root=root) for model in models]
    return versions, walk_forward([*models, EqualWeight()], bars[1200:], progress=False, check=False)


def by_name(gates):
    return {gate.name: gate for gate in gates}


def test_the_first_champion_passes_all_gates_and_the_move_is_recorded(pair, root):
    (first, _), _ = pair
    found = registry.promote(first, root=root)
    assert [gate.name for gate in found.gates] == GATES
    assert all(gate.passed for gate in found.gates)
    assert found.difference == 0.0
    (move,) = registry.history(first.name, root=root)
    assert move == found.move
    assert (move.version, move.before, move.forced) == (1, None, ())
    assert list(move.gates) == GATES
    assert move.gates["champion"] == "passed: the first champion has nothing to beat"
    again = registry.promote(first, root=root)
    assert (again.move, again.gates) == (None, ())
    assert len(registry.history(first.name, root=root)) == 1


def test_the_certificate_is_a_tag_of_the_version(pair, bars, root):
    (first, _), _ = pair
    found = registry.certificate_of(first, root=root)
    assert found.fingerprint == registry.tags_of(first, root=root)["fingerprint"]
    assert found.data_hash == bars.hash
    assert json.loads(registry.tags_of(first, root=root)["certificate"])["checks"][0]["name"] == "look-ahead"
    mlflow.MlflowClient().delete_model_version_tag(first.name, "1", "certificate")
    assert registry.certificate_of(first, root=root) is None
    with pytest.raises(registry.NotPromoted, match="certificate: it was registered without one: register it again"):
        registry.promote(first, STRICT, root=root)


def test_what_is_not_on_record_stops_a_strict_promotion_and_the_message_says_how_to_get_it(pair, root):
    (first, second), result = pair
    registry.promote(first, root=root)
    way = f"regimeshift backtest synthetic --models models:/{first.name}@champion models:/{first.name}/2"
    with pytest.raises(registry.NotPromoted) as refusal:
        registry.promote(second, Rules(unknown=False), root=root)
    assert f"champion: no backtest of both is on record; get one with: {way}" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert [gate.passed for gate in refusal.value.gates] == [True, True, True, None, None, True, True]
    with tracking.run("backtest", root=root):
        tracking.log_result(result)
    found = of_history([result[1].fingerprint], [result[0].fingerprint])
    np.testing.assert_allclose(found.equity, result[1].equity)
    np.testing.assert_allclose(found.champion, result[0].equity)
    given = of_result(result, [result[1].fingerprint], [result[0].fingerprint])
    assert found.difference(0.95) == pytest.approx(given.difference(0.95))
    assert found.span == given.span
    rules = Rules(deflated=0.0, unknown=False)
    better, worse = (found.difference(0.95).high >= 0, found.difference(0.95).high < 0)
    assert better != worse
    if better:
        gates = by_name(registry.promote(second, rules, root=root).gates)
        assert gates["champion"].figure == pytest.approx(found.difference(0.95).high)


def test_a_challenger_below_the_floor_is_not_promoted_and_force_records_who_why_and_what(pair, root):
    (first, second), result = pair
    registry.promote(first, root=root)
    rules = Rules(deflated=0.999999)
    with pytest.raises(registry.NotPromoted, match=r"deflated Sharpe: .*; not promoted"):
        registry.promote(second, rules, result=result, root=root)
    assert len(registry.history(first.name, root=root)) == 1
    with pytest.raises(InputError, match="a forced promotion needs a reason"):
        registry.promote(second, rules, result=result, force=True, why=" ", root=root)
    found = registry.promote(second, rules, result=result, force=True, why="risk asked for it", root=root)
    forced = tuple(gate.name for gate in found.gates if gate.passed is False)
    assert found.move.forced == forced
    assert "deflated Sharpe" in forced
    last = registry.history(first.name, root=root)[-1]
    assert (last.why, last.forced, last.before, last.version) == ("risk asked for it", forced, 1, 2)
    assert "@" in last.who
    assert registry.load(first.name, root=root).version.number == 2
    assert registry.load(f"{first.name}@previous", root=root).version.number == 1


def test_not_even_force_promotes_what_cannot_be_loaded_and_rollback_checks_files_too(pair, root):
    (first, second), _ = pair
    registry.promote(first, root=root)
    registry.promote(second, root=root)
    file = registry.verified(first, root=root) / "artifacts/strategy/check.json"
    text = file.read_text()
    file.write_text(text + " ")
    with pytest.raises(InputError, match=r"check\.json was changed"):
        registry.rollback(first.name, root=root)
    with pytest.raises(registry.NotPromoted, match=r"files: artifacts/strategy/check\.json was changed") as refusal:
        registry.promote(first, force=True, why="hurry", root=root)
    assert len(refusal.value.gates) == 1
    file.write_text(text)
    move = registry.rollback(first.name, why="it loses", root=root)
    assert (move.kind, move.version, move.before, move.why) == ("rollback", 1, 2, "it loses")
    assert registry.load(first.name, root=root).version.number == 1


def test_old_bars_are_refused_where_their_age_matters(pair, root):
    (first, _), _ = pair
    with pytest.raises(
        registry.NotPromoted, match=r"freshness: its bars end at 2006-09-29, .* ago, and 10 bars \(10 days\)"
    ):
        registry.promote(first, STRICT, root=root)


def test_names_and_versions_that_are_not_there(root):
    with pytest.raises(InputError, match="there is no version 7 of 'nobody' in the registry"):
        registry.promote(registry.Version("nobody", 7), root=root)
    for command in (registry.rollback, registry.history):
        with pytest.raises(InputError, match="there is no registered model 'nobody'"):
            command("nobody", root=root)
