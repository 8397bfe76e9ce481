import warnings

import numpy as np
import pytest
import samples

from markets import HiddenMarkovRegimes
from markets.regimes.base import market_returns


@pytest.fixture(scope="module")
def detector(bars):
    return HiddenMarkovRegimes(2, restarts=3).fit(bars)


def peer(bars, k):
    """The model of statsmodels on the same returns, in per cent."""
    switching = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    return switching.MarkovRegression(market_returns(bars)[1:] * 100, k_regimes=k, trend="c", switching_variance=True)


def peer_parameters(detector):
    """Parameters in the order of statsmodels: transitions to all regimes but the last, means, variances."""
    return np.concatenate([detector.transition[:, :-1].T.ravel(), detector.mean, detector.volatility**2])


def slow_filter(returns, detector):
    """The filter written out by Bayes' rule."""
    beliefs, prior, started = [], detector.start, False
    for x in returns:
        if beliefs:
            prior = beliefs[-1] @ detector.transition if started else detector.start
        started |= not np.isnan(x)
        density = np.exp(-0.5 * ((x - detector.mean) / detector.volatility) ** 2) / detector.volatility
        posterior = prior if np.isnan(x) else prior * density
        beliefs.append(posterior / posterior.sum())
    return np.array(beliefs)


def test_the_filter_is_bayes_rule(bars, detector):
    expected = slow_filter(market_returns(bars) * 100, detector)
    np.testing.assert_allclose(detector.filter(bars).probabilities, expected, atol=1e-10)


@pytest.mark.parametrize("k", [2, 3])
def test_filter_smoother_and_likelihood_are_those_of_statsmodels(bars, k):
    detector = HiddenMarkovRegimes(k, restarts=2).fit(bars)
    theirs = peer(bars, k).smooth(peer_parameters(detector), return_raw=True)
    detector.start = theirs.initial_probabilities  # statsmodels starts in the stationary distribution
    ours = detector.filter(bars).probabilities
    # the first bar has no return, so the chain starts at the second
    np.testing.assert_allclose(ours[1:], theirs.filtered_marginal_probabilities.T, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        detector.hindsight(bars).probabilities[1:], theirs.smoothed_marginal_probabilities.T, rtol=0, atol=1e-8
    )
    assert detector.score(bars) == pytest.approx(theirs.llf, abs=1e-8)


@pytest.mark.parametrize("seed", range(10))
def test_em_climbs_at_least_as_high_as_statsmodels(seed):
    bars = samples.regime_bars(400, 1, seed=seed)
    ours = HiddenMarkovRegimes(2, restarts=5).fit(bars)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns when it does not converge
        theirs = peer(bars, 2).fit(search_reps=5, rng=seed, disp=False)
    assert ours.log_likelihood >= theirs.llf


def test_score_of_the_fitted_bars_is_the_fitted_likelihood(bars, detector):
    assert detector.score(bars) == pytest.approx(detector.log_likelihood, abs=1e-8)


def test_em_never_lowers_the_likelihood(bars):
    found = [
        HiddenMarkovRegimes(3, restarts=1, max_iterations=n, tolerance=-1).fit(bars).log_likelihood
        for n in (1, 2, 3, 5, 10, 20, 50)
    ]
    assert found == sorted(found)


def test_acceleration_ends_where_plain_em_ends(bars):
    from markets.regimes import hidden_markov

    returns = market_returns(bars)[1:] * 100
    rng, workspace = np.random.default_rng(0), hidden_markov._Workspace(len(returns), 2)
    theta = hidden_markov._random_start(returns, 2, rng)
    plain, out, totals = theta.copy(), np.empty_like(theta), []
    for _ in range(500):
        totals.append(
            hidden_markov._em(returns, plain, 2, 1e-4, workspace.density, workspace.alpha, workspace.inverse, out)
        )
        plain[:] = out
    assert (np.diff(totals) > -1e-8).all()
    assert workspace.climb(returns, theta, 1e-4, 60, 1e-13) >= totals[-1] - 1e-6


def test_labels_mean_the_same_after_a_refit(bars):
    a, b = (HiddenMarkovRegimes(2, restarts=3, seed=s).fit(bars).filter(bars).labels for s in (1, 2))
    assert (a == b).mean() > 0.999


def test_a_return_impossible_in_all_states_is_handled(bars, detector):
    close = bars.close.copy()
    close[700:] *= 1e6
    from markets import Bars

    path = detector.filter(Bars.make(bars.index, bars.symbols, close))
    assert np.isfinite(path.probabilities).all()
    assert path.labels[700] == 1


def test_one_regime_has_the_moments_of_the_market(bars):
    one = HiddenMarkovRegimes(1).fit(bars)
    returns = market_returns(bars)[1:] * 100
    assert one.names == ("all",)
    assert one.volatility[0] == pytest.approx(returns.std())
    assert (one.filter(bars).probabilities == 1).all()
