"""Planted leaks are found, clean strategies pass."""

import leaky
import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.engine.lookahead import find_lookahead
from markets import InputError
from markets.synthetic import LinearCost
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum, Plan, Strategy
from strategies.optimal import Hindsight
from strategies.user_file import load_strategy


@pytest.fixture(scope="module")
def span():
    return samples.regime_bars(700, 3, seed=5)[200:]


def find(make, bars, **options):
    return find_lookahead(make, bars, progress=False, **options)


@pytest.mark.parametrize(
    ("make", "ahead"),
    [(leaky.OneBarLeak, 1), (leaky.BackFill, 1), (leaky.CentredWindow, 5), (leaky.WholeSampleScore, 100),
     (leaky.SmoothedLabel, 1), (Hindsight, 1)],
)  # fmt: skip
def test_a_planted_leak_is_found(make, ahead, span):
    leaks = find(make, span)
    assert leaks
    assert max(leak.ahead for leak in leaks) >= ahead
    assert "bars ahead" in str(leaks[0]) or "bar ahead" in str(leaks[0])


def test_regression_a_leak_that_trades_once_a_month_is_found_with_any_seed(span):
    """With twelve random cuts, a leak on the 21st of each month was missed for eight seeds of twelve."""
    for seed in range(4):
        assert find(leaky.MonthlyLeak, span, seed=seed)


def test_regression_a_strategy_object_is_copied_so_that_it_forgets(span):
    assert find(load_strategy(f"{leaky.__file__}:remembers"), span)


def test_regression_changing_the_future_keeps_the_tradable_mask():
    """The tradable mask was lost, and a clean strategy that reads it was reported."""

    class Tradable(Strategy):
        name = "tradable"

        def plan(self, bars):
            return Plan(bars.tradable * 0.5)

    assert find(Tradable, LinearCost(length=100).sample(5, 0).bars()) == []


class BySpread(Strategy):
    """Holds less of what is dear to trade, by the spread that is quoted `ahead` bars later."""

    name = "by spread"

    def __init__(self, ahead=0):
        self.ahead = ahead

    def plan(self, bars):
        quotes = np.vstack([bars.spread[self.ahead :], np.repeat(bars.spread[-1:], self.ahead, axis=0)])
        return Plan(0.3 / (1 + 100 * np.nan_to_num(quotes)))


def test_a_later_quoted_spread_is_a_leak_and_an_earlier_one_none(span):
    quotes = np.random.default_rng(0).uniform(0, 0.9, span.with_past().shape)
    bars = span.with_values(close=span.with_past().close, spread=quotes)
    assert find(BySpread, bars, tolerance=0.0) == []
    assert {leak.how for leak in find(lambda: BySpread(1), bars)} == {"cut off", "scrambled"}
    with pytest.raises(InputError, match="by spread looks ahead"):
        walk_forward([BySpread(1)], bars, costs="quoted", progress=False)


@pytest.mark.parametrize(
    "make",
    [leaky.CleanTrend, leaky.CleanScore, EqualWeight, BuyAndHold, InverseVolatility, lambda: Momentum(60)],
)
def test_clean_strategies_pass_to_the_bit(make, span):
    assert find(make, span, tolerance=0.0) == []


def test_a_learnt_policy_passes(meta, bars):
    assert find(lambda: meta, bars[-400:], cuts=3) == []


def test_one_symbol_is_enough_to_find_a_back_fill():
    assert find(leaky.BackFill, samples.regime_bars(300, 1, seed=3))


def test_what_cannot_be_checked(span):
    class Dice(Strategy):
        name = "dice"

        def plan(self, bars):
            return Plan(np.random.default_rng().random(bars.shape))

    class Broken(Strategy):
        name = "broken"

        def plan(self, bars):
            raise KeyError("Close")

    class Array(Strategy):
        name = "array"

        def plan(self, bars):
            return np.zeros(bars.shape)

    class Whole(Strategy):
        name = "whole"

        def plan(self, bars):
            return Plan(np.zeros(bars.with_past().shape))

    with pytest.raises(InputError, match=r"array: plan\(bars\) returned ndarray; return strategies.Plan"):
        find(Array, span)
    with pytest.raises(InputError, match=r"shape \(700, 3\), but the visible bars make \(500, 3\).* from bars.past on"):
        find(Whole, span)
    with pytest.raises(InputError, match="cuts is 0"):
        find(EqualWeight, span, cuts=0)
    with pytest.raises(InputError, match="dice plans differently when asked the same twice: give its random"):
        find(Dice, span)
    with pytest.raises(InputError, match="broken fails on synthetic: KeyError: 'Close'"):
        find(Broken, span)
    with pytest.raises(InputError, match="59 bars are too few"):
        find(EqualWeight, span[:59])
