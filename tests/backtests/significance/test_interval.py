import numpy as np
import pytest
from scipy.stats import norm

from backtests.significance import Interval, LogVariance, MeanReturn, SharpeRatio
from backtests.significance.interval import Sample, interval
from markets import InputError


def sample(length=800, seed=0, statistic=None, scale=1.0, start=0, gap=0.0):
    rng = np.random.default_rng(seed)
    one, two = 0.01 * rng.standard_normal((2, length)) + gap
    return Sample((one, two - gap), np.arange(start, start + length), statistic or MeanReturn(), scale)


def test_what_the_data_could_detect_is_found_four_times_out_of_five():
    found = Interval(0.0, 0.0, 0.0, 1.0, error=0.5)
    power = norm.sf(norm.ppf(0.975) - found.detectable / 0.5) + norm.cdf(-norm.ppf(0.975) - found.detectable / 0.5)
    assert power == pytest.approx(0.8, abs=1e-4)


def test_an_interval_times_a_factor():
    found = Interval(1.0, 0.5, 1.5, 3.0, 0.2, 0.01) * -2
    assert (found.value, found.low, found.high, found.error, found.p) == (-2.0, -3.0, -1.0, 0.4, 0.01)
    assert found.detectable == pytest.approx(0.4 * 2.8016, rel=1e-4)
    assert (Interval(1.0, 0.5, 1.5, 3.0, 0.2, 0.01, critical=3.0) * 2).detectable == pytest.approx(
        0.4 * 3.8416, rel=1e-4
    )
    assert str(found) == "-2.00 [-3.00, -1.00]"


def test_errors_and_p_values_are_those_of_theory_without_dependence():
    found = interval([sample(4000, 3, gap=0.0004)], resamples=2000)
    error = 0.01 * np.sqrt(2 / 4000)
    assert found.error == pytest.approx(error, rel=0.08)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.p == pytest.approx(2 * norm.sf(abs(found.value) / found.error), abs=0.03)
    ratio = interval([sample(4000, 3, LogVariance())], resamples=500)
    assert ratio.error == pytest.approx(np.sqrt(4 / 4000), rel=0.08)  # two variances, of 2 / T each


def test_a_few_long_episodes_are_less_evidence_than_their_error_says():
    """The quantile of t makes the interval wider, and what could be detected larger."""
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.standard_normal(12), 100) + 0.1 * rng.standard_normal(1200)
    found = interval([Sample((0.01 * slow,), np.arange(1200), MeanReturn())], resamples=500)
    assert found.critical > 2.3
    assert found.high - found.value == pytest.approx(found.critical * found.error)
    assert found.detectable == pytest.approx((found.critical + norm.ppf(0.8)) * found.error)
    wide = interval([Sample((0.01 * slow,), np.arange(1200), MeanReturn())], level=0.99, resamples=500)
    assert wide.detectable == found.detectable


def test_p_and_interval_say_the_same():
    for seed in range(12):
        found = interval([sample(200, seed, gap=0.002)], resamples=500)
        assert (found.p <= 0.05) == (found.low > 0 or found.high < 0), seed


def test_scale_and_weights_are_linear():
    one = interval([sample()], resamples=100)
    three = interval([sample(scale=3.0)], resamples=100)
    halves = interval([sample(), sample()], [0.5, 0.5], resamples=100)
    for found, factor in ((three, 3.0), (halves, 1.0)):
        for name in ("value", "low", "high", "error"):
            assert getattr(found, name) == pytest.approx(factor * getattr(one, name), rel=1e-9)
        assert found.p == one.p


def test_a_pool_of_independent_universes_has_the_error_of_a_mean_and_of_the_same_one_none_less():
    """Twice the same luck, on the same days, is no more evidence; apart in time or cause it is."""
    alone = interval([sample(2000, 1)], resamples=300)
    twice = interval([sample(2000, 1), sample(2000, 1)], [0.5, 0.5], resamples=300)
    later = interval([sample(2000, 1), sample(2000, 1, start=2000)], [0.5, 0.5], resamples=300)
    other = interval([sample(2000, 1), sample(2000, 2)], [0.5, 0.5], resamples=300)
    assert twice.error == pytest.approx(alone.error, rel=1e-9)
    assert later.error == pytest.approx(alone.error / np.sqrt(2), rel=0.06)
    assert other.error == pytest.approx(alone.error / np.sqrt(2), rel=0.06)


def test_a_day_apart_counts_as_shared():
    """Markets that close at other hours have the same news one row later: blocks hold both."""
    late = interval([sample(2000, 1), sample(2000, 1, start=1)], [0.5, 0.5], resamples=100)
    alone = interval([sample(2000, 1)], resamples=100)
    assert late.error == pytest.approx(alone.error, rel=0.1)


def test_universes_of_other_lengths_are_weighed_by_the_weights_alone():
    long, short = sample(3000, 1, gap=0.001), sample(300, 2, start=2000)
    found = interval([long, short], [0.5, 0.5], resamples=200)
    assert found.value == pytest.approx(0.5 * long.value + 0.5 * short.value)
    errors = [interval([s], resamples=50).error for s in (long, short)]
    assert found.error == pytest.approx(0.5 * np.hypot(*errors), rel=0.05)


def test_what_is_certain_has_no_width():
    a = 0.01 * np.random.default_rng(0).standard_normal(100)
    half = interval([Sample((0.5 * a, a), np.arange(100), LogVariance())], resamples=99)
    assert (half.low, half.high, half.error, half.p) == (half.value, half.value, 0.0, 0.01)
    assert half.value == pytest.approx(np.log(0.25))
    same = interval([Sample((a, a.copy()), np.arange(100), SharpeRatio())])
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_few_observations_have_a_value_and_no_interval():
    found = interval([sample(20)])
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high, found.error, found.p]).all()
    assert np.isnan(interval([sample(1)]).value)


def test_what_has_no_weight_is_left_out():
    still = Sample((np.zeros(900), np.zeros(900) + 0.01), np.arange(900), LogVariance())
    one = sample(800, 1, LogVariance())
    assert np.isnan(still.value)
    assert interval([one, still], [1.0, 0.0], resamples=50) == interval([one], resamples=50)
    assert np.isnan(interval([one, still], [0.5, 0.5], resamples=50).value)


def test_settings_are_checked():
    with pytest.raises(InputError, match="level and resamples are 95 and 5000"):
        interval([sample()], level=95)
    with pytest.raises(InputError, match="and at least 1"):
        interval([sample()], resamples=0)
