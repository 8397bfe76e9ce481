import numpy as np
import pytest
from arch.bootstrap import SPA, StepM
from scipy.stats import kstest

from backtests.significance import superiority
from backtests.significance.resampling import error_of_mean


def gains(*means, length=600, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (length, len(means))) + rng.normal(0, 0.5, (length, 1)) + np.array(means)


@pytest.mark.parametrize("means", [(0, 0, 0, 0), (0.08, 0, -0.05, 0.02), (-0.3, -0.2, 0.03, 0.1)])
def test_p_values_are_archs(means):
    """Arch leaves the means as they are, so it is given columns that are divided by their errors before."""
    series = gains(*means)
    ours = superiority(series, block=4, resamples=3000, seed=0)
    spa = SPA(np.zeros(600), -series / error_of_mean(series, 4), block_size=4, reps=3000, seed=1)
    spa.compute()
    assert [ours.lower, ours.consistent, ours.upper] == pytest.approx(list(spa.pvalues), abs=0.035)
    assert ours.lower <= ours.consistent <= ours.upper


def test_stepm_finds_the_same():
    series = gains(0, 0.2, -0.1, 0.16, 0.02, 0.13)
    ours = superiority(series, block=3, resamples=2000, seed=0)
    step = StepM(np.zeros(600), -series / error_of_mean(series, 3), size=0.05, block_size=3, reps=2000, seed=1)
    step.compute()
    assert list(np.flatnonzero(ours.adjusted <= 0.05)) == list(step.superior_models) == [1, 3, 5]
    assert ((ours.needed < 1) == (ours.adjusted <= 0.05)).all()


def test_the_least_adjusted_p_is_spas_and_they_rise_as_t_falls():
    found = superiority(gains(0.05, 0.0, -0.04, 0.1, -0.2), resamples=500)
    assert found.adjusted.min() == found.consistent
    order = np.argsort(-found.statistic)
    assert (np.diff(found.adjusted[order]) >= 0).all()


def test_poor_strategies_do_not_hide_a_good_one():
    good = gains(0.12, *[0] * 3)
    poor = np.column_stack([good, gains(*[-0.5] * 40, seed=5)])
    found = superiority(poor, block=3)
    assert found.consistent == pytest.approx(superiority(good, block=3).consistent, abs=0.02)
    assert found.upper > found.consistent + 0.03


def test_without_any_edge_p_is_uniform():
    p = [
        superiority(gains(*[0] * 6, length=250, seed=k), block=3, resamples=200, seed=k).consistent for k in range(250)
    ]
    assert kstest(p, "uniform").pvalue > 0.01


def test_what_equals_the_benchmark_is_left_out():
    series = gains(0.1, 0, 0.0)
    series[:, 1] = 0
    found = superiority(series, block=2)
    assert np.isnan([found.statistic[1], found.adjusted[1]]).all()
    alone = superiority(series[:, [0, 2]], block=2)
    assert found.adjusted[[0, 2]] == pytest.approx(alone.adjusted)
    assert np.isnan(superiority(np.zeros((100, 2))).consistent)


def test_regression_what_a_strategy_lacks_is_what_those_above_it_lack_too():
    """The step-down p-value of the second is at least that of the first; the years it needs were told without it, even 0."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        gains = rng.standard_normal((200, 6)) + np.linspace(0.0, 0.2, 6)
        found = superiority(gains, block=2, resamples=200, seed=seed)
        assert ((found.needed < 1) == (found.adjusted <= 0.05)).all()
        steps = found.needed[np.argsort(-found.statistic)]
        assert (steps[1:] >= steps[:-1]).all()
        assert np.isinf(found.needed[found.statistic <= 0]).all()
    assert np.isinf(superiority(gains, block=2, resamples=10).needed).all(), "10 resamples never reach 5 %"
