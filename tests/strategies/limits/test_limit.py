import json

import causal
import numpy as np
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from backtests import walk_forward
from backtests.engine.lookahead import find_lookahead
from markets import InputError, Plan
from strategies import (
    BuyAndHold,
    DrawdownLimit,
    EqualWeight,
    Frozen,
    GroupLimit,
    InverseVolatility,
    KillSwitch,
    LeverageLimit,
    Momentum,
    Rebalanced,
    RebalancedOnDrift,
    Stops,
    Strategy,
    TurnoverLimit,
    VolatilityTarget,
    WeightLimit,
)
from strategies.limits.limit import not_yet_traded, scaled

GROUPS = {"S0": "one", "S1": "one"}
LIMITS = {
    "volatility": lambda s: VolatilityTarget(s, 0.3, halflife=3),
    "drawdown": lambda s: DrawdownLimit(s, 0.05, wait=3, window=12),
    "kill": lambda s: KillSwitch(s, since="2020-01-20", largest=0.2, one_bar=0.08),
    "frozen": lambda s: Frozen(s, since="2020-01-20"),
    "weight": lambda s: WeightLimit(s, 0.25),
    "leverage": lambda s: LeverageLimit(s, 0.6),
    "group": lambda s: GroupLimit(s, GROUPS, 0.4),
    "turnover": lambda s: TurnoverLimit(s, 0.1),
    "calendar": lambda s: Rebalanced(s, "week"),
    "drift": lambda s: RebalancedOnDrift(s, 0.02),
    "three": lambda s: WeightLimit(VolatilityTarget(TurnoverLimit(s, 0.2), 0.2, halflife=3), 0.3),
}
STRATEGIES = [InverseVolatility(5), Momentum(7), BuyAndHold()]
each_limit = pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)


@each_limit
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 58), strategy=st.sampled_from(STRATEGIES[:2]))
def test_a_row_is_the_same_whatever_comes_later(limit, seed, t, strategy):
    causal.whatever_comes_later(limit(strategy), seed, t)


@each_limit
@pytest.mark.parametrize("strategy", STRATEGIES[:2], ids=lambda s: s.name)
def test_a_row_is_the_same_wherever_the_bars_begin(limit, strategy):
    bars = samples.gappy_bars(np.random.default_rng(3), 120, 4)
    for first, last in ((0, 1), (1, 9), (37, 38), (41, 120)):
        causal.wherever_bars_begin(limit(strategy), bars, first, last)


@each_limit
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_without_trades_change_nothing(limit, seed):
    if limit in (LIMITS["kill"], LIMITS["frozen"]):
        return  # their `since` is a time, and the times of the bars differ
    causal.rows_without_trades_change_nothing(limit(Momentum(7)), seed)


@each_limit
def test_the_checker_finds_no_look_ahead(limit):
    bars = samples.gappy_bars(np.random.default_rng(5), 160, 4)
    for strategy in STRATEGIES[:2]:
        assert find_lookahead(lambda s=strategy: limit(s), bars[-100:], cuts=3, progress=False) == []


class Learnt(Strategy):
    """Adapts to what equal weight earned on the bars so far; planning before is an error."""

    name, adapts, seen_until, fingerprint, remark = "learnt", True, "2001", "abc", "learnt a lot"

    def plan(self, bars):
        raise AssertionError("it has to adapt first")

    def adapt(self, bars):
        held = bars.with_past()
        return Momentum(7) if len(held) % 2 else EqualWeight()


class Meta:
    """As a meta-policy: no strategy itself."""

    name, seen_until = "meta", None

    def adapt(self, bars):
        return EqualWeight()


@each_limit
def test_what_adapts_is_wrapped_once_it_has_adapted(limit):
    bars = samples.gappy_bars(np.random.default_rng(7), 60, 4)
    limited = limit(Learnt())
    assert limited.adapts
    adapted = limited.adapt(bars[:41])
    assert not adapted.adapts
    causal.same(adapted.plan(bars[40:]), limit(Momentum(7)).plan(bars[40:]))
    assert type(adapted) is type(limited)


@each_limit
def test_stops_are_kept(limit):
    bars = samples.gappy_bars(np.random.default_rng(7), 60, 4)
    plan = limit(Stops(InverseVolatility(5), loss=0.1, cooldown=3)).plan(bars)
    np.testing.assert_array_equal(plan.stop_loss, np.full(bars.shape, 0.1))
    np.testing.assert_array_equal(plan.cooldown, np.full(bars.shape, 3.0))


def test_a_meta_policy_can_be_limited():
    bars = samples.regime_bars(120, 3, seed=0)
    limited = WeightLimit(Meta(), 0.2)
    assert limited.adapts
    np.testing.assert_allclose(limited.adapt(bars).plan(bars).aim, 0.2)
    with pytest.raises(InputError, match="adapt it to bars first"):
        limited.plan(bars)
    found = walk_forward([limited, VolatilityTarget(Learnt(), halflife=3)], bars[60:], every=20, progress=False)
    assert [b.name for b in found] == ["meta, weights to 0.2", "learnt, volatility 0.1"]
    assert found[0].weights.max() < 0.21


@each_limit
def test_decisions_are_the_same_whatever_the_folds(limit):
    """A strategy that adapts to the same thing at each fold is planned piece by piece, one that does not at once."""
    bars = samples.gappy_bars(np.random.default_rng(11), 140, 4)[20:]

    class Same(Strategy):
        name, adapts = "same", True

        def plan(self, bars):
            return InverseVolatility(5).plan(bars)

        def adapt(self, bars):
            return InverseVolatility(5)

    once = walk_forward([limit(InverseVolatility(5))], bars, progress=False)[0]
    for every in (7, 31):
        pieces = walk_forward([limit(Same())], bars, every=every, progress=False)[0]
        causal.same(pieces.plan, once.plan)


def test_what_is_known_of_the_strategy_is_known_of_the_limit():
    limited = WeightLimit(Learnt(), 0.2)
    assert limited.seen_until == "2001"
    assert limited.remark == "learnt a lot"
    assert limited.fingerprint != WeightLimit(Learnt(), 0.3).fingerprint
    assert WeightLimit(EqualWeight()).fingerprint is None
    assert VolatilityTarget(Momentum(20), halflife=5).warmup == 50


@each_limit
def test_settings_go_through_json(limit):
    limited = limit(EqualWeight())
    again = type(limited)(limited.strategy, **json.loads(json.dumps(limited.settings)))
    assert again.settings == limited.settings
    assert again.name == limited.name


@each_limit
@pytest.mark.parametrize("symbols", [2, 3])
def test_few_symbols_and_few_bars(limit, symbols):
    for bars in (samples.regime_bars(40, symbols, seed=1), samples.regime_bars(3, symbols, seed=1)):
        for strategy in STRATEGIES:
            assert limit(strategy).plan(bars).aim.shape == bars.shape


def test_a_scaled_plan_trades_where_it_is_scaled_down():
    plan = Plan(np.ones((2, 2)), np.array([[np.inf, 0.1], [np.inf, 0.1]]))
    found = scaled(plan, np.array([[0.5], [1.0]]))
    np.testing.assert_array_equal(found.aim, [[0.5, 0.5], [1, 1]])
    np.testing.assert_array_equal(found.band, [[0, 0.05], [np.inf, 0.1]])


def test_a_decision_waits_until_its_symbol_trades():
    at = np.array([False, True, False, False, True, False])
    tradable = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [1, 1], [1, 1]], dtype=bool)
    found = not_yet_traded(at, tradable)
    np.testing.assert_array_equal(found.T, [[0, 1, 0, 0, 1, 0], [0, 1, 1, 1, 1, 0]])
