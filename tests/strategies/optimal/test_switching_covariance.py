"""The closed form against a general solver, Bayes' rule against sums over all paths, and that nothing earns more."""

import itertools

import cvxpy
import numpy as np
import pytest
from causal import same

from markets import InputError, simulate
from markets.synthetic import SwitchingCovariance
from strategies.optimal import SwitchingCovarianceFilter

FAMILY = SwitchingCovariance(length=300)
OPTIMUM = SwitchingCovarianceFilter(FAMILY)


@pytest.mark.parametrize("belief", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("family", [FAMILY, SwitchingCovariance(assets=4, wild=5.0, correlation=(0.8, 0.3))], ids=str)
def test_the_closed_form_is_what_a_general_solver_finds(family, belief):
    covariance = (1 - belief) * family.covariance[0] + belief * family.covariance[1]
    w = cvxpy.Variable(family.assets)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.quad_form(w, cvxpy.psd_wrap(covariance))), [w >= 0, cvxpy.sum(w) == 1]).solve(
        solver=cvxpy.CLARABEL
    )
    found = SwitchingCovarianceFilter(family).weights(np.array(belief))
    np.testing.assert_allclose(found, w.value, atol=1e-5)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1.0)


def test_the_belief_is_bayes_rule():
    """Against the sum over all paths of the hidden regime."""
    family = SwitchingCovariance(stay=0.8, assets=2)
    returns = family.sample(3, 5).returns[:, :6]
    inverse, volume = np.linalg.inv(family.covariance), np.linalg.det(family.covariance)
    for k, path in enumerate(returns):
        likely = np.zeros(2)
        for states in itertools.product((0, 1), repeat=7):
            p = 0.5
            for t, (a, b) in enumerate(itertools.pairwise(states)):
                p *= np.exp(-path[t] @ inverse[a] @ path[t] / 2) / np.sqrt(volume[a])
                p *= family.stay if a == b else 1 - family.stay
            likely[states[-1]] += p
        found = SwitchingCovarianceFilter(family).belief(returns)[k, -1]
        assert found == pytest.approx(likely[1] / likely.sum())


def test_the_sample_is_of_the_family():
    sampled = SwitchingCovariance().sample(40, 3)
    state = sampled.hidden["state"]
    assert (np.diff(state, axis=1) == 0).mean() == pytest.approx(0.99, abs=0.002)
    for regime, covariance in enumerate(SwitchingCovariance().covariance):
        np.testing.assert_allclose(np.cov(sampled.returns[state == regime].T), covariance, atol=0.1)
    again, other = SwitchingCovariance().sample(40, 3), SwitchingCovariance().sample(40, 4)
    np.testing.assert_array_equal(sampled.returns, again.returns)
    assert sampled.bars().hash == again.bars().hash != other.bars().hash


def test_the_ladder_has_its_order_and_the_account_earns_the_reward():
    episodes = FAMILY.sample(30, 1)
    bars, state = episodes.bars(), episodes.hidden["state"]
    ahead = np.concatenate([state[:, 1:], state[:, -1:]], axis=1)
    rungs = [
        OPTIMUM.weights(ahead),
        OPTIMUM.follow(episodes),
        OPTIMUM.weights(0.8 * OPTIMUM.belief(episodes.returns) + 0.1),  # less sure than it should be
        OPTIMUM.weights(np.full(state.shape, 0.5)),
    ]
    variances = [-FAMILY.reward(weights[:, :-1], episodes.returns).mean() for weights in rungs]
    assert variances == sorted(variances)
    assert variances[0] < 0.95 * variances[1]
    assert variances[1] < 0.8 * variances[3]
    plan = OPTIMUM.plan(bars)
    equity = simulate(bars, plan, costs=FAMILY.costs).equity[0]
    earned = (np.diff(equity) / equity[:-1] / FAMILY.scale).reshape(state.shape)[:, 1:]
    assert (earned**2).mean() == pytest.approx(variances[1], rel=0.01)


def test_its_rows_use_nothing_that_comes_after():
    bars = FAMILY.sample(3, 2).bars()
    whole = OPTIMUM.plan(bars)
    for t in (1, 200, 301, 302, 700):
        same(OPTIMUM.plan(bars[:t]), whole[:t])
        same(OPTIMUM.plan(bars[t:]), whole[t:])


@pytest.mark.parametrize("setting", [{"assets": 3}, {"wild": 1.0}, {"correlation": (0.2, 1.0)}, {"stay": 1.0}])
def test_what_is_no_family(setting):
    with pytest.raises(InputError, match="must be"):
        SwitchingCovariance(**setting)
