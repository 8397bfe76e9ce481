"""The best exposure against other roads to it: plain value iteration, the older two-position optimum, and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import InputError
from markets.synthetic import TwoRegimes
from strategies.optimal import Exposure, ExposureFilter, filtered, hidden_markov_value, solve_filter, solve_known
from strategies.optimal.exposure import Solved, beliefs

MARKET = TwoRegimes((8e-4, -4e-4), (0.007, 0.016), (120.0, 50.0), 6.0)


def value_iteration(problem: Exposure, solved: Solved) -> float:
    """Reward per bar of the optimum, on the same beliefs and the same grid of exposures."""
    weights = problem.low + problem.step * np.arange(problem.levels + 1)
    now = problem.reward(weights, solved.mean[:, None], solved.square[:, None])
    change = problem.cost * np.abs(weights[:, None] - weights)
    value = np.zeros((len(solved.mean), len(weights)))
    for _ in range(5000):
        later = now + solved.move @ value
        value_next = (later[:, None, :] - change).max(axis=2)
        gain = value_next - value
        value = value_next - value_next[0, 0]
        if gain.max() - gain.min() < 1e-12:
            return float(0.5 * (gain.max() + gain.min()))
    raise AssertionError("does not converge")


@pytest.mark.parametrize(
    "problem",
    [
        Exposure(cost=0.001, levels=5),
        Exposure(cost=0.003, low=-1, high=1, levels=6),
        Exposure(cost=0.0),
        Exposure(cost=0.0005, low=-1, high=2, levels=6, financing=2e-4, borrow=1e-4),
    ],
)
def test_the_value_is_that_of_plain_value_iteration(problem):
    quick = TwoRegimes((3e-3, -2e-3), (0.007, 0.016), (20.0, 10.0), 6.0)  # forgets its start in few iterations
    solved = solve_filter(problem, quick, 15)
    assert solved.account.value == pytest.approx(value_iteration(problem, solved), abs=1e-9)
    assert solved.headroom == pytest.approx(solved.account.value - solved.unadapted.value, abs=1e-9)


@pytest.mark.parametrize(("mean", "stay"), [(0.1, 0.99), (0.2, 0.99)])
def test_without_risk_aversion_it_is_the_optimum_of_hidden_markov(mean, stay):
    problem = Exposure(risk_aversion=1e-9, cost=0.1, low=-1, high=1, levels=1)
    market = TwoRegimes((mean, -mean), (1, 1), (1 / (1 - stay),) * 2)
    value = [solve_filter(problem, market, points).account.value for points in (121, 241)]
    assert (4 * value[1] - value[0]) / 3 == pytest.approx(hidden_markov_value(mean, stay, 0.1), rel=5e-3)


def test_who_knows_the_regime_earns_its_closed_form():
    """Long in one state and short in the other: (2q − 1) m each bar, less a switch of 2 in 1 − q of the bars."""
    problem = Exposure(risk_aversion=1e-9, cost=0.1, low=-1, high=1, levels=2)
    account = solve_known(problem, TwoRegimes((0.1, -0.1), (1, 1), (100, 100))).account
    assert account.value == pytest.approx(0.98 * 0.1 - 2 * 0.1 * 0.01, abs=1e-8)
    assert account.turnover == pytest.approx(0.02)


def test_a_simulated_path_earns_what_was_computed():
    problem = Exposure(cost=0.001, low=-1, high=1)
    solved = solve_filter(problem, MARKET)
    returns, _ = MARKET.sample(40, 12_000, np.random.default_rng(5))
    weights = ExposureFilter(problem, [MARKET]).follow(returns)
    second = filtered(MARKET, returns)
    mean, square = (pair[0] + (pair[1] - pair[0]) * second for pair in (np.array(MARKET.mean), MARKET.square))
    change = np.abs(np.diff(weights, axis=1, prepend=0.0))
    reward = (problem.reward(weights, mean, square) - problem.cost * change)[:, 500:].mean(axis=1)
    error = reward.std(ddof=1) / np.sqrt(len(reward))
    assert reward.mean() == pytest.approx(solved.account.value, abs=4 * error + 0.005 * solved.account.value)
    assert change[:, 500:].mean() == pytest.approx(solved.account.turnover, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.floats(-2e-3, 2e-3), st.floats(-2e-3, 2e-3)), st.tuples(st.floats(0.003, 0.03), st.floats(0.003, 0.03)),
    st.tuples(st.floats(5, 400), st.floats(5, 400)), st.floats(2.5, 50), st.sampled_from([0.0, 0.0005, 0.005]),
    st.sampled_from([0.0, -1.0]),
)  # fmt: skip
def test_the_ladder_holds(mean, volatility, duration, freedom, cost, low):
    """Knowing the regime ≥ filtering it ≥ the best constant exposure, in every market; and cost never helps."""
    market, problem = TwoRegimes(mean, volatility, duration, freedom), Exposure(cost=cost, low=low, levels=8)
    known, best = solve_known(problem, market), solve_filter(problem, market, 31)
    slack = 1e-9 + 0.02 * best.headroom  # the grid of beliefs flatters by as much
    assert best.headroom >= 0
    assert best.account.value >= best.unadapted.value - 1e-9
    assert known.account.value >= best.account.value - slack
    dearer = solve_filter(Exposure(cost=cost + 0.002, low=low, levels=8), market, 31)
    assert dearer.headroom <= best.headroom + 1e-12


def test_where_nothing_differs_there_is_no_headroom():
    same = TwoRegimes((4e-4, 4e-4), (0.01, 0.01), (100.0, 50.0), 5.0)
    for problem in (Exposure(), Exposure(low=-1.0, cost=0.0)):
        assert solve_filter(problem, same).headroom == 0
        assert solve_known(problem, same).headroom == 0


def test_beliefs_are_a_martingale():
    grid, move = beliefs(MARKET, 41)
    predicted = grid * (1 - 1 / MARKET.duration[1]) + (1 - grid) / MARKET.duration[0]
    assert move.sum(axis=1) == pytest.approx(np.ones(41))
    assert move @ grid == pytest.approx(predicted, abs=1e-6)


def test_rows_depend_on_the_past_alone():
    returns, _ = MARKET.sample(1, 300, np.random.default_rng(2))
    trader = ExposureFilter(Exposure(), [MARKET, MARKET.swapped, MARKET.scaled(1.3)])
    assert (trader.follow(returns)[:, :200] == trader.follow(returns[:, :200])).all()


def test_settings_out_of_range_are_refused():
    for wrong in ({"risk_aversion": 0.0}, {"cost": -1.0}, {"low": 0.5}, {"high": 0.0}, {"levels": 0}, {"high": np.inf}):
        with pytest.raises(InputError):
            Exposure(**wrong)
