import itertools

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from backtests import metrics, walk_forward
from backtests.sweeps import Optimised, optimise, sweep
from markets import Bars, InputError
from strategies import EqualWeight, Momentum, MovingAverageCross

GRID = {"fast": [2, 5, 9], "slow": [12, 20, 40]}
SETTINGS = {"train": 150, "every": 40, "purge": 3}


@pytest.fixture(scope="module")
def bars():
    return samples.regime_bars(500, 3, seed=8)


@pytest.fixture(scope="module", params=["expanding", "rolling"])
def found(request, bars):
    return optimise(MovingAverageCross, GRID, bars, scheme=request.param, **SETTINGS)


def test_each_choice_is_the_best_on_the_bars_before_it(found, bars):
    """Computed here with the public sweep and metrics, on bars that end where the choice is made."""
    warm = 39  # bars before the first on which 40 closes are known
    for time, row in found.folds.iterrows():
        at = bars.index.get_loc(time)
        known = bars[: at + 1].rows(warm, at + 1)
        equity = sweep(MovingAverageCross, GRID, known, metrics=(), equity=True).equity
        first = warm if found.strategy.scheme == "expanding" else at + 1 - 3 - 150
        span, index = slice(first - warm, at + 1 - 3 - warm), bars.index[first : at + 1 - 3]
        none = np.zeros(len(index))
        scores = [metrics(index, curve[span], none, none, none[:, None])["Sharpe"] for curve in equity]
        best = found.strategy.grid.settings[int(np.argmax(scores))]
        assert best == {"fast": row["fast"], "slow": row["slow"]}
        assert row["in sample"] == pytest.approx(max(scores), rel=1e-12)


def test_the_first_fold_has_what_it_needs_and_no_more(found, bars):
    assert bars.index.get_loc(found.folds.index[0]) == 39 + 150 + 3 - 1
    assert found.backtest.index[0] == found.folds.index[0]
    assert found.trials == found.strategy.trials == 9


def test_one_account_trades_what_was_chosen(found, bars):
    aim = found.backtest.plan.aim
    for k, (time, row) in enumerate(found.folds.iterrows()):
        at = bars.index.get_loc(time)
        fast, slow = int(row["fast"]), int(row["slow"])
        expected = MovingAverageCross(fast, slow).plan(bars).aim[at : at + 40]
        np.testing.assert_array_equal(aim[40 * k : 40 * k + 40], expected)


def test_it_stands_in_a_walk_forward_beside_others(found, bars):
    """A new one, which remembers nothing, chooses the same by itself."""
    fresh = Optimised(MovingAverageCross, GRID, scheme=found.strategy.scheme, train=150, purge=3)
    span = bars[str(found.folds.index[0]) :]
    result = walk_forward([fresh, EqualWeight()], span, every=40, progress=False)
    np.testing.assert_array_equal(result[fresh.name].equity, found.backtest.equity)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(200, 480))
def test_a_choice_uses_nothing_that_comes_later(seed, cut):
    bars = samples.regime_bars(500, 3, seed=8)
    close = bars.close.copy()
    close[cut + 1 :] *= np.exp(np.random.default_rng(seed).normal(0, 0.3, close[cut + 1 :].shape))
    scrambled = Bars.make(bars.index, bars.symbols, close)
    one, other = (optimise(MovingAverageCross, GRID, b, choose="plateau", **SETTINGS) for b in (bars, scrambled))
    known = one.folds.index <= bars.index[cut]
    columns = ["fast", "slow", "in sample", "changed"]
    pd.testing.assert_frame_equal(one.folds.loc[known, columns], other.folds.loc[known, columns])
    upto = one.backtest.index <= bars.index[cut]
    np.testing.assert_array_equal(one.backtest.equity[upto], other.backtest.equity[upto])


def test_figures_out_of_sample_are_those_of_the_fold(found, bars):
    time, after = found.folds.index[1], found.folds.index[2]
    row = found.folds.iloc[1]
    at, last = bars.index.get_loc(time), bars.index.get_loc(after)
    span = bars.rows(39, len(bars))
    equity = sweep(MovingAverageCross, GRID, span, metrics=(), equity=True).equity[:, at - 39 : last + 1 - 39]
    none, index = np.zeros(last + 1 - at), bars.index[at : last + 1]
    scores = np.array([metrics(index, curve, none, none, none[:, None])["Sharpe"] for curve in equity])
    chosen = found.strategy.grid.settings.index({"fast": row["fast"], "slow": row["slow"]})
    assert row["out of sample"] == pytest.approx(scores[chosen], rel=1e-12)
    assert row["rank"] == (np.delete(scores, chosen) <= scores[chosen]).mean()


@pytest.mark.parametrize("left", [1, 2, 3])
def test_regression_a_short_last_fold_does_not_make_the_finding(bars, left):
    """Its Sharpe ratio stood in a mean as if it were a whole fold's, and without a ratio it ranked below all others."""
    chosen = optimise(MovingAverageCross, GRID, bars[: 192 + 40 * 3 + left - 1], **SETTINGS)
    assert len(chosen.folds) == 4
    assert f"the account that traded them {chosen.backtest.metrics['Sharpe']:.2f};" in chosen.section().finding
    last = chosen.folds.iloc[-1]
    assert np.isnan(last["rank"]) == np.isnan(last["out of sample"])
    assert np.isnan(last["rank"]) or left == 3


def test_regression_settings_that_do_the_same_are_not_beaten(bars):
    """All of one account ranked first of all: "it was ahead of 100% of the others"."""
    chosen = optimise(lambda window: EqualWeight(), {"window": [5, 20, 60]}, bars, **SETTINGS)
    assert (chosen.folds["rank"] == 0.5).all()
    assert "it was ahead of 50% of the others." in chosen.section().finding


def test_regression_a_single_setting_is_ahead_of_none(bars):
    finding = optimise(Momentum, {"window": [20]}, bars, **SETTINGS).section().finding
    assert finding.endswith("another setting was chosen 0 times.")


def test_regression_a_strategy_that_adapts_is_refused(bars):
    """Its settings were compared as adapted, and the chosen one was traded without."""

    class Adapting(Momentum):
        adapts = True

    with pytest.raises(InputError, match="Adapting adapts, and would be"):
        Optimised(Adapting, {"window": [5, 20]}, train=150)


def test_changes_are_counted(found):
    settings = list(zip(found.folds["fast"], found.folds["slow"], strict=True))
    assert found.changes == sum(a != b for a, b in itertools.pairwise(settings))


def test_a_function_may_choose(bars):
    found = optimise(Momentum, {"window": [5, 20, 60]}, bars, choose=lambda s: {"window": 20}, **SETTINGS)
    assert (found.folds["window"] == 20).all()
    assert found.changes == 0
    same = optimise(Momentum, {"window": [5, 20, 60]}, bars, choose=lambda s: s.best("Sharpe"), **SETTINGS)
    by_name = optimise(Momentum, {"window": [5, 20, 60]}, bars, **SETTINGS)
    pd.testing.assert_frame_equal(same.folds, by_name.folds)


def test_history_counts(bars):
    whole = optimise(MovingAverageCross, GRID, bars, **SETTINGS)
    late = optimise(MovingAverageCross, GRID, bars[300:], **SETTINGS)
    assert late.backtest.index[0] == bars.index[300]
    assert late.folds.index[0] == bars.index[300]
    assert whole.folds.index[0] < bars.index[300]


def test_the_section_states_how_stable_it_was(found):
    section = found.section()
    assert f"chosen {found.changes} time" in section.finding
    assert section.table is found.folds
    assert len(section.draw().data) == 4


def test_a_last_fold_of_one_bar_has_no_figure_out_of_sample(bars):
    found = optimise(MovingAverageCross, GRID, bars, train=150, every=len(bars) - 190)
    assert len(found.folds) == 2
    assert np.isnan(found.folds["out of sample"].iloc[1])
    assert "1 time" in found.section().finding or "0 times" in found.section().finding


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 2}, "train is 2"),
        ({"purge": -1}, "purge is -1"),
        ({"every": 0}, "every is 0"),
        ({"scheme": "sliding"}, "scheme is 'sliding'"),
        ({"choose": "turnover"}, "choose is 'turnover'"),
        ({"choose": lambda sweep: {"fast": 1, "slow": 2}}, "return a setting of the grid"),
        ({"train": 900}, "needs 942 bars to choose on.*has 500 bars"),
    ],
)
def test_what_cannot_be_optimised_is_refused(bars, change, message):
    with pytest.raises(InputError, match=message):
        optimise(MovingAverageCross, GRID, bars, **SETTINGS | change)


def test_it_must_adapt_before_it_plans(bars):
    with pytest.raises(InputError, match="adapt it to bars first"):
        Optimised(MovingAverageCross, GRID, train=100).plan(bars)
