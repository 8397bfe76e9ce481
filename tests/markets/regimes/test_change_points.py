import numpy as np
import pytest
from scipy import stats

from markets import ChangePoints, InputError
from markets.regimes import change_points
from markets.regimes.base import market_returns


@pytest.fixture(scope="module")
def detector(bars):
    return ChangePoints(2).fit(bars[:1000])


def whole_posterior(returns, prior, hazard):
    """The recursion of Adams and MacKay written out with all run lengths: rows of P(r_t), and the log evidence."""
    centre, kappa, alpha, beta = prior
    rows, evidence = [np.array([1.0])], 0.0
    for t in range(len(returns)):
        predictive = []
        for r in range(t + 1):
            past = returns[t - r : t]
            k, a = kappa + r, alpha + r / 2
            m = (kappa * centre + past.sum()) / k
            b = beta + 0.5 * (past**2).sum() + 0.5 * kappa * centre**2 - 0.5 * k * m**2
            predictive.append(stats.t.pdf(returns[t], 2 * a, m, np.sqrt(b * (k + 1) / (a * k))))
        joint = rows[-1] * predictive
        evidence += np.log(joint.sum())
        joint /= joint.sum()
        rows.append(np.append(hazard, joint * (1 - hazard)))
    return rows[1:], evidence


def test_run_lengths_are_those_of_the_whole_recursion():
    rng = np.random.default_rng(3)
    returns = np.concatenate([rng.normal(0.1, 0.5, 60), rng.normal(-0.2, 2.0, 60), rng.normal(0.1, 0.7, 40)])
    prior, hazard = np.array([0.05, 5.0, 1.5, 1.0]), 1 / 50
    rows, evidence = whole_posterior(returns, prior, hazard)
    expected = [row @ np.arange(len(row)) for row in rows]
    _, run, _, exact = change_points._run(returns, prior, hazard, np.empty(0), 1e-15)
    np.testing.assert_allclose(run, expected, rtol=1e-8)
    assert exact == pytest.approx(evidence, abs=1e-8)
    # dropping run lengths by default changes little
    _, run, _, near = change_points._run(returns, prior, hazard, np.empty(0), change_points.SMALLEST)
    np.testing.assert_allclose(run, expected, rtol=0.01, atol=0.01)
    assert near == pytest.approx(evidence, abs=0.01)


def test_the_run_length_falls_after_a_change_and_grows_between(bars, detector):
    run = detector.run_length(bars)
    assert run.shape == (1500,)
    assert run[1] <= 1
    # the volatile regime begins at bars 220, 550, 880 and 1210
    for change in (550, 880, 1210):
        assert run[change + 20] < 0.5 * run[change - 1]
        assert 10 < run[change + 20] < 40
    cut = detector.run_length(bars[:1000])
    np.testing.assert_array_equal(cut, run[:1000])
    np.testing.assert_array_equal(detector.run_length(bars[600:]), run[600:])


def test_the_most_likely_segments_are_the_true_ones(bars, detector):
    returns = market_returns(bars)[1:] * 100
    starts = change_points._segments(returns, detector.prior, detector.hazard, change_points.SMALLEST)
    planted = np.array([219, 329, 549, 659, 879, 989, 1209, 1319])
    assert len(starts) == len(planted) + 1
    assert np.abs(np.array(starts[1:]) - planted).max() <= 8


def test_the_estimate_is_what_the_recursion_learns():
    prior, returns = np.array([0.1, 5.0, 1.5, 1.0]), np.random.default_rng(0).normal(0, 2, 30)
    mean, beta = prior[0], prior[3]
    for n, x in enumerate(returns):
        mean, beta = change_points._learn(x, prior, n, mean, beta)
    assert change_points._estimate(returns, prior) == pytest.approx(np.sqrt(beta / (1.5 + 15)))
    assert change_points._estimate(returns[:0], prior) == pytest.approx(np.sqrt(1 / 1.5))


def test_the_hazard_is_given_or_found(bars):
    assert ChangePoints(2, expected_run=100).fit(bars[:1000]).hazard == pytest.approx(0.01)
    found = 1 / ChangePoints(2).fit(bars).hazard
    assert 50 < found < 600  # segments last 110 or 220 bars


def test_what_cannot_be():
    with pytest.raises(InputError, match="expected_run is 1; it must be a number of bars above 1"):
        ChangePoints(expected_run=1)


def test_levels_are_distinct_or_refused():
    volatility = np.array([1.0, 1.1, 1.0, 5.0, 5.5, 20.0, 21.0])
    edges = change_points._natural_edges(volatility, 3)
    assert np.searchsorted(edges, volatility).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert change_points._natural_edges(np.array([1.0, 1.0, 1.0, 2.0]), 3) is None
