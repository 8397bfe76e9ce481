"""A trial on a made-up file: it ends with a ladder, goes on after a kill, and blends seeds as a strategy would."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.real_market import __main__ as command
from benchmarks.real_market import contenders, models, trial, verdict
from benchmarks.real_market.comparison import Comparison
from benchmarks.real_market.contenders import Contender, variant
from benchmarks.real_market.frozen import FrozenAtFolds
from benchmarks.real_market.ladder import Rung
from benchmarks.real_market.protocol import Protocol
from benchmarks.real_market.task_cuts import LongTasks
from benchmarks.real_market.trial import Running, together, trade
from benchmarks.real_market.universes import across, of_user
from markets import Costs
from metalearner import RL2, Pathwise, Training
from strategies import Blend, EqualWeight, InverseVolatility, Momentum, MomentumBlend, PolicySettings, TrendFollowing

ROOT = Path(__file__).parents[3]
SMALL = PolicySettings(hidden=4)


def learner(setting):
    training = Training(steps=2, evaluate_every=2, evidence=None, seed=setting.seed)
    objective = Pathwise(costs=setting.costs, execution=setting.execution)
    return RL2(SMALL, objective, training, context=10, control="trained")


def memoryless(setting):
    return learner(setting).without_memory()


ONE = Contender("small", "adapted", learner, "plain", "equal weight", seeds=2)
NAMED = {c.name: c for c in contenders.CONTENDERS}
LEARNT = (
    ONE,
    variant(ONE, "plain", "control", "control"),
    variant(ONE, "cleared", "shown", "cleared"),
    variant(ONE, "another's", "shown", "others_past"),
)
FEW = (
    Contender("equal weight", "baseline", lambda _: EqualWeight()),
    Contender("momentum blend", "baseline", lambda _: MomentumBlend()),
    Contender("trend following", "baseline", lambda _: TrendFollowing(band=0.2)),
    Contender("inverse volatility", "pool", lambda _: InverseVolatility()),
    *LEARNT,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A wide CSV of 5 symbols and 2,000 days, the smallest that is promised to run."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(2e-4 + 0.01 * rng.standard_normal((2000, 5)), axis=0))
    path = tmp_path_factory.mktemp("bars") / "mine.csv"
    index = pd.bdate_range("2010-01-04", periods=2000, name="date")
    pd.DataFrame(close, index, ["a", "b", "c", "d", "e"]).to_csv(path)
    return path


@pytest.fixture(scope="module")
def protocol():
    return Protocol.read()


@pytest.fixture(scope="module")
def universe(file, protocol):
    return of_user(str(file), "10bp", 1.0, protocol)


@pytest.fixture(scope="module")
def traded(universe, tmp_path_factory):
    return trade(universe, FEW, Running(21, tmp_path_factory.mktemp("models")))


def test_every_contender_is_there_with_its_seeds_and_what_is_shown(traded):
    assert [*traded.backtests] == [c.name for c in FEW]
    assert [b.name for b in traded.backtests.values()] == [c.name for c in FEW]
    assert [b.name for b in traded.seeds["small"]] == ["small, seed 0", "small, seed 1"]
    assert [*traded.seeds] == [c.name for c in LEARNT]
    assert len(traded.backtests["small"].folds) == 2


def test_folds_are_trained_on_what_was_known(traded):
    for name in (c.name for c in LEARNT):
        account = traded.backtests[name]
        assert len(account.folds) == 2
        for fold in account.folds:
            assert fold.trained_until < fold.span[0]


def test_controls_and_what_is_shown_are_other_ways_to_deploy_the_models(universe, traded, tmp_path):
    """The control is the learner's own, trained without a memory: the same as if it had been trained by itself."""
    alone = Contender("alone", "control", memoryless, seeds=2)
    found = trade(universe, [alone], Running(21, tmp_path)).backtests["alone"]
    np.testing.assert_allclose(found.equity, traded.backtests["plain"].equity, rtol=1e-12)
    equities = [traded.backtests[c.name].equity for c in LEARNT]
    assert all(np.abs(a / b - 1).max() > 1e-9 for a, b in combinations(equities, 2))


def test_each_contender_is_trained_on_tasks_that_are_cut_as_it_says(universe, tmp_path, monkeypatch):
    cuts = {"short": LongTasks(query=63), "long": LongTasks(query=126), "as all": None}
    several = [
        Contender(name, "control", lambda _: FrozenAtFolds(EqualWeight()), tasks=cut) for name, cut in cuts.items()
    ]
    walked, seen = trial._walked, {}

    def noted(some, where, running, tasks):
        seen.update({strategy.name: tasks for strategy in some})
        return walked(some, where, running, tasks)

    monkeypatch.setattr(trial, "_walked", noted)
    trade(universe, several, Running(21, tmp_path))
    assert seen == cuts | {"as all": universe.tasks}


def test_one_policy_for_several_universes_sees_what_was_known_of_each(universe, tmp_path):
    whole = universe.bars.with_past()
    other = replace(universe, name="other", bars=whole.select(["a", "b"]).rows(900, 1900), costs=Costs.parse("1bp"))
    wide = Contender("wide", "control", memoryless, across=True)
    found = trade(universe, [wide], Running(21, tmp_path), across([universe, other])).backtests["wide"]
    assert models.kept(tmp_path) == (2, 0)
    assert len(found.folds) == 2
    for fold in found.folds:
        assert universe.bars.index[0] - pd.DateOffset(years=1) < fold.trained_until < fold.span[0]
    alone = trade(universe, [replace(wide, across=False)], Running(21, tmp_path)).backtests["wide"]
    assert models.kept(tmp_path) == (4, 0)
    assert not np.array_equal(alone.equity, found.equity)


def test_seeds_are_averaged_as_a_blend_averages(universe):
    parts = [Momentum(21), Momentum(63)]
    found = trade(universe, [Contender(p.name, "baseline", lambda _, p=p: p) for p in parts], Running(21, Path("none")))
    whole = Contender("blend", "baseline", lambda _: Blend(parts))
    blend = trade(universe, [whole], Running(21, Path("none"))).backtests["blend"]
    np.testing.assert_array_equal(together("x", [*found.backtests.values()], universe).equity, blend.equity)


def test_the_ladder_and_the_figures_are_complete(traded, protocol):
    comparison = Comparison({"mine": traded}, {c.name: c for c in FEW}, protocol.statistics | {"resamples": 200})
    small = replace_primary(protocol)
    rungs = verdict.climbed(comparison, small.primary, small)
    assert [r.number for r in rungs] == [1, 2, 3, 4, 5]
    assert all(isinstance(r.reached, bool) for r in rungs)
    assert verdict.alone(comparison, small) == {"small": rungs}
    assert "2 of 5 seeds" in rungs[3].why
    assert not rungs[3].reached
    found = verdict.rounded(verdict.figures(comparison, small, {"protocol": "x"}))
    keys = {f"rung_{k}" for k in range(1, 6)} | {
        "pooled_log_variance_ratio", "pooled_log_variance_ratio_low", "pooled_log_variance_ratio_high",
        "pooled_certainty_equivalent_gain", "pooled_certainty_equivalent_gain_low",
        "futures_sharpe_gain_over_memoryless", "futures_sharpe_gain_over_memoryless_low", "best_pooled_sharpe",
    }  # fmt: skip
    assert keys <= found.keys()
    assert found["futures_sharpe_gain_over_memoryless"] is None  # there are no futures in the file
    assert found["best_pooled_sharpe"] == pytest.approx(traded.backtests["small"].metrics["Sharpe"], abs=1e-5)
    log = np.log(np.var(traded.backtests["small"].returns) / np.var(traded.backtests["plain"].returns))
    assert found["pooled_log_variance_ratio"] == pytest.approx(log, abs=1e-5)
    assert json.loads(json.dumps(found)) == found


def replace_primary(protocol):
    entries = protocol.entries | {"primary": {"variance": "small", "certainty": "small"}}
    return replace(protocol, content=json.dumps(entries).encode())


def test_a_contender_that_did_not_trade_reaches_nothing(protocol):
    rungs = verdict.climbed(Comparison({}, NAMED, protocol.statistics), protocol.primary, protocol)
    assert [r.reached for r in rungs] == [False] * 5
    assert isinstance(rungs[3], Rung)


def test_two_contenders_are_judged_for_the_halves_of_risk_and_nothing_of_either_is_hidden(traded, protocol):
    """The short keys are of the one that is judged; both figures of both stand beside them, and the ladder of each alone."""
    both = {name: traded.backtests[name] for name in ("small", "plain", "cleared")}
    other = replace(ONE, name="cleared", base="inverse volatility")
    named = {c.name: c for c in FEW} | {"cleared": other}
    judged = replace(
        protocol, content=json.dumps(protocol.entries | {"primary": {"variance": "small", "certainty": "cleared"}}).encode()
    )  # fmt: skip
    comparison = Comparison({"mine": traded}, named, protocol.statistics | {"resamples": 200})
    found = verdict.figures(comparison, judged, {})
    log = {name: np.log(np.var(both[name].returns) / np.var(both["plain"].returns)) for name in ("small", "cleared")}
    certainty = {
        n: b.metrics["certainty equivalent"] - both["plain"].metrics["certainty equivalent"] for n, b in both.items()
    }
    assert found["pooled_log_variance_ratio"] == pytest.approx(log["small"])
    assert found["pooled_certainty_equivalent_gain"] == pytest.approx(certainty["cleared"])
    for kind, name in {"variance": "small", "certainty": "cleared", "returns": "cleared"}.items():
        assert found["primary"][kind]["name"] == name
        assert found["primary"][kind]["pooled_log_variance_ratio"] == pytest.approx(log[name])
        assert found["primary"][kind]["pooled_certainty_equivalent_gain"] == pytest.approx(certainty[name])
    rungs = verdict.climbed(comparison, judged.primary, judged)
    alone = verdict.alone(comparison, judged)
    assert {*alone} == {"small", "cleared"} == {*found["ladders"]}
    assert rungs[0] == alone["cleared"][0]
    assert rungs[3] == alone["cleared"][3]
    assert "small: log variance" in rungs[1].why
    assert "cleared: certainty equivalent" in rungs[1].why


def test_from_kept_models_nothing_is_trained_and_figures_are_the_same(universe, tmp_path, monkeypatch):
    first = trade(universe, LEARNT, Running(21, tmp_path))
    assert models.kept(tmp_path) == (4, 0)  # two folds of two seeds, each with its control
    monkeypatch.setattr(RL2, "fit", lambda *_, **__: pytest.fail("trained again"))
    second = trade(universe, LEARNT, Running(21, tmp_path))
    for name, account in first.backtests.items():
        np.testing.assert_array_equal(second.backtests[name].equity, account.equity)


SCRIPT = """
import sys; sys.path.insert(0, {here!r})
from pathlib import Path
import test_trial as t
universe = t.of_user(sys.argv[1], "10bp", 1.0, t.Protocol.read())
t.trade(universe, t.LEARNT[:2], t.Running(21, Path(sys.argv[2])))
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(file, universe, tmp_path, monkeypatch):
    models_, here = tmp_path / "models", str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(here=here), str(file), str(models_)]
    process = subprocess.Popen(run, env=environment, cwd=ROOT)
    until = time.monotonic() + 240
    while models.kept(models_)[0] < 2 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = models.kept(models_)[0]
    assert 2 <= kept <= 4
    trainings = []
    fit = RL2.fit
    monkeypatch.setattr(RL2, "fit", lambda self, *a, **k: trainings.append(1) or fit(self, *a, **k))
    resumed = trade(universe, LEARNT[:2], Running(21, models_))
    assert len(trainings) == 2 * (4 - kept)
    whole = trade(universe, LEARNT[:2], Running(21, tmp_path / "others"))
    np.testing.assert_array_equal(resumed.backtests["small"].equity, whole.backtests["small"].equity)


def run_command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["real_market", *map(str, words)])
    command.main()


def test_a_file_runs_from_the_command_line(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "CONTENDERS", FEW)
    monkeypatch.setattr(Protocol, "primary", {"variance": "small", "certainty": "small", "returns": "small"})
    run_command(
        monkeypatch, "--universe", file, "--costs", "5bp", "--models", tmp_path / "m", "--out", tmp_path / "out", "--quick"
    )  # fmt: skip
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["spans"] == {"mine": "2013-11-04 to 2017-09-01"}
    assert {f"rung_{k}" for k in range(1, 6)} <= found.keys()
    assert found["protocol"] == Protocol.read().sha256
    assert (found["models"], found["models_by_other_code"]) == (4, 0)
    assert any(found["protocol"] in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert "5 bp per side" in "\n".join(lines)
    page = (tmp_path / "out" / "real_market.md").read_text()
    assert "## The ladder" in page
    for picture in ("real_market_differences.png", "real_market_paths.png"):
        assert picture in page
        assert (tmp_path / "out" / picture).stat().st_size > 10_000


def test_a_look_at_every_test_span_that_is_read_is_recorded_before_any_bars_are_loaded(protocol, monkeypatch):
    """Also at those which one policy is trained on across universes; and none in development."""
    events = []
    monkeypatch.setattr(Protocol, "check_submitted", lambda *_: events.append("checked"))
    monkeypatch.setattr(command, "missing", lambda _: "")
    monkeypatch.setattr(
        command, "of_protocol", lambda rules, _, part, quick=False: events.append((part, rules.name)) or rules
    )
    monkeypatch.setattr(command, "across", lambda universes: None)
    monkeypatch.setattr(command.looks, "record", lambda spans, *_: events.append(("look", *spans)))
    monkeypatch.setattr(sys, "argv", ["real_market", "--universe", "fx"])
    command.opened(command.options(), protocol)
    rest = [name for name in protocol.universes if name != "fx"]
    assert events[:3] == ["checked", ("look", "fx"), ("look", *rest)]
    assert {*events[3:]} == {("test", name) for name in protocol.universes}
    events.clear()
    monkeypatch.setattr(sys, "argv", ["real_market", "--universe", "fx", "--development"])
    command.opened(command.options(), protocol)
    assert {*events} == {("development", name) for name in protocol.universes}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--universe", "nowhere.csv"), "real_market: nowhere.csv: no such file"),
        (("--universe", "stocks", "--universe", "mine.csv"), "real_market: mine.csv is not of the protocol, and stocks is"),
        (("--universe", "futures", "--development"), "real_market: futures is not in the cache yet: regimeshift data fetch"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(words, line, tmp_path, monkeypatch):
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        run_command(monkeypatch, *words)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_quoted_spreads_that_are_not_there(file, tmp_path, monkeypatch):
    monkeypatch.setenv("REGIMESHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "CONTENDERS", FEW[:1])
    with pytest.raises(SystemExit, match="spread"):
        run_command(monkeypatch, "--universe", file, "--costs", "quoted", "--models", tmp_path)


def test_a_contender_trades_its_universes_and_any_users():
    one = replace(contenders.CONTENDERS[0], on=("futures",))
    assert one.trades("futures", ["futures", "fx"])
    assert not one.trades("fx", ["futures", "fx"])
    assert one.trades("mine", ["futures", "fx"])
