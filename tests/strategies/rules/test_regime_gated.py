import causal
import numpy as np
import pytest
import samples

from backtests.engine.lookahead import find_lookahead
from markets import HiddenMarkovRegimes, InputError, Plan, VolatilityTrendRegimes
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum, RegimeGated, Stops, Strategy

PARTS = (EqualWeight(), Momentum(20))


class Cash(Strategy):
    name = "cash"

    def plan(self, bars):
        return Plan(np.zeros(bars.shape), None, np.full(bars.shape, 0.5))


@pytest.fixture(scope="module")
def fitted(bars):
    return HiddenMarkovRegimes(2).fit(bars[:700])


def test_the_plan_is_weighted_by_the_filters_probabilities(bars, fitted):
    span = bars[700:]
    calm = fitted.filter(span).probabilities[:, :1]
    plan = RegimeGated(fitted, (EqualWeight(), Cash()), refit=False).plan(span)
    np.testing.assert_allclose(plan.aim, np.repeat(calm / 3, 3, axis=1))
    np.testing.assert_allclose(plan.rate, np.repeat(calm + 0.5 * (1 - calm), 3, axis=1))
    assert 0.02 < np.quantile(calm, 0.1) < 0.98 or calm.std() > 0.1
    assert plan.band is None


def test_it_fits_on_the_bars_so_far(bars):
    gated = RegimeGated(HiddenMarkovRegimes(2), PARTS, window=400)
    assert gated.adapts
    adapted = gated.adapt(bars[:700])
    expected = HiddenMarkovRegimes(2).fit(bars[300:700].without_past())
    np.testing.assert_array_equal(adapted.detector.volatility, expected.volatility)
    assert not hasattr(gated.detector, "volatility")
    for part, weight in zip(PARTS, expected.filter(bars[700:]).probabilities.T, strict=True):
        assert weight.max() > 0.9, part.name
    mixed = sum(
        p[:, None] * s.plan(bars[700:]).aim
        for p, s in zip(expected.filter(bars[700:]).probabilities.T, PARTS, strict=True)
    )
    np.testing.assert_allclose(adapted.plan(bars[700:]).aim, mixed, atol=1e-12)


def test_before_there_is_enough_to_fit_strategies_are_held_in_equal_parts(bars):
    adapted = RegimeGated(HiddenMarkovRegimes(2), (EqualWeight(), Cash())).adapt(bars[:100])
    np.testing.assert_allclose(adapted.plan(bars[:100]).aim, 1 / 6)


def test_it_does_not_look_ahead(bars):
    def make():
        return RegimeGated(VolatilityTrendRegimes(2, trend=0), (InverseVolatility(20), Momentum(20)), warmup=60)

    assert find_lookahead(make, bars[-300:], cuts=4, progress=False) == []


def test_a_row_is_the_same_wherever_the_bars_begin(bars, fitted):
    causal.wherever_bars_begin(RegimeGated(fitted, PARTS, refit=False), bars, 703, 760)


def test_an_endless_no_trade_zone_counts_where_its_regime_is_possible(bars):
    detector = VolatilityTrendRegimes(2, trend=0).fit(bars[:700])
    gated = RegimeGated(detector, (EqualWeight(), BuyAndHold()), refit=False)
    chance, plan = detector.filter(bars[700:]).probabilities[:, 1], gated.plan(bars[700:])
    assert plan.band is not None
    np.testing.assert_array_equal(np.isinf(plan.band[5:, 0]), chance[5:] > 0)


def test_two_symbols_and_one(bars):
    for symbols in (1, 2):
        some = samples.regime_bars(600, symbols, seed=4)
        aim = RegimeGated(HiddenMarkovRegimes(2), PARTS).adapt(some[:400]).plan(some[400:]).aim
        assert np.isfinite(aim).all()
        assert aim.any()


def test_stops_are_not_averaged(bars, fitted):
    with pytest.raises(InputError, match=r"has stops, which no average has; use Stops\(RegimeGated"):
        RegimeGated(fitted, (EqualWeight(), Stops(Momentum(20), loss=0.1)), refit=False).plan(bars)


def test_settings_are_checked(fitted):
    with pytest.raises(InputError, match="1 strategies for 2 regimes"):
        RegimeGated(fitted, (EqualWeight(),))
    with pytest.raises(InputError, match="window is 100; it must be at least the warm-up of 252"):
        RegimeGated(fitted, PARTS, window=100)
    assert RegimeGated(fitted, PARTS, refit=False).adapt(None).adapts is False


def test_regression_a_part_that_leaves_positions_alone_is_not_averaged(bars, fitted):
    """Regimes are hardly ever impossible to a filter, so nothing was traded after the first bar."""
    with pytest.raises(InputError, match=r"^regime gated: buy and hold leaves .* Rebalanced\(RegimeGated\(\.\.\.\)\)"):
        RegimeGated(fitted, (BuyAndHold(), Momentum(20)), refit=False).plan(bars[700:])
