import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Costs, Execution, InputError, Plan, simulate
from strategies import BuyAndHold, EqualWeight, GroupLimit, LeverageLimit, Strategy, WeightLimit

seeds = st.integers(0, 2**32 - 1)


class Anything(Strategy):
    """Random aims and no-trade zones."""

    name = "anything"

    def __init__(self, seed):
        self.seed = seed

    def plan(self, bars):
        rng = np.random.default_rng(self.seed)
        band = rng.uniform(0, 0.3, bars.shape)
        band[rng.random(bars.shape) < 0.2] = np.inf
        return Plan(rng.normal(0, 0.5, bars.shape), band)


@given(seed=seeds, largest=st.floats(0.05, 0.6))
def test_a_weight_and_its_zone_stay_within_the_limit(seed, largest):
    bars = samples.regime_bars(30, 4, seed=1)
    wanted, plan = Anything(seed).plan(bars), WeightLimit(Anything(seed), largest).plan(bars)
    assert (np.abs(plan.aim) + plan.band <= largest + 1e-12).all()
    # the zone is the part of the wanted zone that is allowed, and its nearest edge where none is
    low, high = (np.clip(wanted.aim + side * wanted.band, -largest, largest) for side in (-1, 1))
    np.testing.assert_allclose(plan.aim - plan.band, low, atol=1e-12)
    np.testing.assert_allclose(plan.aim + plan.band, high, atol=1e-12)


def test_what_is_within_the_limit_is_left_to_the_bit():
    bars = samples.regime_bars(30, 4, seed=1)
    plan = WeightLimit(EqualWeight(), 0.3).plan(bars)
    np.testing.assert_array_equal(plan.aim, EqualWeight().plan(bars).aim)
    assert plan.band is None


def test_buy_and_hold_is_cut_where_a_weight_grows_past_the_limit():
    bars = samples.regime_bars(1200, 3, seed=8)
    weights = {}
    for strategy in (BuyAndHold(), WeightLimit(BuyAndHold(), 0.4)):
        paths = simulate(bars, strategy.plan(bars), costs=Costs(), execution=Execution(fill="next_close"))
        weights[strategy.name] = (paths.shares[0] * bars.marks / paths.equity[0][:, None]).max()
    assert weights["buy and hold"] > 0.45
    assert weights["buy and hold, weights to 0.4"] < 0.43


@given(seed=seeds, largest=st.floats(0.2, 3))
def test_gross_weight_stays_within_the_limit(seed, largest):
    bars = samples.regime_bars(30, 4, seed=1)
    wanted, plan = Anything(seed).plan(bars), LeverageLimit(Anything(seed), largest).plan(bars)
    gross, before = np.abs(plan.aim).sum(axis=1), np.abs(wanted.aim).sum(axis=1)
    np.testing.assert_allclose(gross, np.minimum(before, largest))
    np.testing.assert_allclose(plan.aim * before[:, None], wanted.aim * gross[:, None], atol=1e-12)


@given(seed=seeds)
def test_groups_stay_within_the_limit_and_others_are_left(seed):
    bars = samples.regime_bars(30, 5, seed=1)
    groups = {"S0": "x", "S1": "y", "S3": "x"}
    wanted, plan = Anything(seed).plan(bars), GroupLimit(Anything(seed), groups, 0.4).plan(bars)
    for columns in ([0, 3], [1]):
        before = np.abs(wanted.aim[:, columns]).sum(axis=1)
        np.testing.assert_allclose(np.abs(plan.aim[:, columns]).sum(axis=1), np.minimum(before, 0.4))
    np.testing.assert_array_equal(plan.aim[:, [2, 4]], wanted.aim[:, [2, 4]])
    np.testing.assert_array_equal(plan.band[:, [2, 4]], wanted.band[:, [2, 4]])


def test_a_symbol_that_the_bars_lack_is_named():
    bars = samples.regime_bars(30, 2, seed=1)
    with pytest.raises(InputError, match="'APPL' has a group, but synthetic has no such symbol; it has S0, S1"):
        GroupLimit(EqualWeight(), {"APPL": "technology"}).plan(bars)


@pytest.mark.parametrize("limit", [WeightLimit, LeverageLimit, lambda s, x: GroupLimit(s, {"S0": "x"}, x)])
def test_settings_are_checked(limit):
    with pytest.raises(InputError, match="limit: largest is 0"):
        limit(EqualWeight(), 0)
    with pytest.raises(InputError, match="there are no groups"):
        GroupLimit(EqualWeight())
