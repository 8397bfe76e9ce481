"""Soft values: the fixed point, its derivatives, and what becomes of them where carelessness goes to nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError
from metalearner.inverse import SignalMarket, long_run, soft_values
from metalearner.inverse.experts import autoregressive_market, decisions_of

GRID = np.linspace(-1, 1, 7)
MARKET = autoregressive_market(5)


@given(
    gamma=st.floats(0.01, 2.0),
    cost=st.floats(1e-4, 0.2),
    temperature=st.floats(1e-3, 0.5),
    discount=st.floats(0.0, 0.99),
)
def test_they_are_the_fixed_point_of_value_iteration(gamma, cost, temperature, discount):
    found = soft_values(MARKET, GRID, np.array([gamma, cost, temperature]), discount)
    reward = (MARKET.mean[:, None] * GRID - 0.5 * gamma * MARKET.variance[:, None] * GRID**2)[:, None, :]
    q = reward - cost * np.abs(GRID - GRID[:, None]) + discount * (MARKET.transition @ found.values)[:, None, :]
    again = temperature * np.logaddexp.reduce(q / temperature, axis=-1)
    np.testing.assert_allclose(again, found.values, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(np.exp(found.log_policy).sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.log_policy, (q - again[:, :, None]) / temperature, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("which", range(3))
def test_the_derivative_of_the_choices_is_that_of_differences(which):
    at = np.array([0.15, 0.02, 0.01])
    step = np.zeros(3)
    step[which] = 1e-6 * at[which]
    up, down = (soft_values(MARKET, GRID, at + side * step, 0.98).log_policy for side in (1, -1))
    expected = (up - down) / (2 * step[which])
    found = soft_values(MARKET, GRID, at, 0.98).slope[which]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_without_carelessness_he_does_what_is_best():
    """Against plain value iteration with a maximum."""
    gamma, cost, discount = 0.2, 0.05, 0.9
    reward = (MARKET.mean[:, None] * GRID - 0.5 * gamma * MARKET.variance[:, None] * GRID**2)[:, None, :]
    reward = reward - cost * np.abs(GRID - GRID[:, None])
    values = np.zeros((5, 7))
    for _ in range(600):
        values = (reward + discount * (MARKET.transition @ values)[:, None, :]).max(axis=-1)
    best = (reward + discount * (MARKET.transition @ values)[:, None, :]).argmax(axis=-1)
    found = soft_values(MARKET, GRID, np.array([gamma, cost, 1e-5]), discount)
    np.testing.assert_allclose(found.values, values, atol=1e-3)
    np.testing.assert_array_equal(found.log_policy.argmax(axis=-1), best)


def test_the_mean_reward_is_that_of_a_long_simulation():
    policy = np.exp(soft_values(MARKET, GRID, np.array([0.15, 0.02, 0.02]), 0.95).log_policy)
    visits = decisions_of(MARKET, policy, 200_000, seed=0).counts / 200_000
    reward = MARKET.mean[:, None] * GRID - 0.5 * 0.15 * MARKET.variance[:, None] * GRID**2
    paid = 0.02 * np.abs(GRID - GRID[:, None])
    simulated = float((visits * (reward[:, None, :] - paid)).sum())
    assert long_run(MARKET, GRID, policy, 0.15, 0.02) == pytest.approx(simulated, rel=0.02)


def test_the_autoregression_has_its_moments():
    market = autoregressive_market(9, persistence=0.9, std=0.1)
    share = np.linalg.matrix_power(market.transition, 10_000)[0]
    variance = share @ market.mean**2
    assert variance == pytest.approx(0.01)
    assert share @ (market.mean * (market.transition @ market.mean)) / variance == pytest.approx(0.9)


def test_what_is_no_market_is_refused():
    one = np.ones(2)
    with pytest.raises(InputError, match="differ"):
        SignalMarket(one, one, np.ones((3, 3)))
    with pytest.raises(InputError, match="probabilities that sum to 1"):
        SignalMarket(one, one, np.ones((2, 2)))
    with pytest.raises(InputError, match="variances must be above 0"):
        SignalMarket(one, 0 * one, np.eye(2))
