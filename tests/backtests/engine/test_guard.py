"""A strategy whose plan changes when the future is cut stops the backtest; clean ones run, however they remember."""

import leaky
import numpy as np
import pandas as pd
import pytest
import samples

from backtests import walk_forward
from backtests.engine.guard import Guard
from markets import Execution, InputError
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum, Plan, Strategy
from strategies.optimal import Hindsight
from strategies.rules.long_short import ResidualMomentum, Reversal


@pytest.fixture(scope="module")
def span():
    return samples.regime_bars(900, 3, seed=5)[200:]


@pytest.fixture(scope="module")
def gaps(span):
    """The same bars with gaps, in which a back-fill shows."""
    held = span.with_past()
    close = held.close.copy()
    for row in range(230, 880, 9):
        close[row : row + 3, row % 3] = np.nan
    return held.with_values(close=close)[200:]


LEAKS = [
    leaky.OneBarLeak,
    leaky.CentredWindow,
    leaky.WholeSampleScore,
    leaky.SmoothedLabel,
    leaky.MonthlyLeak,
    Hindsight,
]


@pytest.mark.parametrize("make", LEAKS)
def test_planted_leaks_are_refused_with_their_bar(make, span):
    with pytest.raises(
        InputError, match=r"looks ahead: aim of S\d at 20\d\d-.* is .*, but .* cut off: it looks at least"
    ) as found:
        walk_forward([make()], span, progress=False)
    assert str(found.value).startswith(make().name)
    assert "check=False" in str(found.value)


@pytest.mark.parametrize("make", [*LEAKS, leaky.BackFill])
def test_strict_refuses_them_whatever_the_sample(make, gaps):
    with pytest.raises(InputError, match="looks ahead"):
        walk_forward([make()], gaps[-60:], check="strict", progress=False)


def test_a_backfill_is_refused_where_there_are_gaps(gaps):
    with pytest.raises(InputError, match="back-fill looks ahead"):
        walk_forward([leaky.BackFill()], gaps, check="strict", progress=False)


@pytest.mark.parametrize("part", ["band", "rate", "stop_loss", "trailing_stop"])
@pytest.mark.parametrize("check", [True, "strict"])
def test_a_leak_in_any_part_of_the_plan_is_refused(part, check, span):
    class Stopping(Strategy):
        name = "stopping"

        def plan(self, bars):
            rises = np.diff(bars.marks, axis=0, append=bars.marks[-1:]) > 0
            return Plan(np.full(bars.shape, 0.3), **{part: np.where(rises, 0.5, 0.1)})

    with pytest.raises(InputError, match=f"stopping looks ahead: {part} of S"):
        walk_forward([Stopping()], span[-80:], check=check, progress=False)


def test_regression_a_backfill_is_refused_by_default(gaps):
    """The sample was of rows where the plan moves, and a back-fill shows within gaps alone, so it passed."""
    with pytest.raises(InputError, match="back-fill looks ahead"):
        walk_forward([leaky.BackFill()], gaps, progress=False)


def test_it_is_off_only_by_saying_so(span):
    execution = Execution(fill="same_close")
    found = walk_forward([leaky.OneBarLeak()], span, check=False, execution=execution, progress=False)
    assert found[0].metrics["Sharpe"] > 5  # too good to be true


def test_a_leak_within_a_fold_of_an_adapting_strategy_is_refused(span):
    class Adapting(leaky.OneBarLeak):
        adapts = True

        def adapt(self, bars):
            return Adapting()

    with pytest.raises(InputError, match="one-bar leak looks ahead"):
        walk_forward([Adapting()], span, every=21, progress=False)


class Expanding(Strategy):
    """Clean, but remembers everything, which its warm-up does not say."""

    name, warmup = "expanding", 5

    def plan(self, bars):
        close = pd.DataFrame(bars.with_past().close)
        return Plan(np.nan_to_num((close > close.expanding().mean()).to_numpy()[bars.past :] / 3.0))


class SinceStart(Strategy):
    """Clean, but depends on where the backtest began."""

    name = "since the start"

    def plan(self, bars):
        return Plan(np.tanh(np.log(bars.marks / bars.marks[0])) / 3)


@pytest.mark.parametrize(
    "make",
    [leaky.CleanTrend, leaky.CleanScore, EqualWeight, BuyAndHold, InverseVolatility, Expanding, SinceStart,
     lambda: Momentum(60), lambda: Reversal(), lambda: ResidualMomentum(60)],
)  # fmt: skip
@pytest.mark.parametrize("check", [True, "strict"])
def test_clean_strategies_run(make, check, gaps):
    walk_forward([make()], gaps[-90:] if check == "strict" else gaps, check=check, progress=False)


def test_a_learnt_policy_runs(bars, meta):
    walk_forward([meta], bars[1300:], every=40, progress=False)


def test_dice_are_told_from_leaks(span):
    class Dice(Strategy):
        name = "dice"

        def plan(self, bars):
            return Plan(np.random.default_rng().random(bars.shape) / 3)

    with pytest.raises(InputError, match="dice plans differently when asked the same twice"):
        walk_forward([Dice()], span, progress=False)


def test_a_sample_is_the_same_each_time():
    assert Guard().pieces(100) == Guard().pieces(100)
    assert len(Guard().pieces(100)) == 3
    assert Guard(None).pieces(100) == set(range(100))
    assert Guard().pieces(1) == {0}
