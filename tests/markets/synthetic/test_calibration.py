"""The posterior of two regimes: its density against a plain one, its draws against the truth, and what cannot be fitted."""

import numpy as np
import pytest
from scipy import stats

from markets import InputError
from markets.synthetic import TwoRegimes, calibrate
from markets.synthetic.calibration import _TYPICAL, _WIDTH, _log_posterior

MARKET = TwoRegimes((8e-4, -4e-4), (0.007, 0.018), (120.0, 50.0), 6.0)


@pytest.fixture(scope="module")
def returns():
    return MARKET.sample(1, 4000, np.random.default_rng(3))[0][0]


def plain(x, z):
    """The log posterior by matrices and scipy's densities."""
    freedom = 2 + np.exp(x[6])
    leave = 1 / (1 + np.exp(x[4:6]))
    move = np.array([[1 - leave[0], leave[0]], [leave[1], 1 - leave[1]]])
    belief = leave[::-1] / leave.sum()
    total = -0.5 * (((x - _TYPICAL) / _WIDTH) ** 2).sum()
    for r in z:
        density = stats.t.pdf(r, freedom, x[:2], np.exp(x[2:4]) * np.sqrt(1 - 2 / freedom))
        joint = belief * density
        total += np.log(joint.sum())
        belief = joint / joint.sum() @ move
    return total


@pytest.mark.parametrize("seed", range(3))
def test_the_density_is_that_of_a_plain_filter(seed):
    rng = np.random.default_rng(seed)
    z, x = rng.standard_normal(60), _TYPICAL + 0.5 * rng.standard_normal(7)
    z[7] = 40.0  # nearly impossible in both regimes
    assert _log_posterior(x, z, _TYPICAL, _WIDTH) == pytest.approx(plain(x, z), rel=1e-10)


def test_draws_surround_the_truth_and_are_reproducible(returns):
    found = calibrate(returns, draws=80, seed=1)
    parameters = np.array([market.parameters for market in found.draws])
    low, high = np.quantile(parameters, [0.005, 0.995], axis=0)
    assert ((low < MARKET.parameters) & (MARKET.parameters < high)).all()
    # means are hardly known, volatilities are
    assert (high - low)[0] > 2e-4
    assert (high - low)[2] < 0.2 * MARKET.volatility[0]
    assert calibrate(returns, draws=80, seed=1).draws == found.draws
    assert calibrate(returns, draws=80, seed=2).draws != found.draws


def test_regression_a_return_far_out_is_no_infinite_likelihood():
    """Its likelihood ratio overflowed; the search ended there, and all draws were the same market."""
    market = TwoRegimes((10e-4, -10e-4), (0.006, 0.015), (150.0, 80.0), 8.0)
    found = calibrate(market.sample(1, 2500, np.random.default_rng(7))[0][0], draws=50)
    assert len({market.mean for market in found.draws}) > 40
    far = np.r_[np.random.default_rng(0).standard_normal(300), 1e6]
    assert np.isfinite(_log_posterior(np.array([0, 0, -3, 2, 4, 4, 8.0]), far, _TYPICAL, _WIDTH))


def test_units_do_not_matter(returns):
    one, other = calibrate(returns, draws=20, seed=1), calibrate(1000 * returns, draws=20, seed=1)
    assert other.mode.parameters[:6] == pytest.approx(one.mode.scaled(1000).parameters[:6], rel=0.02)


def test_the_ray_goes_where_the_score_grows_until_the_density_has_fallen(returns):
    found = calibrate(returns, draws=60, seed=1)
    mean = np.array([market.mean[0] for market in found.draws])
    ray = found.ray(mean, 0.9)
    ends = np.array([market.mean[0] for market in ray])
    assert (np.diff(ends) > 0).all()
    # the posterior of a mean is nearly Gaussian, so that the end is its 95 % quantile
    assert ends[-1] == pytest.approx(mean.mean() + 1.645 * mean.std(), abs=0.6 * mean.std())
    assert found.ray(np.ones(60)) == ()


def test_a_subset_keeps_its_draws(returns):
    found = calibrate(returns, draws=20, seed=1)
    assert found.subset(np.array([3, 5])).draws == (found.draws[3], found.draws[5])


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (np.zeros(500), "stand still"),
        (np.full(500, 0.01), "stand still"),
        (np.random.default_rng(0).standard_normal(100), "at least 250"),
        (np.r_[np.nan, np.ones(400)], "finite"),
        (np.r_[np.zeros(400), np.random.default_rng(0).standard_normal(100)], "stand still"),
    ],
)
def test_what_cannot_be_fitted_is_said(wrong, what):
    with pytest.raises(InputError, match=what):
        calibrate(wrong)
