import threading
import warnings

import numpy as np
import pytest
import walkers

from backtests import walk_forward
from backtests.engine.task_cuts import WindowTasks
from backtests.engine.walk_forward import _Seed
from backtests.report.page import _introduction
from backtests.sweeps import sweep
from markets import Bars, Costs, Execution, InputError, simulate
from metalearner import Ensemble, FineTune, Inner, Training
from strategies import BuyAndHold, EqualWeight, Momentum, Plan, PolicySettings, Strategy


class Watcher(Strategy):
    """Records the bars it is given."""

    name, adapts = "watcher", True

    def __init__(self):
        self.adapted, self.planned = [], []

    def adapt(self, bars):
        self.adapted.append(bars.with_past())
        other = Watcher()
        other.planned = self.planned
        return other

    def plan(self, bars):
        self.planned.append(bars)
        return Plan(np.full(bars.shape, 0.2))


def test_adaptation_sees_nothing_later_than_the_bar_it_decides_at(bars):
    watcher = Watcher()
    walk_forward([watcher], bars[1000:], every=200, check=False, progress=False)
    assert [len(b) for b in watcher.adapted] == [1001, 1201, 1401]
    # what the strategy adapted before would want at the bar of an adaptation is asked too, to say what changed
    asked = [(1000, 200), (1200, 200), (1200, 1), (1400, 100), (1400, 1)]
    assert [(b.past, len(b)) for b in watcher.planned] == asked


def test_a_rule_is_simply_simulated(bars):
    span = bars[500:]
    found = walk_forward([Momentum(50), BuyAndHold()], span, costs="20bp", every=10, progress=False)
    plan = Momentum(50).plan(span)
    expected = simulate(span, plan.aim, costs="20bp")
    np.testing.assert_array_equal(found["momentum 50"].equity, expected.equity[0])
    assert np.count_nonzero(found["buy and hold"].traded) == 1


def test_quoted_spreads_are_charged_in_a_walk_forward_and_a_sweep(bars):
    quotes = np.random.default_rng(0).uniform(0, 0.01, bars.shape)
    span = bars.with_values(close=bars.close, spread=quotes)[500:]
    (found,) = walk_forward([Momentum(50)], span, costs="1bp+quoted", progress=False)
    expected = simulate(span, Momentum(50).plan(span), costs=Costs(commission=1e-4, spread="quoted"))
    np.testing.assert_array_equal(found.equity, expected.equity[0])
    swept = sweep(Momentum, {"window": [50]}, span, costs="1bp+quoted", progress=False)
    np.testing.assert_allclose(swept.table["CAGR"].iloc[0], found.metrics["CAGR"], rtol=1e-12)
    text = _introduction(walk_forward([Momentum(50)], span, costs="1bp+quoted", progress=False))
    assert "costs of 0.01% per side and half the quoted spread per side" in text


def test_a_learner_is_the_joined_plan_of_its_adaptations(bars, meta):
    span = bars[1300:]
    found = walk_forward([meta], span, every=63, progress=False)["RL2"]
    plan = meta.adapt(bars).plan(span)  # RL² adapts through its memory, so one plan equals the joined plans
    np.testing.assert_allclose(found.plan.aim, plan.aim, atol=1e-6)
    assert np.abs(found.weights.sum(axis=1)).max() <= 1 + 1e-9


def test_costs_come_off_equity(bars):
    free, dear = (walk_forward([EqualWeight()], bars, costs=c, progress=False)[0] for c in ("0bp", "50bp"))
    assert free.cost.sum() == 0
    assert dear.equity[-1] < free.equity[-1]
    assert dear.metrics["costs"] > 0


def test_jobs_change_nothing(bars):
    one, two = (walk_forward([EqualWeight(), Momentum(20)], bars, jobs=j, progress=False) for j in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.equity, b.equity)


def test_what_cannot_be_run(bars):
    with pytest.raises(InputError, match="two strategies are called 'equal weight'"):
        walk_forward([EqualWeight(), EqualWeight()], bars)
    with pytest.raises(InputError, match="momentum 2000 needs 2000 bars to warm up, but synthetic has 1500"):
        walk_forward([Momentum(2000)], bars, progress=False)
    with pytest.raises(InputError, match="every is 0"):
        walk_forward([EqualWeight()], bars, every=0)
    with pytest.raises(KeyError, match="no backtest 'x'; there are equal weight"):
        walk_forward([EqualWeight()], bars, progress=False)["x"]


def test_execution_is_honoured(bars):
    found = walk_forward([EqualWeight()], bars, execution=Execution(max_weight=0.1), progress=False)[0]
    assert found.metrics["exposure"] == pytest.approx(0.3, abs=0.01)


def test_results_in_sample_are_warned_about(bars, meta):
    with pytest.warns(UserWarning, match="RL2 has learnt from bars up to .* in sample"):
        walk_forward([meta], bars[1000:], progress=False)


def test_regression_a_span_of_one_or_two_bars_is_one_line(bars):
    """One bar was a division by zero, two bars were a turnover of 182 a year."""
    for k, text in ((1, "1 bar from"), (2, "2 bars from")):
        with pytest.raises(InputError, match=f"{text} .* a backtest needs at least 3"):
            walk_forward([EqualWeight()], bars[-k:], progress=False)
    assert len(walk_forward([EqualWeight()], bars[-3:], progress=False)[0].equity) == 3


class WithHole(Strategy):
    name = "with a hole"

    def plan(self, bars):
        aim = np.zeros(bars.shape)
        aim[7, 2] = np.nan
        return Plan(aim)


def test_regression_an_aim_that_is_no_number_names_strategy_symbol_and_time(bars):
    with pytest.raises(InputError, match=rf"with a hole: plan: aim .* is nan; .* \(S2 at {bars.index[1007]}\)"):
        walk_forward([WithHole()], bars[1000:], progress=False)


def test_nothing_to_backtest(bars):
    with pytest.raises(InputError, match="nothing to backtest"):
        walk_forward([], bars)


class Stubborn(Strategy):
    """Adapts in place and returns itself."""

    name, adapts, weight = "stubborn", True, 0.0

    def adapt(self, bars):
        self.weight += 0.1
        return self

    def plan(self, bars):
        return Plan(np.full(bars.shape, self.weight))


def test_regression_a_strategy_that_returns_itself_is_still_adapted_again(bars):
    aim = walk_forward([Stubborn()], bars[1000:], every=200, progress=False)[0].plan.aim
    assert aim[[0, 200, 400], 0] == pytest.approx([0.1, 0.2, 0.3])


def test_the_ledger_of_a_backtest_adds_up_to_it(bars):
    result = walk_forward([EqualWeight(), Momentum(60)], bars["2003":], progress=False)
    trades, account = result.ledger("momentum 60")
    np.testing.assert_array_equal(account["equity"], result["momentum 60"].equity)
    assert trades["cost"].sum() == pytest.approx(result["momentum 60"].cost.sum(), rel=1e-12)


def test_regression_a_model_of_dates_is_run_on_bars_with_a_time_zone(bars):
    """Comparing the two was a raw TypeError."""
    zoned = Bars.make(bars.index.tz_localize("Europe/Paris"), bars.symbols, bars.close)[1300:]
    rule = EqualWeight()
    rule.seen_until = bars.index[1200]  # without a zone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walk_forward([rule], zoned, progress=False)
    rule.seen_until = bars.index[1350]
    with pytest.warns(UserWarning, match="in sample"):
        walk_forward([rule], zoned, progress=False)
    rule.seen_until = zoned.index[0]
    with pytest.raises(InputError, match=r"equal weight: seen_until .* has a UTC offset, but the times of the data"):
        walk_forward([rule], bars[1300:], progress=False)


TASKS = WindowTasks(40, 20, 60)
LEARNT = {"every": 40, "retrain_every": "6M", "tasks": TASKS, "progress": False}


class Looking(walkers.MeanLearner):
    """Records what it is trained on."""

    def fit(self, tasks, validation, *, progress):
        seen.append((tasks, validation))
        return super().fit(tasks, validation, progress=progress)


seen: list = []


@pytest.mark.parametrize("purge", [0, 7])
def test_a_learner_is_trained_on_the_bars_before_each_fold(bars, purge):
    seen.clear()
    span = bars[700:]
    found = walk_forward([Looking()], span, purge=purge, **LEARNT)[0]
    assert len(seen) == len(found.folds) == 7
    edges = [fold.span[0] for fold in found.folds]
    assert edges == [span.index[0], *(t for t in edges[1:] if t.month in (1, 7) or t.month in (3, 9))]
    for fold, (tasks, validation) in zip(found.folds, seen, strict=True):
        row = bars.index.get_loc(fold.span[0])
        assert len(tasks.bars) + tasks.bars.past == row - purge  # nothing later is even held
        assert fold.trained_until == max(t.times[2] for t in (*tasks, *validation)) <= bars.index[row - purge - 1]
        assert fold.span[0] <= fold.adapted_until <= fold.span[1]
    assert found.folds[-1].span[1] == bars.index[-1]


def test_rolling_training_forgets_and_expanding_does_not(bars):
    firsts = {}
    for scheme in ("expanding", "rolling"):
        seen.clear()
        walk_forward([Looking()], bars[700:], scheme=scheme, train=400, **LEARNT)
        firsts[scheme] = [bars.index.get_loc(tasks[0].times[0]) for tasks, _ in seen]
        stops = [len(tasks.bars) + tasks.bars.past for tasks, _ in seen]
    assert len(set(firsts["expanding"])) == 1
    assert firsts["rolling"] == [stop - 400 for stop in stops]  # the bars before warm its features up


def test_one_account_runs_through_all_folds(bars):
    span = bars[700:]
    result = walk_forward([walkers.MeanLearner(), EqualWeight()], span, costs="20bp", **LEARNT)
    found = result["mean"]
    expected = simulate(span, found.plan, costs="20bp")
    np.testing.assert_array_equal(found.equity, expected.equity[0])
    for fold in found.folds[1:]:  # the plan of each fold is that of its own model
        row = bars.index.get_loc(fold.span[0])
        learner = walkers.MeanLearner()
        model = learner.fit(*TASKS(bars[:row]), progress=False)
        stretch = bars.rows(row, row + 5)
        np.testing.assert_array_equal(
            found.plan.aim[row - 700 : row - 695], model.adapt(bars[: row + 1]).plan(stretch).aim
        )
    assert found.fingerprint is not None
    assert result.benchmark == "equal weight"
    assert walk_forward([walkers.MeanLearner(), Momentum(20)], span, **LEARNT).benchmark == "momentum 20"


def test_events_say_what_an_adaptation_changed_at_one_bar(bars):
    found = walk_forward([walkers.MeanLearner()], bars[700:], controls=True, **LEARNT)
    mean, control = found
    assert control.name == "mean, unadapted"
    assert len(mean.events) > len(mean.folds)
    assert [e.time for e in mean.events if e.kind == "trained"] == [fold.span[0] for fold in mean.folds]
    assert not control.events
    assert mean.events[0].what == "trained, the first"
    event = next(e for e in mean.events if e.kind == "adapted")
    row = bars.index.get_loc(event.time)
    model = walkers.MeanLearner().fit(*TASKS(bars[:700]), progress=False)
    before, after = (model.adapt(bars[:r]).plan(bars.rows(row, row + 1)).aim[0] for r in (row - 39, row + 1))
    assert event.change == pytest.approx(np.abs(after - before).sum())
    k = int(np.abs(after - before).argmax())
    assert (event.symbol, event.before, event.after) == (bars.symbols[k], before[k], after[k])
    assert event.what.startswith(f"adapted: {event.symbol} ")


def test_seeds_train_it_once_each(bars):
    found = walk_forward([walkers.MeanLearner(), EqualWeight()], bars[1200:], seeds=(0, 5), **LEARNT)
    assert [b.name for b in found] == ["mean, seed 0", "mean, seed 5", "equal weight"]
    assert (found[0].plan.aim != found[1].plan.aim).any()
    with pytest.raises(InputError, match=r"mean, seed 0 has no with_seed\(seed\)"):
        walk_forward([_Seed(walkers.MeanLearner(), "mean, seed 0")], bars[1200:], seeds=(0,), **LEARNT)


def test_a_real_learner_is_retrained(bars):
    training = Training(steps=4, evaluate_every=2, evidence=None)
    learner = FineTune(PolicySettings(memory="none"), inner=Inner(support=40), step_sizes=(), training=training)
    found = walk_forward(
        [learner], bars[1200:], every=60, retrain_every="1Y", tasks=WindowTasks(40, 20), progress=False
    )[0]
    assert found.name == learner.name
    assert len(found.folds) == 2
    assert found.folds[0].trained_until != found.folds[1].trained_until
    assert np.isfinite(found.equity).all()
    assert learner.with_seed(3).training.seed == 3
    assert Ensemble(learner, 2).with_seed(3).learner.training.seed == 3
    assert Ensemble(learner, 2).name == f"2 × {learner.name}"


@pytest.mark.parametrize("fill", ["next_close", "same_close"])
@pytest.mark.filterwarnings("ignore:.*same_close")
def test_the_bar_behind_each_position_is_recorded(bars, fill):
    found = walk_forward([EqualWeight()], bars[1400:], execution=Execution(fill=fill), progress=False)[0]
    times = bars.index[1400:].to_numpy()
    if fill == "same_close":
        np.testing.assert_array_equal(found.known, times)
    else:
        assert np.isnat(found.known[0])
        np.testing.assert_array_equal(found.known[1:], times[:-1])
        assert not found.weights[0].any()
    np.testing.assert_allclose(found.returns, found.equity[1:] / found.equity[:-1] - 1)


def test_settings_of_folds_that_cannot_be(bars):
    with pytest.raises(InputError, match="scheme is 'sideways'; use \"expanding\""):
        walk_forward([EqualWeight()], bars, scheme="sideways")
    with pytest.raises(InputError, match="embargo is 3: in a walk-forward no training follows a test"):
        walk_forward([EqualWeight()], bars, embargo=3)
    with pytest.raises(InputError, match=r"are too few to train on"):
        walk_forward([walkers.MeanLearner()], bars, **LEARNT)


class Counter:
    """A learner that keeps what it learnt: each training of the same object holds a little more."""

    name = "counter"

    def __init__(self, keep=None):
        self.trained, self.keep = 0, keep

    def fit(self, tasks, validation, *, progress):
        self.trained += 1
        held, keep = Holds(0.01 * self.trained), self.keep

        class Learnt:
            name = "counter"

            def __init__(self):
                self.lock = keep and keep()

            def adapt(self, bars):
                return held

        return Learnt()


class Holds(Strategy):
    name = "counter"

    def __init__(self, weight):
        self.weight = weight

    def plan(self, bars):
        return Plan(np.full(bars.shape, self.weight))


def test_regression_folds_that_share_a_process_do_not_see_each_others_training(bars):
    """With one job each fold went on from the last (0.01, 0.02, ...), with two it did not; and the object was changed."""
    learner = Counter()
    found = walk_forward([learner], bars[900:], retrain_every=200, tasks=WindowTasks(40, 20, 60), progress=False)[0]
    assert len(found.folds) == 3
    assert np.unique(found.plan.aim).tolist() == [0.01]
    assert learner.trained == 0


def test_regression_what_a_learner_returned_may_hold_anything(bars):
    """A lock in it stopped the backtest with a TypeError: its content cannot be told."""
    options = {"retrain_every": 200, "tasks": WindowTasks(40, 20, 60), "progress": False}
    assert walk_forward([Counter(keep=threading.Lock)], bars[900:], **options)[0].fingerprint is None
