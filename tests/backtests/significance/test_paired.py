import numpy as np
import pandas as pd
import pytest
import samples

from backtests import Backtest, walk_forward
from backtests.significance import (
    STATISTICS,
    CertaintyEquivalent,
    Interval,
    Statistic,
    paired,
    pooled,
    sharpe_gap,
)
from markets import InputError
from markets.common.statistics import bars_per_year
from strategies import EqualWeight, Momentum


def account(returns, start="2005-01-03", name="a"):
    """A backtest that earned these returns on business days."""
    index = pd.bdate_range(start, periods=len(returns) + 1)
    nothing = np.zeros(len(index))
    equity = 1e6 * np.cumprod(np.append(1.0, 1 + returns))
    return Backtest(name, index, ("x",), equity, nothing, nothing, np.ones((len(index), 1)), None)


def market(length, seed, common=None, share=0.0):
    """Volatility (T,) and shocks (T,) of GARCH(1, 1)."""
    shocks = np.random.default_rng(seed).standard_t(8, length + 300) * np.sqrt(6 / 8)
    if common is not None:
        shocks = np.sqrt(share) * common + np.sqrt(1 - share) * shocks
    variance = np.ones(length + 300)
    for t in range(length + 299):
        variance[t + 1] = 0.02 + variance[t] * (0.08 * shocks[t] ** 2 + 0.90)
    return np.sqrt(variance[300:]), shocks[300:]


def alike(length, seed, *shared):
    """Returns (T, 2) of two accounts in one market, the first 1.1 times as large: the log variance ratio is log(1.21)."""
    volatility, shocks = market(length, seed, *shared)
    noise = np.random.default_rng([seed, 8] if isinstance(seed, int) else [*seed, 8]).standard_normal((2, length))
    one, two = volatility * (np.sqrt(0.95) * shocks + np.sqrt(0.05) * noise)
    return 0.01 * np.column_stack([1.1 * one, two])


def managed(length, seed):
    """Returns (T, 2) of an account, and of one that holds the same at constant risk."""
    volatility, shocks = market(length, seed)
    return 0.01 * np.column_stack([volatility * shocks, shocks]) + 0.0004


TRUTH = np.log(1.21)
WORTH = -0.5 * 5 * 0.01**2 * 0.21  # per bar


def covered(statistic, truth, draws, length=1000, resamples=200):
    """Share of the intervals that hold the truth."""
    per_year = bars_per_year(account(np.zeros(length)).index)
    inside = []
    for k in range(draws):
        found = paired(*map(account, alike(length, k).T), statistic, resamples=resamples, seed=k)
        inside.append(found.low <= truth * per_year ** STATISTICS[statistic].annual <= found.high)
    return float(np.mean(inside))


@pytest.fixture(scope="module")
def result():
    return walk_forward([EqualWeight(), Momentum(20)], samples.regime_bars(700, 4, 1), progress=False)


@pytest.mark.parametrize(
    ("statistic", "metric"),
    [
        ("sharpe", "Sharpe"), ("certainty equivalent", "certainty equivalent"), ("volatility", "volatility"),
        ("expected shortfall", "expected shortfall"),
    ],
)  # fmt: skip
def test_the_difference_is_that_of_the_metrics(result, statistic, metric):
    found = paired(result[1], result[0], statistic, resamples=200)
    assert found.value == pytest.approx(result[1].metrics[metric] - result[0].metrics[metric], rel=1e-9)
    assert found.low < found.value < found.high
    other = paired(result[0], result[1], statistic, resamples=200)
    assert (other.value, other.low, other.high) == pytest.approx((-found.value, -found.high, -found.low), rel=1e-6)
    assert other.error == pytest.approx(found.error)


def test_the_log_variance_ratio_is_twice_the_log_of_the_volatilities(result):
    found = paired(result[1], result[0], "log variance", resamples=100)
    assert found.value == pytest.approx(2 * np.log(result[1].metrics["volatility"] / result[0].metrics["volatility"]))


def test_of_sharpe_ratios_it_is_the_gap(result):
    assert paired(result[1], result[0], resamples=300) == sharpe_gap(result[1], result[0], resamples=300)


def test_quarters_are_the_observations_of_a_volatility_of_volatility():
    wild, calm = managed(2600, 1).T
    found = paired(account(wild), account(calm), "volatility of volatility", resamples=500)
    metrics = [account(r).metrics["volatility of volatility"] for r in (wild, calm)]
    assert found.value == pytest.approx(metrics[0] - metrics[1])
    assert 0 < found.low < found.value < found.high
    short = paired(account(wild[:500]), account(calm[:500]), "volatility of volatility")
    assert np.isfinite(short.value)
    assert np.isnan(short.low)  # eight quarters


def test_the_error_of_a_log_variance_ratio_is_that_of_theory():
    """Of two independent normal accounts it is √(4 / T), and of two of correlation ρ, √(4 (1 − ρ²) / T)."""
    rng = np.random.default_rng(0)
    a, b = 0.01 * rng.standard_normal((2, 5000))
    found = paired(account(a), account(b), "log variance", resamples=100)
    assert found.error == pytest.approx(np.sqrt(4 / 5000), rel=0.08)
    close = 0.9 * a + np.sqrt(1 - 0.81) * b
    found = paired(account(a), account(close), "log variance", resamples=100)
    assert found.error == pytest.approx(np.sqrt(4 * (1 - 0.81) / 5000), rel=0.08)


def test_statistics_of_other_settings_and_of_ones_making():
    class Exceedances(Statistic):
        """Share of bars that lose more than 2 %."""

        name = "exceedances"

        def value(self, observed):
            return float(np.mean(observed < -0.02))

        def moments(self, observed):
            return (observed < -0.02)[:, None].astype(float)

        def at(self, means, count):
            return means[..., 0], np.ones_like(means), means[..., 0]

    wild, calm = managed(3000, 2).T
    found = paired(account(wild), account(calm), Exceedances(), resamples=200)
    assert found.value == np.mean(wild < -0.02) - np.mean(calm < -0.02)
    steep, mild = (paired(account(wild), account(calm), CertaintyEquivalent(g), resamples=50) for g in (10.0, 2.0))
    assert steep.value < mild.value


@pytest.mark.parametrize(("statistic", "truth"), [("log variance", TRUTH), ("certainty equivalent", WORTH)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(statistic, truth):
    assert covered(statistic, truth, draws=60) >= 0.85  # at 95 %, fewer than 51 of 60 is once in 2,000


@pytest.mark.slow
@pytest.mark.parametrize(("statistic", "truth"), [("log variance", TRUTH), ("certainty equivalent", WORTH)])
def test_coverage(statistic, truth):
    assert 0.92 <= covered(statistic, truth, draws=500, length=1500, resamples=500) <= 0.98


def correlated(seed, share=0.7):
    """Three universes that share their shocks: all days, the first half, and the last third."""
    common = np.random.default_rng([seed, 9]).standard_t(8, 1500) * np.sqrt(6 / 8)
    pairs = []
    for k, (first, last) in enumerate(((0, 1200), (0, 600), (800, 1200))):
        both = alike(1200, [seed, k], common, share)[first:last]
        start = pd.bdate_range("2005-01-03", periods=first + 1)[-1]
        pairs.append((account(both[:, 0], start), account(both[:, 1], start)))
    return pairs


def test_pools_hold_the_truth_about_as_often_as_they_say():
    """Their true log variance ratios are the same; adding up errors as if they were independent would be too sure."""
    inside, alone = 0, 0
    for k in range(60):
        pairs = correlated(k)
        found = pooled(pairs, "log variance", resamples=200, seed=k)
        inside += found.low <= TRUTH <= found.high
        errors = [paired(*pair, "log variance", resamples=1).error for pair in pairs]
        alone += abs(found.value - TRUTH) <= 1.96 * np.sum(np.array(errors) ** -2.0) ** -0.5
    assert inside >= 51
    assert alone < inside


def test_a_pool_of_one_is_the_pair_and_weights_are_what_they_say():
    pairs = correlated(3)
    single = [paired(*pair, "certainty equivalent", resamples=100) for pair in pairs]
    assert pooled(pairs[:1], "certainty equivalent", resamples=100) == single[0]
    values = np.array([one.value for one in single])
    found = pooled(pairs, "certainty equivalent", weights="equal", resamples=100)
    assert found.value == pytest.approx(values.mean())
    precision = np.array([one.error for one in single]) ** -2.0
    found = pooled(pairs, "certainty equivalent", resamples=100)
    assert found.value == pytest.approx((values * precision).sum() / precision.sum())
    found = pooled(pairs, "certainty equivalent", weights=[0, 0, 2], resamples=100)
    assert found.value == pytest.approx(values[2])
    assert isinstance(found, Interval)


def test_a_universe_on_which_nothing_differs_counts_as_a_zero():
    """Its certainty is no reason to give it all the weight."""
    one, other = correlated(5)[0]
    found = pooled([(one, other), (other, other)], "log variance", resamples=100)
    assert found.value == pytest.approx(paired(one, other, "log variance", resamples=1).value / 2)
    nothing = pooled([(one, one), (other, other)], "log variance")
    assert (nothing.value, nothing.low, nothing.high, nothing.p) == (0, 0, 0, 1)


def test_quarters_are_pooled_too():
    pairs = [tuple(account(r) for r in managed(2600, k).T) for k in (1, 2)]
    found = pooled(pairs, "volatility of volatility", resamples=300)
    single = [paired(*pair, "volatility of volatility", resamples=300) for pair in pairs]
    assert found.error < min(one.error for one in single)


def test_errors_name_what_is_wrong():
    wild, calm = managed(200, 0).T
    with pytest.raises(InputError, match="not run on the same bars"):
        paired(account(wild), account(calm[:-1]))
    with pytest.raises(InputError, match="there are no pairs to pool"):
        pooled([])
    with pytest.raises(InputError, match='use "precision", "equal", or one number'):
        pooled([(account(wild), account(calm))], weights="best")
    with pytest.raises(InputError, match="give 1, one for each pair"):
        pooled([(account(wild), account(calm))], weights=[1, 2])
    with pytest.raises(InputError, match="unknown; use sharpe"):
        paired(account(wild), account(calm), "alpha")
