"""Markets of two regimes have the moments that they say."""

import numpy as np
import pytest

from markets import InputError
from markets.synthetic import TwoRegimes

MARKET = TwoRegimes((0.05, -0.1), (0.7, 1.6), (120.0, 50.0), 6.0)


def test_samples_have_the_moments_of_the_market():
    returns, state = MARKET.sample(400, 5000, np.random.default_rng(0))
    for k in (0, 1):
        here = returns[state == k]
        assert here.mean() == pytest.approx(MARKET.mean[k], abs=5 * MARKET.volatility[k] / np.sqrt(here.size))
        assert here.std() == pytest.approx(MARKET.volatility[k], rel=0.01)
        left = (state[:, :-1] == k) & (state[:, 1:] != k)
        assert (state[:, :-1] == k).sum() / left.sum() == pytest.approx(MARKET.duration[k], rel=0.03)
    assert (state == 1).mean() == pytest.approx(MARKET.share[1], abs=0.01)
    mean, volatility = MARKET.overall
    assert returns.mean() == pytest.approx(mean, abs=0.005)
    assert returns.std() == pytest.approx(volatility, rel=0.01)


def test_the_first_bar_has_the_long_run_shares():
    _, state = MARKET.sample(20_000, 1, np.random.default_rng(1))
    assert (state == 1).mean() == pytest.approx(MARKET.share[1], abs=0.015)


def test_the_same_seed_gives_the_same_bits_and_other_orders_and_units_are_the_same_market():
    one, other = (MARKET.sample(3, 100, np.random.default_rng(7))[0] for _ in range(2))
    assert (one == other).all()
    assert MARKET.swapped.swapped == MARKET
    assert MARKET.swapped.overall == pytest.approx(MARKET.overall)
    assert MARKET.scaled(0.01).overall == pytest.approx([0.01 * x for x in MARKET.overall])
    assert MARKET.transition.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize(
    "wrong", [{"volatility": (0.0, 1.0)}, {"duration": (1.0, 5.0)}, {"freedom": 2.0}, {"mean": (np.nan, 0.0)}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="volatilities above 0"):
        TwoRegimes(**wrong)
