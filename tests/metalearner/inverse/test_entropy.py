"""Maximum entropy: what is found again, how well, what is not identified, and what it is worth in another regime."""

import numpy as np
import pytest

from markets import Costs, InputError
from metalearner.inverse import Decisions, SignalMarket, cloned, infer, long_run, population, soft_values
from metalearner.inverse.experts import autoregressive_market, decisions_of

GRID, MARKET, TRUE = np.linspace(-1, 1, 21), autoregressive_market(), np.array([0.15, 0.02, 0.01])


def expert(preferences=TRUE, market=MARKET):
    return np.exp(soft_values(market, GRID, np.asarray(preferences), 0.99).log_policy)


@pytest.mark.parametrize("seed", range(3))
def test_preferences_are_found_again(seed):
    """From 20,000 decisions: each within 10 % (12 seeds: benchmarks/inverse.py)."""
    found = infer([decisions_of(MARKET, expert(), 20_000, seed)], GRID)
    assert found.identified
    for parameter, true in zip(found.parameters, TRUE, strict=True):
        assert parameter.value == pytest.approx(true, rel=0.1)
        low, high = parameter.interval(0.999)
        assert low < true < high
    assert found.costs == Costs(commission=found["cost"].value)


def test_where_he_begins_to_look_does_not_matter():
    decisions = [decisions_of(MARKET, expert(), 5_000, 0)]
    usual = infer(decisions, GRID)
    for start in ((3.0, 1e-3, 0.5), (0.01, 0.3, 1e-3)):
        np.testing.assert_allclose(infer(decisions, GRID, start=start).log, usual.log, atol=1e-3)


def test_the_scale_of_money_is_the_scale_of_preferences():
    """Returns twice as large: the same decisions mean twice the cost and temperature, and half the risk aversion."""
    decisions = decisions_of(MARKET, expert(), 5_000, 0)
    double = SignalMarket(2 * MARKET.mean, 4 * MARKET.variance, MARKET.transition)
    one, two = infer([decisions], GRID), infer([Decisions(double, decisions.counts)], GRID)
    np.testing.assert_allclose(np.exp(two.log - one.log), [0.5, 2.0, 2.0], rtol=1e-3)


def test_several_regimes_are_inferred_together():
    calm, wild = autoregressive_market(), autoregressive_market(persistence=0.97, std=0.05, variance=2.0)
    markets = {1: calm, 2: wild}
    found = infer([decisions_of(m, expert(market=m), 4_000, seed) for seed, m in markets.items()], GRID)
    for parameter, true in zip(found.parameters, TRUE, strict=True):
        assert abs(np.log(parameter.value / true)) < 3.5 * parameter.error < 0.3


def test_the_reward_is_worth_more_than_cloning_in_a_regime_not_in_the_data():
    """Twice the signal, which fades sooner, at twice the variance: what he would earn there by his true preferences."""
    seen = [autoregressive_market(), autoregressive_market(persistence=0.97, std=0.05)]
    decisions = [decisions_of(m, expert(market=m), 5_000, k) for k, m in enumerate(seen)]
    other = autoregressive_market(persistence=0.8, std=0.2, variance=2.0)
    found = infer(decisions, GRID)
    best, inverse, clone = (
        long_run(other, GRID, policy, TRUE[0], TRUE[1])
        for policy in (expert(market=other), found.policy(other), cloned(decisions))
    )
    assert inverse > 0.99 * best
    assert clone < 0.8 * best


class TestNotIdentified:
    def test_who_never_trades(self):
        still = np.broadcast_to(np.eye(21), (9, 21, 21))
        found = infer([decisions_of(MARKET, still, 2_000, 0)], GRID)
        assert [p.reason for p in found.parameters] == [
            "he never trades: the cost may be anything from some size on"
        ] * 3
        assert np.isnan(found["cost"].value)
        assert found["cost"].interval() == (0.0, np.inf)
        with pytest.raises(InputError, match="is not known: he never trades"):
            found.policy(MARKET)

    @pytest.mark.parametrize("mean", [0.0, 0.1])
    def test_a_constant_signal_in_one_regime(self, mean):
        market = SignalMarket(np.array([mean]), np.ones(1), np.ones((1, 1)))
        found = infer([decisions_of(market, expert(market=market), 5_000, 0)], GRID)
        assert "the signal is constant in the one regime" in found["cost"].reason
        if not mean:  # without a return in money nothing says how much a careless choice costs
            assert "apart from" in found["risk aversion"].reason
            assert "apart from" in found["temperature"].reason

    def test_constant_signals_in_two_regimes_do_tell(self):
        chain = np.array([[0.98, 0.02], [0.02, 0.98]])
        market = SignalMarket(np.array([-0.1, 0.1]), np.ones(2), chain)
        found = infer([decisions_of(market, expert(market=market), 20_000, 0)], GRID)
        assert found.identified

    def test_too_few_decisions(self):
        found = infer([decisions_of(MARKET, expert(), 3, 0)], GRID)
        assert not found.identified
        assert all("to a factor of e" in p.reason for p in found.parameters if p.reason)


class TestPopulation:
    @pytest.fixture(scope="class")
    def prior(self):
        rng, traders = np.random.default_rng(0), []
        for k in range(12):
            preferences = np.exp(np.log(TRUE) + 0.4 * rng.normal(size=3))
            traders.append(infer([decisions_of(MARKET, expert(preferences), 2_000, k)], GRID))
        return population(traders)

    def test_it_has_the_mean_and_deviation_of_its_traders(self, prior):
        mean, covariance = prior
        np.testing.assert_allclose(mean, np.log(TRUE), atol=0.35)
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), 0.4, atol=0.2)

    def test_a_new_trader_is_known_from_few_decisions(self, prior):
        """40 decisions: preferences are nearer with the others in mind, and who never traded has the population's."""
        rng, alone, together = np.random.default_rng(1), [], []
        for k in range(16):
            preferences = np.exp(np.log(TRUE) + 0.4 * rng.normal(size=3))
            decisions = [decisions_of(MARKET, expert(preferences), 40, 100 + k)]
            for found, prior_of in ((alone, None), (together, prior)):
                found.append(np.abs(infer(decisions, GRID, prior=prior_of).log - np.log(preferences)))
        assert np.mean(together) < 0.75 * np.mean(alone)
        nothing = Decisions(MARKET, np.zeros((9, 21, 21)))
        nothing.counts[4, 10, 10] = 1e-9
        np.testing.assert_allclose(infer([nothing], GRID, prior=prior, start=np.exp(prior[0])).log, prior[0], atol=1e-3)

    def test_two_traders_are_too_few(self):
        with pytest.raises(InputError, match="2 traders say nothing"):
            population([None, None])


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="one more position than levels"):
        Decisions.of(MARKET, np.zeros(3, int), np.zeros(3, int), 21)
    with pytest.raises(InputError, match="levels must be from 0 to 8"):
        Decisions.of(MARKET, np.array([9]), np.zeros(2, int), 21)
    decisions = [decisions_of(MARKET, expert(), 10, 0)]
    with pytest.raises(InputError, match="ascending"):
        infer(decisions, GRID[::-1])
    with pytest.raises(InputError, match="discount is 1"):
        infer(decisions, GRID, discount=1.0)
    with pytest.raises(InputError, match="no decisions"):
        infer([], GRID)
