import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.significance import sharpe_difference, sharpe_gap, sharpe_interval
from backtests.significance.resampling import shortest_block
from markets import InputError
from strategies import EqualWeight, InverseVolatility, Momentum


def noise(length, seed=0, columns=2):
    return 0.01 * np.random.default_rng(seed).standard_normal((columns, length))


def test_the_difference_is_that_of_the_tables_sharpe_ratios():
    result = walk_forward([EqualWeight(), Momentum(20)], samples.regime_bars(500, 4, 1), progress=False)
    found = sharpe_gap(result[0], result[1], resamples=200)
    assert found.value == pytest.approx(result[0].metrics["Sharpe"] - result[1].metrics["Sharpe"], rel=1e-9)
    assert found.low < found.value < found.high
    other = sharpe_gap(result[1], result[0], resamples=200)
    assert (other.value, other.low, other.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_without_dependence_the_interval_is_that_of_theory():
    a, b = noise(2000, 3)
    found = sharpe_difference(a, b, resamples=1000)
    wide = 2 * 1.96 * np.sqrt(2 / 2000)  # independent series, ratios near zero: each has a variance of 1 / T
    assert found.high - found.low == pytest.approx(wide, rel=0.15)
    assert found.block == shortest_block(2000)


def test_what_two_accounts_share_makes_no_interval_wider():
    shared, alone = noise(2000, 5)
    close = sharpe_difference(shared + 0.05 * alone, shared, resamples=200)
    apart = sharpe_difference(alone, shared, resamples=200)
    assert close.high - close.low < 0.1 * (apart.high - apart.low)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    inside = 0
    for k in range(60):
        shocks = rng.standard_normal((2, 609))
        a, b = (np.convolve(x, np.ones(10), "valid") for x in shocks)  # strongly dependent
        found = sharpe_difference(a, b, resamples=100, seed=k)
        inside += found.low <= 0 <= found.high
    assert inside >= 48  # resampling single bars would give intervals a third as wide, and about 27


def test_dependence_makes_blocks_longer_and_intervals_wider():
    a, b = noise(2000, 7)
    slow = [np.convolve(x, np.ones(20) / 20**0.5, "same") for x in (a, b)]
    quick, resampled = sharpe_difference(a, b, resamples=150), sharpe_difference(*slow, resamples=150)
    assert resampled.block > 3 * quick.block
    assert resampled.high - resampled.low > 2 * (quick.high - quick.low)


def test_one_account_under_two_names_differs_by_nothing():
    a, _ = noise(100)
    found = sharpe_difference(a, a.copy())
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_same_seed_draws_the_same():
    a, b = noise(300)
    assert sharpe_difference(a, b, resamples=50, seed=1) == sharpe_difference(a, b, resamples=50, seed=1)
    assert sharpe_difference(a, b, resamples=50, seed=1) != sharpe_difference(a, b, resamples=50, seed=2)


def test_an_account_that_never_moves_has_no_ratio():
    a, _ = noise(100)
    assert np.isnan(sharpe_difference(a, np.zeros(100)).low)


def test_errors_name_what_is_wrong():
    bars = samples.regime_bars(200, 2, 0)
    result, other = (walk_forward([InverseVolatility(5)], b, progress=False) for b in (bars, bars[:150]))
    with pytest.raises(InputError, match="not run on the same bars"):
        sharpe_gap(result[0], other[0])
    a, b = noise(100)
    with pytest.raises(InputError, match=r"shapes \(100,\) and \(99,\)"):
        sharpe_difference(a, b[:-1])
    with pytest.raises(InputError, match="level"):
        sharpe_difference(a, b, level=95)
    with pytest.raises(InputError, match="two series of 30"):
        sharpe_difference(a[:5], b[:5])


def test_regression_an_account_in_cash_with_interest_has_no_difference_of_ratios():
    """The dispersion of its returns is rounding, so the difference was of the order 1e13."""
    equity = 1e6 * (1 + 0.03 / 365.25) ** np.arange(400)
    cash = equity[1:] / equity[:-1] - 1
    found = sharpe_difference(np.random.default_rng(0).normal(0, 0.01, 399), cash)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_the_interval_of_one_ratio_is_that_of_theory():
    """Lo, "The statistics of Sharpe ratios" (2002): a variance of (1 + S²/2) / T for normal returns."""
    returns = 0.3 + np.random.default_rng(0).standard_normal(4000)
    found = sharpe_interval(returns, resamples=1000)
    ratio = returns.mean() / returns.std(ddof=1)
    assert found.value == ratio
    assert found.high - found.value == pytest.approx(1.96 * np.sqrt((1 + ratio**2 / 2) / 4000), rel=0.1)
    assert found.value - found.low == pytest.approx(found.high - found.value)
    with pytest.raises(InputError, match="a series of 30"):
        sharpe_interval(returns[:20])
    assert np.isnan(sharpe_interval(np.zeros(100)).low)


def test_regression_a_multiple_of_an_account_differs_by_nothing():
    """Rounding of 1e-17 was resampled, and had a p-value and years to wait for."""
    a, _ = noise(100)
    for scale in (0.5, 1 / 3, 0.7, 1.3):
        found = sharpe_difference(scale * a, a)
        assert (found.value, found.low, found.high) == (0, 0, 0)
    almost = sharpe_difference(a + 1e-9 * noise(100, 1)[0], a, resamples=100)
    assert almost.low < almost.value < almost.high
