import numpy as np
import pandas as pd
import pytest

from backtests.metrics import metrics
from backtests.significance import (
    STATISTICS,
    CertaintyEquivalent,
    ExpectedShortfall,
    LogVariance,
    SharpeRatio,
    Statistic,
    VolatilityOfVolatility,
)
from backtests.significance.statistic import find_statistic
from markets import InputError
from markets.common.statistics import bars_per_year, returns_of


def returns(length=600, seed=0):
    return 0.0005 + 0.01 * np.random.default_rng(seed).standard_t(5, length)


def account(length=1500, seed=0):
    index = pd.bdate_range("2010-01-04", periods=length)
    return index, 1e6 * np.cumprod(np.append(1, 1 + returns(length - 1, seed)))


def test_annualised_values_are_those_of_the_metrics():
    index, equity = account()
    nothing = np.zeros(len(index))
    found = metrics(index, equity, nothing, nothing, np.ones((len(index), 1)))
    expected = {
        "sharpe": found["Sharpe"], "log variance": 2 * np.log(found["volatility"]) - np.log(bars_per_year(index)),
        "certainty equivalent": found["certainty equivalent"], "expected shortfall": found["expected shortfall"],
        "mean": returns_of(equity).mean() * bars_per_year(index), "volatility": found["volatility"],
        "volatility of volatility": found["volatility of volatility"],
    }  # fmt: skip
    assert expected.keys() == STATISTICS.keys()
    for name, statistic in STATISTICS.items():
        _, observed = statistic.observed(returns_of(equity), index[1:])
        value = statistic.value(observed) * bars_per_year(index) ** statistic.annual
        assert value == pytest.approx(expected[name], rel=1e-12), name


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_the_value_at_the_samples_means_is_the_value(statistic):
    observed = returns()
    moments = statistic.moments(observed)
    value, slope, level = statistic.at(moments.mean(axis=0), len(observed))
    assert value == pytest.approx(statistic.value(observed), rel=1e-9)
    np.testing.assert_allclose(moments @ slope - level, statistic.influence(observed), atol=1e-12)
    assert abs(statistic.influence(observed).mean()) < 2 * observed.std() / len(observed) + 1e-9


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_influence_is_what_one_observation_more_of_that_value_does(statistic):
    """The derivative in the weight of an observation: the share ε of the sample is replaced by copies of it."""
    observed, copies = returns(200_000), 20  # one more of the worst 5 %
    psi = statistic.influence(observed)
    for t in (7, 123, int(observed.argmin()), int(observed.argmax())):
        more = np.append(observed, np.full(copies, observed[t]))
        moved = (statistic.value(more) - statistic.value(observed)) * len(more) / copies
        assert moved == pytest.approx(psi[t], rel=0.03, abs=0.03 * psi.std())


def test_errors_by_influence_are_those_of_theory():
    """For normal returns: var(S) = (1 + S²/2) / T, var(log variance) = 2 / T."""
    observed = 0.2 + np.random.default_rng(0).standard_normal(100_000)
    assert SharpeRatio().influence(observed).var() == pytest.approx(1 + 0.2**2 / 2, rel=0.02)
    assert LogVariance().influence(observed).var() == pytest.approx(2, rel=0.03)
    gamma = 3.0
    assert CertaintyEquivalent(gamma).influence(observed).var() == pytest.approx(1 + gamma**2 / 2, rel=0.03)


def test_the_error_of_a_shortfall_is_that_of_many_samples():
    samples = np.random.default_rng(1).standard_normal((4000, 500))
    values = [ExpectedShortfall(0.1).value(sample) for sample in samples]
    error = np.mean([ExpectedShortfall(0.1).influence(sample).std() for sample in samples]) / np.sqrt(500)
    assert np.std(values) == pytest.approx(error, rel=0.08)


def test_what_is_not_defined_is_nan():
    still = np.zeros(100)
    assert np.isnan([LogVariance().value(still), SharpeRatio().value(still)]).all()
    assert CertaintyEquivalent().value(still) == 0
    index = pd.bdate_range("2010-01-04", periods=400)
    flat = np.where(index < "2010-07-01", 0.0, returns(400))
    times, logs = VolatilityOfVolatility().observed(flat, index)
    assert times[0] == np.datetime64("2010-01-01")
    assert np.isneginf(logs[:2]).all()
    assert np.isnan(VolatilityOfVolatility().value(logs))


def test_times_are_in_utc():
    index = pd.date_range("2020-01-01 16:00", periods=50, tz="America/New_York")
    times, _ = SharpeRatio().observed(returns(50), index)
    assert times[0] == np.datetime64("2020-01-01T21:00")


def test_statistics_are_found_by_name():
    assert find_statistic("sharpe") == STATISTICS["sharpe"]
    mine = CertaintyEquivalent(10.0)
    assert find_statistic(mine) is mine
    assert isinstance(mine, Statistic)
    with pytest.raises(InputError, match="statistic 'omega' is unknown; use sharpe, log variance"):
        find_statistic("omega")
    with pytest.raises(InputError, match="max drawdown hangs on the order of the bars"):
        find_statistic("max drawdown")
    with pytest.raises(InputError, match="tail is 5"):
        ExpectedShortfall(5)
