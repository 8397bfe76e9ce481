"""Contributions add up to decisions, whatever the policy is; a planted feature is found; blends and limits keep the sum."""

import numpy as np
import pytest
import torch
from policies import FEATURES, random_strategy

from backtests.explain import attributable, explain, explain_span
from markets import HiddenMarkovRegimes, InputError
from strategies import Blend, EqualWeight, Momentum, Policy, PolicySettings, PolicyStrategy, RegimeGated, WeightLimit

COMPLETE = 1e-3  # of the account
KINDS = {
    "gru": {},
    "none": {"memory": "none", "context": 1},
    "belief": {"memory": "belief", "head": "film"},
    "transformer": {"memory": "transformer"},
    "kinks": {"activation": "relu", "memory": "none", "context": 1, "layers": 2},
    "long and short": {"tilt": "position", "limit": 0.5, "context": 8},
    "no base": {"base": "flat", "head": "hyper"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_add_up_on_five_hundred_decisions(bars, kind):
    """504 of them, on three symbols each, by seven kinds of policy."""
    strategy = random_strategy(3, **KINDS[kind])
    found = explain_span(strategy, bars[-72:])
    plan = strategy.plan(bars[-72:]).aim
    assert len(found.decision) * len(KINDS) >= 500
    np.testing.assert_allclose(found.decision, plan, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found.start + found.contributions.sum(axis=(0, 3)) + found.limited, plan, rtol=0, atol=COMPLETE
    )
    assert np.abs(found.residual).max() < 1e-4  # ten times closer than promised
    assert np.abs(found.limited).max() < 1e-12  # there are no limits
    assert np.abs(found.contributions).max() > 1e-3


def planted(feature: int, context: int = 10, **settings) -> PolicyStrategy:
    """A policy that tilts by one feature of the symbol at the last bar alone."""
    policy = Policy(PolicySettings(memory="none", layers=0, trades="at_once", features=FEATURES, **settings))
    with torch.no_grad():
        policy.body.last.weight.zero_()
        policy.body.last.weight[0, feature] = 0.7
    return PolicyStrategy(policy.eval(), context, "planted")


@pytest.mark.parametrize("settings", [{"base": "flat"}, {"tilt": "position"}, {}], ids=str)
@pytest.mark.parametrize("feature", [0, 4])
def test_a_planted_feature_explains_its_strategy(bars, feature, settings):
    name = FEATURES.names[feature]
    found = explain_span(planted(feature, **settings), bars[-40:])
    for symbol in (None, *bars.symbols):
        table = found.by_feature(symbol)["sum"]
        assert table.index[0] == name
        assert table[name] >= 0.99 * table.sum()
    last = explain(planted(feature, **settings), bars)
    of_bars = np.abs(last.contributions).sum(axis=(0, 2, 3))
    assert of_bars[-1] >= 0.99 * of_bars.sum()  # it has no memory, whatever its context


def test_a_known_weight_is_attributed_by_hand(bars):
    """Without a base the weight is tanh(0.7 x) / A: all of it is the feature's, at the last bar, by the symbol itself."""
    found = explain(planted(2, base="flat"), bars)
    x = FEATURES.compute(bars[-1:])[0, :, 2]
    expected = np.zeros(found.contributions.shape)
    expected[0, -1, :, 2] = np.tanh(0.7 * x) / len(x)
    np.testing.assert_allclose(found.contributions, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.start, 0)
    np.testing.assert_array_equal(found.base, 0)


def test_the_market_is_the_mean_over_the_symbols(bars):
    strategy = planted(1, base="flat")
    with torch.no_grad():
        weight = strategy.policy.body.last.weight
        weight[0, 1], weight[0, len(FEATURES.names) + 1] = 0.0, 0.4
    found = explain(strategy, bars)
    market = FEATURES.compute(bars[-1:])[0, :, 1].mean()
    np.testing.assert_allclose(found.contributions[1, -1, :, 1], np.tanh(0.4 * market) / 3, rtol=0, atol=1e-6)
    assert np.abs(found.contributions[[0, 2]]).max() == 0


def test_a_span_is_its_decisions_one_by_one(bars):
    strategy = random_strategy(1, memory="none", context=4)
    span = explain_span(strategy, bars[-3:])
    for k in range(3):
        one = explain(strategy, bars[: len(bars) - 2 + k])
        assert one.times[-1] == span.times[k]
        np.testing.assert_allclose(one.contributions.sum(axis=1), span.contributions[:, k], rtol=0, atol=1e-12)
        symbol = one.symbols[0]
        np.testing.assert_allclose(one.by_bar(symbol).sum(), one.by_feature(symbol)["sum"][list(one.features)])


def test_blends_rules_and_limits_keep_the_sum(bars):
    one, two = random_strategy(1, context=3), random_strategy(2, context=7, memory="belief", base="equal_weight")
    whole = WeightLimit(Blend([one, two, EqualWeight()]), 0.3)
    found = explain(whole, bars)
    total = found.start + found.contributions.sum(axis=(0, 1, 3)) + found.limited
    np.testing.assert_allclose(total, whole.plan(bars[-1:]).aim[0], rtol=0, atol=1e-4)
    each = [explain(part, bars) for part in (one, two)]
    np.testing.assert_allclose(found.base, (each[0].base + each[1].base + 1 / 3) / 3)
    mean = each[1].contributions / 3
    mean[:, -3:] += each[0].contributions / 3
    np.testing.assert_allclose(found.contributions, mean, rtol=0, atol=1e-12)
    assert found.limited.min() < -0.01
    assert found.limits[0].startswith("weights to 0.3: ")
    assert len(found.times) == 7
    assert found.beliefs["random"].shape == (3, 4, 2)
    assert (found.beliefs["random"][..., 1] > 0).all()


def test_parts_of_a_regime_count_by_its_probability(bars):
    part = random_strategy(1, context=3)
    gated = RegimeGated(HiddenMarkovRegimes(2, restarts=1), [part, EqualWeight()]).adapt(bars[:900])
    found = explain(gated, bars)
    calm = found.regimes["regime gated"]["calm"]
    np.testing.assert_allclose(found.contributions, calm * explain(part, bars).contributions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.residual, 0, atol=1e-4)


def test_what_is_unknown_contributes_nothing(bars):
    close = bars.close.copy()
    close[:-10, 1] = np.nan  # listed ten bars ago: its features are not known yet
    late = type(bars).make(bars.index, bars.symbols, close)
    strategy = random_strategy(1, context=5)
    found = explain(strategy, late)
    assert found.unknown == ("S1",)
    assert np.abs(found.contributions[:2, :, 1]).max() == 0  # but through the gross limit
    np.testing.assert_allclose(found.residual, 0, atol=1e-4)
    np.testing.assert_array_equal(found.decision, strategy.plan(late[-1:]).aim[0])


def test_one_symbol_is_its_own_market(bars):
    found = explain(random_strategy(1, context=4, base="flat"), bars.select(["S1"]))
    np.testing.assert_allclose(found.residual, 0, atol=1e-4)
    assert np.abs(found.contributions[1]).max() > 0
    assert found.most_moved == "S1"


def test_too_few_bars_hold_the_base(bars):
    few = bars[:36]
    strategy = random_strategy(1, context=100)
    found = explain(strategy, few)
    assert np.abs(found.contributions).max() == 0
    np.testing.assert_allclose(found.decision, found.base)
    assert len(found.times) <= 100


def test_wrong_input_is_one_line(bars):
    with pytest.raises(InputError, match=r"momentum 20 reads no features .*occlude"):
        explain(Momentum(20), bars)
    assert not attributable(Momentum(20), bars)
    found = explain(random_strategy(1, context=2), bars)
    with pytest.raises(InputError, match=r"no symbol 'X'; it trades S0, S1, S2"):
        found.by_feature("X")
    with pytest.raises(InputError, match="no symbol 'X'"):
        explain_span(random_strategy(1, context=2), bars[-2:]).by_feature("X")
