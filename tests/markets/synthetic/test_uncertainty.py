import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError, Uncertainty, augment


@given(st.integers(2, 20), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_markets_are_within_the_distance_and_spread_over_it(markets, symbols, seed):
    distance = Uncertainty(shift=0.05, volatility=1.5, costs=3.0)
    first, *found = distance.sample(markets, symbols, seed)
    assert (first.shift, first.volatility, first.costs) == ((0.0,) * symbols, 1.0, 1.0)
    shifts = np.array([market.shift for market in found])
    assert (np.abs(shifts) <= 0.05).all()
    dearer = np.log([market.costs for market in found]) / np.log(3)
    wilder = np.log([market.volatility for market in found]) / np.log(1.5) / 2 + 0.5
    for unit in (dearer, wilder, *(shifts.T / 0.1 + 0.5)):  # one in each slice
        np.testing.assert_array_equal(np.sort((unit * (markets - 1)).astype(int)), np.arange(markets - 1))
    assert found == list(distance.sample(markets, symbols, seed))[1:]


def test_without_uncertainty_all_markets_are_the_one_that_was_seen():
    bars = samples.regime_bars(300, 2, seed=0)[50:]
    for market in Uncertainty().sample(3, 2, seed=0):
        assert market(bars) is bars
        assert market.costs == 1


def test_a_market_is_shifted_then_stretched():
    bars = samples.regime_bars(300, 2, seed=0)
    _, market = Uncertainty(shift=0.1, volatility=2.0).sample(2, 2, seed=0)
    wanted = augment.stretch(augment.shift(bars, np.array(market.shift)), market.volatility)
    assert market(bars).hash == wanted.hash


def test_texts_are_read_and_wrong_ones_refused():
    assert Uncertainty.parse("shift=.05, volatility=1.5,costs = 3") == Uncertainty(0.05, 1.5, 3.0)
    assert Uncertainty.parse("costs=2") == Uncertainty(costs=2.0)
    for text in ("", "costs", "costs=dear", "drift=1", "shift=.1;costs=2"):
        with pytest.raises(InputError, match="write any of shift, volatility, costs"):
            Uncertainty.parse(text)
    for text, message in (
        ("shift=-1", "shift is -1"),
        ("volatility=0.5", "volatility is 0.5; it is the largest factor"),
        ("costs=nan", "costs is nan"),
    ):
        with pytest.raises(InputError, match=message):
            Uncertainty.parse(text)
    with pytest.raises(InputError, match="at least 1"):
        Uncertainty().sample(0, 1, seed=0)
