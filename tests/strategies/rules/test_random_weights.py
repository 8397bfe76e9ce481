import causal
import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError, load
from strategies import (
    CrossSectionalMomentum,
    EqualWeight,
    InverseVolatility,
    Momentum,
    RandomWeights,
    Reversal,
    Strategy,
)

SMALL = [RandomWeights(Momentum(7)), RandomWeights(CrossSectionalMomentum(8, 2, 0.4, losers=True, every="week"))]
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=seeds, t=st.integers(1, 58))
def test_a_row_is_the_same_whatever_comes_later(rule, seed, t):
    causal.whatever_comes_later(rule, seed, t)


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
def test_a_row_is_the_same_wherever_the_bars_begin(rule, bars):
    causal.wherever_bars_begin(rule, bars, 203, 260)


@given(seed=seeds)
def test_exposure_is_that_of_the_strategy(seed):
    bars = samples.gappy_bars(np.random.default_rng(seed), 60, 4)
    aim, given_aim = RandomWeights(Momentum(7), seed=seed).plan(bars).aim, Momentum(7).plan(bars).aim
    np.testing.assert_allclose(aim.sum(axis=1), given_aim.sum(axis=1), atol=1e-12)
    assert aim.min() >= 0
    assert not aim[~bars.listed].any()


@pytest.fixture(scope="module")
def stocks():
    return load("stocks")["2000":"2009"]


def moved(aim):
    return np.abs(np.diff(aim, axis=0)).sum()


@pytest.mark.parametrize("strategy", [Momentum(), InverseVolatility(), CrossSectionalMomentum()], ids=lambda s: s.name)
def test_turnover_is_that_of_the_strategy(stocks, strategy):
    aim, random = strategy.plan(stocks).aim, RandomWeights(strategy, seed=3).plan(stocks).aim
    assert moved(random) == pytest.approx(moved(aim), rel=0.02)
    assert np.abs(np.corrcoef(aim.ravel(), random.ravel())[0, 1]) < 0.6


def test_a_long_short_book_keeps_its_sides(stocks):
    strategy = CrossSectionalMomentum(losers=True)
    random = RandomWeights(strategy).plan(stocks).aim
    assert moved(random) == pytest.approx(moved(strategy.plan(stocks).aim), rel=0.05)
    np.testing.assert_allclose(random.sum(axis=1), 0, atol=1e-9)
    gross = np.abs(random).sum(axis=1)
    assert gross.max() <= 1 + 1e-9
    assert np.median(gross) > 0.9
    assert np.median(np.abs(RandomWeights(Reversal()).plan(stocks[-400:]).aim).sum(axis=1)) > 0.8


def test_a_seed_reproduces_and_another_one_differs(bars):
    first, again, other = (RandomWeights(EqualWeight(), seed=seed).plan(bars).aim for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
    np.testing.assert_allclose(first, np.broadcast_to(first[0], first.shape))  # as equal weight never moves


def test_targets_are_flat_over_all_ways_to_divide():
    """A flat Dirichlet distribution of three weights has means of 1/3 and variances of 1/18."""
    bars = samples.regime_bars(2, 3, seed=0)
    weights = np.array([RandomWeights(EqualWeight(), seed=seed).plan(bars).aim[0] for seed in range(3000)])
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.02)
    np.testing.assert_allclose(weights.var(axis=0), 1 / 18, atol=0.006)


def test_of_a_single_symbol_weights_are_the_strategys():
    bars = samples.regime_bars(400, 1, seed=2)
    np.testing.assert_allclose(RandomWeights(Momentum(20)).plan(bars).aim, Momentum(20).plan(bars).aim)


class Fitted(Strategy):
    """Holds what it has when it has adapted, else nothing."""

    name, adapts = "fitted", True

    def __init__(self, level=0.0):
        self.level = level

    def plan(self, bars):
        plan = EqualWeight().plan(bars)
        return type(plan)(self.level * plan.aim)

    def adapt(self, bars):
        return Fitted(0.5)


def test_it_adapts_with_the_strategy(bars):
    random = RandomWeights(Fitted())
    assert random.adapts
    assert not random.plan(bars).aim.any()
    np.testing.assert_allclose(random.adapt(bars).plan(bars).aim.sum(axis=1), 0.5)
    still = RandomWeights(EqualWeight())
    assert still.adapt(bars) is still


def test_the_seed_is_checked():
    with pytest.raises(InputError, match="seed is -1"):
        RandomWeights(seed=-1)
