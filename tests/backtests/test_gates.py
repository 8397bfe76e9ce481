"""Each gate passes, fails or does not know, with its figure beside its threshold; then real versions pass through all of them.

That a new process loads a version is tested in test_registry.py and test_versions.py.
"""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from policies import random_strategy

from backtests import gates, registry, tracking, walk_forward
from backtests.certificate import Certificate, Check
from backtests.gates import STRICT, Rules
from backtests.side_by_side import SideBySide, of_history, of_result
from backtests.significance import Trials, deflated_sharpe
from markets import Features, InputError
from markets.common.statistics import returns_of
from strategies import EqualWeight, Momentum

FEATURES = Features.standard(horizons=(1, 5), volatility=20, short_volatility=8, averages=(20,))
GATES = ["files", "reload", "certificate", "champion", "deflated Sharpe", "latency", "freshness"]
INDEX = pd.bdate_range("2015-01-01", periods=1001)
WAY = "regimeshift backtest DATA"
NAMES = ("models:/x/2", "models:/x/1")


def account(drift, seed=0, bars=1000):
    returns = drift + 0.01 * np.random.default_rng(seed).standard_normal(bars)
    return 1e6 * np.cumprod(np.append(1.0, 1 + returns))


def both(drift, other, bars=1000):
    """A challenger that is the champion but for its drift and a little noise of its own."""
    one = account(drift, bars=bars)
    noise = np.cumprod(np.append(1.0, 1 + 0.001 * np.random.default_rng(1).standard_normal(bars)))
    return SideBySide(INDEX[: bars + 1], one * noise, account(other, bars=bars), Trials(3, 0.2), "run 1")


def test_a_challenger_that_is_surely_worse_fails_by_the_end_of_its_interval():
    worse, better = (gates.comparison(both(*d), NAMES, Rules(), WAY)[0] for d in ((0.0, 0.002), (0.002, 0.0)))
    gap = both(0.0, 0.002).difference(0.95)
    assert worse.passed is False
    assert worse.figure == gap.high < worse.threshold == 0
    assert worse.sentence == (
        f"Sharpe {gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] against models:/x/1, 2015-01-01 to 2018-11-01: "
        "worse with 95% confidence"
    )
    assert better.passed is True
    assert better.figure > 0


def test_a_difference_that_may_be_luck_passes():
    found = gates.comparison(both(0.0006, 0.0005), NAMES, Rules(), WAY)[0]
    assert found.passed is True
    assert found.sentence.endswith("not worse with 95% confidence")


def test_the_same_account_passes_and_needs_no_floor():
    equity = account(-0.002)
    first, record = gates.comparison(SideBySide(INDEX, equity, equity, Trials(9), "run"), NAMES, Rules(), WAY)
    assert first.passed is True
    assert first.sentence.startswith("the same account as models:/x/1")
    assert record.passed is True
    assert record.figure < 0.5


def test_what_replaces_a_champion_has_a_deflated_sharpe_ratio_above_the_floor():
    found = both(0.0001, 0.0001)
    expected = deflated_sharpe(returns_of(found.equity), 3, 0.2 / np.sqrt(INDEX.size / 3.83))
    assert found.deflated == pytest.approx(expected, abs=0.02)  # bars a year, as counted from the index
    for floor in (found.deflated - 0.01, found.deflated + 0.01):
        gate = gates.comparison(found, NAMES, Rules(deflated=floor), WAY)[1]
        assert gate.passed is (gate.figure >= floor)
    assert "after 3 trials" in gate.sentence


def test_what_is_not_on_record_is_not_known_and_says_how_to_get_it():
    alone = SideBySide(INDEX, account(0.001), None, Trials(1), "run")
    for found, known in ((None, [None, None]), (alone, [None, True])):
        one = gates.comparison(found, NAMES, Rules(), WAY)
        assert [gate.passed for gate in one] == known
        assert one[0].sentence == f"no backtest of both is on record; get one with: {WAY}"
    short = gates.comparison(both(0.0, 0.0, bars=20), NAMES, Rules(), WAY)
    assert [gate.passed for gate in short] == [None, None]
    assert "too short" in short[0].sentence
    assert short[0].stops(gates.STRICT)
    assert not short[0].stops(Rules())


def test_the_first_champion_has_nothing_to_beat():
    for found in (None, SideBySide(INDEX, account(-0.002), None, Trials(1), "run")):
        one = gates.comparison(found, ("models:/x/1", None), Rules(), WAY)
        assert [gate.passed for gate in one] == [True, True]
    assert one[0].sentence == "the first champion has nothing to beat"
    assert one[1].figure < 0.5


def test_latency_is_held_to_its_99th_percentile():
    seconds = [0.002] * 98 + [0.3, 0.4]
    gate = gates.latency(seconds, 0.5)
    assert gate.passed is True
    assert gate.figure == pytest.approx(np.quantile(seconds, 0.99))
    assert gate.sentence == f"a decision takes 2.0 ms (p50), {gate.figure * 1e3:.1f} ms (p99), and may take 500 ms"
    assert gates.latency(seconds, 0.1).passed is False


@pytest.mark.parametrize(
    ("last", "spacing", "now", "age", "passed", "figure"),
    [
        ("2026-01-05", 86400, "2026-01-08 00:00", 2, True, 2.0),  # a date is the end of its day
        ("2026-01-05", 86400, "2026-01-08 06:00", 2, False, 2.25),
        ("2026-01-05", 86400, "2026-01-05 06:00", 2, True, 0.0),
        ("2026-01-05 10:00", 3600, "2026-01-05 13:00", 4, True, 3.0),
        ("2026-01-05 10:00-05:00", 3600, "2026-01-05 18:00", 2, False, 3.0),
        ("2016-01-05", 86400, "2026-01-08 00:00", None, True, 3655.0),
    ],
)
def test_bars_are_fresh_within_an_age_in_bars(last, spacing, now, age, passed, figure):
    gate = gates.freshness(pd.Timestamp(last), spacing, pd.Timestamp(now, tz="UTC"), age)
    assert (gate.passed, gate.figure) == (passed, pytest.approx(figure))
    assert ("--history" in gate.sentence) is not passed


def test_a_reload_within_rounding_passes():
    assert gates.reload(1e-7).passed is True
    assert gates.reload(1e-3).passed is False
    assert gates.reload(np.nan).passed is False


def test_a_certificate_holds_for_its_model_its_data_and_its_code():
    good = Check("look-ahead", True, 249, "no look-ahead: 249 rows")
    bad = Check("warm-up", False, 9, "weights change by 0.1")
    whole = Certificate("f", "d", "s", "c" * 64, "2001 to 2002", 0, (good,))
    assert gates.certificate(whole, "f", "d", "c" * 64).passed is True
    for keys, words in (
        (("g", "d", "c" * 64), "that of another model"),
        (("f", "e", "c" * 64), "made on other data"),
        (("f", "d", "e" * 64), "made by other code (cccccccccccc, and this is eeeeeeeeeeee)"),
    ):
        gate = gates.certificate(whole, *keys)
        assert gate.passed is False
        assert words in gate.sentence
    failed = gates.certificate(Certificate("f", "d", "s", "c", "", 0, (good, bad)), "f", "d", "c")
    assert (failed.passed, failed.figure, failed.threshold) == (False, 1.0, 2.0)
    assert failed.sentence == "the certificate does not hold: weights change by 0.1"
    untold = Check("warm-up", None, 0, "3 bars are too few")
    assert gates.certificate(Certificate("f", "d", "s", "c", "", 0, (good, untold)), "f", "d", "c").passed is None
    assert gates.certificate(None, "f", "d", "c").passed is None


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"deflated": 1.0}, {"latency": 0.0}, {"age": 0.0}])
def test_rules_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Rules(**wrong)


# ------------------------------------------------------------------------------------------- real versions


@pytest.fixture(scope="module")
def root(short_certificates, tmp_path_factory):
    """A store of its own, in which certificates are short and versions are not loaded in a new process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(registry, "prove", lambda *_: 0.0)
        root = tmp_path_factory.mktemp("promotion") / "mlruns"
        mlflow.set_tracking_uri(tracking.connect(root))
        yield root
        mlflow.set_tracking_uri(None)


@pytest.fixture
def pair(root, bars, request):
    """Two versions of a name, and a backtest of both that nobody has logged."""
    models = [random_strategy(seed, 3, f"random {seed}", features=FEATURES) for seed in (0, 1)]
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


def test_regression_rules_are_compared_with_their_champion(bars, root):
    """Rules that were loaded from the registry had no fingerprint, so no backtest of them was ever found."""
    first, second = (registry.register("trend", Momentum(window), bars=bars, root=root) for window in (20, 60))
    registry.promote(first, root=root)
    models = [registry.load(f"trend/{version.number}", root=root) for version in (first, second)]
    result = walk_forward(models, bars[1200:], progress=False, check=False)
    for model, backtest in zip(models, result, strict=True):
        tags = registry.tags_of(model.version, root=root)
        assert backtest.fingerprint == model.fingerprint == tags["fingerprint"]
    gap = of_result(result, [models[1].fingerprint], [models[0].fingerprint]).difference(0.95)
    with pytest.raises(registry.NotPromoted) as refusal:  # which shows all gates, whatever they find
        registry.promote(second, Rules(deflated=0.999999), result=result, root=root)
    assert by_name(refusal.value.gates)["champion"].figure == pytest.approx(gap.high)


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
