"""The filter of `Planted`: it is Bayes' rule, its threshold earns the most, and its value is what it earns."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t

from markets import Bars, InputError, load
from markets.synthetic import Planted
from strategies.ladder import ladder
from strategies.optimal import PlantedFilter, planted_threshold, planted_value
from strategies.optimal.planted import noise_shape, planted_log_odds
from strategies.optimal.switching import hysteresis


def walks(bars: int = 4000, symbols: int = 10) -> Bars:
    close = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (bars, symbols)), axis=0))
    return Bars.make(pd.date_range("1990-01-01", periods=bars), [f"W{i}" for i in range(symbols)], close)


GAUSSIAN, STOCKS = walks(), load("stocks")["1994":"1999"]


def test_the_log_odds_are_bayes_rule():
    """Against the forward recursion over both signs, with the density of Student's t from scipy."""
    rng = np.random.default_rng(0)
    returns, advice = rng.standard_t(5, (2, 40)), rng.choice([-1.0, 1.0], (2, 40))
    mean, stay, tails, width = np.array([0.1, 0.5]), 0.98, 5.0, 0.8
    found = planted_log_odds(returns, advice, mean, stay, tails, width)
    move = np.array([[stay, 1 - stay], [1 - stay, stay]])
    for k in range(2):
        belief = np.array([0.5, 0.5])
        for t in range(40):
            if t:
                lean = mean[k] * advice[k, t - 1]
                belief = move @ belief * student_t.pdf(returns[k, t] - np.array([lean, -lean]), tails, scale=width)
                belief /= belief.sum()
            assert found[k, t] == pytest.approx(np.log(belief[0] / belief[1]) * advice[k, t], abs=1e-9)


@pytest.mark.parametrize("sharpe", [1.0, 2.0, 4.0])
def test_its_value_in_gaussian_noise_is_what_it_earns(sharpe):
    """Long episodes, since the value is that of the long run. Volatility estimated from 63 bars costs about 1 %."""
    family = Planted(GAUSSIAN, (sharpe,), length=2000)
    table = ladder(family, 400, seed=1, skip=500)
    value = planted_value(sharpe / np.sqrt(252), family.stay, family.keep, family.cost)
    assert table.loc["filter", "reward"] == pytest.approx(value, abs=4 * table.loc["filter", "error"] + 0.02 * value)


@pytest.mark.parametrize("source", [GAUSSIAN, STOCKS], ids=["gaussian", "stocks"])
def test_no_other_threshold_earns_more(source):
    family = Planted(source, (2.0,), length=1000)
    optimum, sampled = PlantedFilter(family), family.sample(1500, 2)
    returns, advice = sampled.returns[..., 0], sampled.signal[..., 0]
    odds = planted_log_odds(returns, advice, sampled.hidden["mean"], family.stay, optimum.tails, optimum.width)

    def reward(edge):
        return family.reward(hysteresis(odds, np.full(len(odds), edge))[:, :-1], returns).mean(axis=1)

    edge = optimum.edge(2 / np.sqrt(252))
    best = reward(edge)
    for other in (0.0, edge / 3, 3 * edge):
        gap = best - reward(other)
        assert gap.mean() > -2 * gap.std() / np.sqrt(len(gap))
    assert (best - reward(0.0)).mean() > 0


def test_in_heavy_tails_it_earns_more_than_a_gaussian_filter():
    family = Planted(STOCKS, (2.0,), length=1000)
    sampled = family.sample(2000, 3)
    optimum, plain = PlantedFilter(family), PlantedFilter(family)
    plain.tails, plain.width = 1e6, 1.0
    returns = sampled.returns[..., 0]
    gap = np.subtract(*(family.reward(f.follow(sampled)[:, :-1], returns).mean(axis=1) for f in (optimum, plain)))
    assert optimum.tails < 10
    assert gap.mean() > 2 * gap.std() / np.sqrt(len(gap))


def test_the_ladder_holds():
    table = ladder(Planted(STOCKS, (2.0,), length=700), 1000, seed=4, skip=200)["reward"]
    assert table["hindsight"] > table["sign known"] > table["filter"] > max(table["advice followed"], 0)
    assert table["no adaptation"] == 0
    # who knows the sign pays for a change of the position with every twentieth advice, and with every 500th sign
    assert table["sign known"] == pytest.approx(2 / np.sqrt(252) - 0.05 * 2 * (0.05 + 0.002), abs=0.005)


def test_its_plan_does_not_change_when_later_bars_are_cut():
    family = Planted(STOCKS, (2.0,), length=100)
    bars = family.sample(3, 5).bars()
    optimum = PlantedFilter(family)
    whole = optimum.plan(bars).aim
    assert len(np.unique(whole[:, 0])) > 1
    for cut in (150, 201, 260):
        np.testing.assert_array_equal(optimum.plan(bars[:cut]).aim, whole[:cut])


def test_without_a_signal_or_with_costs_that_none_repays_it_does_not_trade():
    assert planted_threshold(0.1, 0.998, 0.95, 100.0) == np.inf
    for family in (Planted(STOCKS, (0.0,), length=200), Planted(STOCKS, (1.0,), length=200, cost=100.0)):
        assert not PlantedFilter(family).follow(family.sample(20, 0)).any()


def test_several_strengths_need_the_mean_of_each_episode():
    family = Planted(STOCKS, (1.0, 4.0), length=200)
    with pytest.raises(InputError, match="needs the mean of each episode"):
        PlantedFilter(family)
    sampled = family.sample(6, 0)
    mixed = PlantedFilter(family, sampled.hidden["mean"]).follow(sampled)
    for sharpe in (1.0, 4.0):
        rows = np.isclose(sampled.hidden["mean"], sharpe / np.sqrt(252))
        alone = PlantedFilter(Planted(STOCKS, (sharpe,), length=200)).follow(sampled)
        np.testing.assert_array_equal(mixed[rows], alone[rows])
    with pytest.raises(InputError, match="means of 2 episodes, but there are 6"):
        PlantedFilter(family, [0.1, 0.2]).follow(sampled)


def test_the_shape_of_the_noise_is_found():
    tails, width = noise_shape(0.8 * np.random.default_rng(0).standard_t(5, 20_000))
    assert tails == pytest.approx(5, rel=0.1)
    assert width == pytest.approx(0.8, rel=0.02)
