import numpy as np
import pytest
from skfolio.measures import deflated_sharpe_ratio, expected_max_sharpe_ratio, probabilistic_sharpe_ratio

from backtests.significance import (
    deflated_sharpe,
    expected_maximum,
    probabilistic,
    probabilistic_sharpe,
    shortest_record,
)
from markets.common.statistics import kurtosis, sharpe, skew


def returns(seed=0, length=500):
    rng = np.random.default_rng(seed)
    return 0.01 * (rng.standard_t(5, length) + 0.3 * rng.exponential(1, length) - 0.2)


def test_published_figures():
    """Bailey and López de Prado, "The deflated Sharpe ratio" (2014): a ratio of 2.5 a year over 1,250 days, the best of 100."""
    assert expected_maximum(100) == pytest.approx(2.530602893, abs=1e-9)
    threshold = np.sqrt(0.5 / 250) * expected_maximum(100)
    assert probabilistic(2.5 / np.sqrt(250), 1250, -3, 10, threshold) == pytest.approx(0.900396834, abs=1e-9)
    # "The Sharpe ratio efficient frontier" (2012): 1.585 a year over 24 months
    assert probabilistic(1.585 / np.sqrt(12), 24, -2.448, 10.164) == pytest.approx(0.913234307, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_skfolio_agrees(seed):
    series, ratios = returns(seed), np.random.default_rng(seed).normal(0, 0.04, 37)
    assert probabilistic_sharpe(series) == pytest.approx(probabilistic_sharpe_ratio(series), rel=1e-10)
    assert probabilistic_sharpe(series, 0.03) == pytest.approx(probabilistic_sharpe_ratio(series, 0.03), rel=1e-10)
    assert expected_maximum(37) == pytest.approx(expected_max_sharpe_ratio(37, 1.0), rel=1e-12)
    theirs = deflated_sharpe_ratio(series, ratios)
    assert deflated_sharpe(series, 37, ratios.std(ddof=1)) == pytest.approx(theirs, rel=1e-10)


def test_one_trial_deflates_nothing():
    assert expected_maximum(1) == 0
    assert deflated_sharpe(returns(), 1, 0.5) == probabilistic_sharpe(returns())


def test_the_shortest_record_is_that_of_a_psr_of_95_percent():
    series = returns(3)
    length = shortest_record(series)
    found = probabilistic(sharpe(series), length, skew(series), kurtosis(series))
    assert found == pytest.approx(0.95, abs=1e-9)
    assert shortest_record(-np.abs(series)) == np.inf
    assert np.isnan(shortest_record(np.zeros(50)))


def test_returns_that_do_not_vary_have_no_probability():
    assert np.isnan(probabilistic_sharpe(np.full(100, 0.001)))
