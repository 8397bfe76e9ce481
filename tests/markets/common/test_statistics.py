import numpy as np
import pandas as pd
import pytest
from scipy import stats

from markets import load
from markets.common.statistics import (
    bars_per_year,
    certainty_equivalent,
    expected_shortfall,
    growth_per_year,
    hit_rate,
    kurtosis,
    log_quarterly_volatilities,
    max_drawdown,
    profit_factor,
    ratio,
    returns_of,
    sharpe,
    skew,
    sortino,
    tail_ratio,
    value_at_risk,
    volatility_of_volatility,
    years,
)


def session(day, bars=78):
    """Five-minute bars of a New York session, stamped at their ends."""
    return pd.date_range(f"{day} 09:35", periods=bars, freq="5min")


def test_daily_bars_are_counted_by_calendar_time():
    index = load("sp500").index
    assert years(index) == (index[-1] - index[0]).days / 365.25
    assert bars_per_year(index) == pytest.approx(251.6, abs=0.1)
    assert bars_per_year(pd.date_range("2020-01-01", periods=366)) == pytest.approx(365.25)
    assert bars_per_year(pd.date_range("2015-01-31", periods=49, freq="ME")) == pytest.approx(12.0, abs=0.01)


def test_hours_of_a_market_that_never_closes():
    assert bars_per_year(pd.date_range("2023-01-01", periods=365 * 24, freq="h")) == pytest.approx(8766)


def test_regression_intraday_bars_are_annualised_by_their_sessions():
    """Two sessions are two of 261 weekdays, not 1.3 of 365 days: the old count was 43,000 bars per year for 20,350."""
    two = session("2024-03-05").append(session("2024-03-06"))
    assert bars_per_year(two) == pytest.approx(78 * 365.25 * 5 / 7)
    month = session("2024-03-04")
    for day in pd.bdate_range("2024-03-05", "2024-03-29"):
        month = month.append(session(str(day.date())))
    assert bars_per_year(month) == pytest.approx(78 * 365.25 * 5 / 7)


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_regression_a_single_day_is_not_annualised(zone):
    index = session("2024-03-05").tz_localize(zone)
    assert np.isnan(years(index))
    assert np.isnan(bars_per_year(index))
    assert np.isnan(years(index[:1]))


def test_growth_of_a_span_below_a_week_is_not_annualised():
    assert np.isnan(growth_per_year(1.01, 2 / 365.25))
    assert growth_per_year(4.0, 2.0) == 1.0
    assert growth_per_year(-0.1, 2.0) == -1.0
    assert growth_per_year(0.0, np.nan) == -1.0


def test_regression_rounding_is_no_dispersion():
    """An account in cash at 3 % had a Sharpe ratio of 7e13."""
    equity = 1e6 * (1 + 0.03 / 365.25) ** np.arange(2000)
    returns = equity[1:] / equity[:-1] - 1
    assert 0 < returns.std(ddof=1) < 1e-15
    assert np.isnan(sharpe(returns, 365.25))
    assert np.isnan(sortino(returns, 365.25))
    assert np.isnan(ratio(0.03, max_drawdown(np.array([1.0, 1.0 - 1e-16, 1.1]))))
    assert np.isnan(sharpe(np.array([]), 252))
    small = 1e-6 * np.array([1.0, -1.0, 2.0, 1.0])  # money-market funds do move
    assert sharpe(small) == pytest.approx(small.mean() / small.std(ddof=1))


def test_moments_and_tails_are_scipys_and_numpys():
    returns = np.random.default_rng(0).standard_t(5, 501) * 0.01
    assert skew(returns) == pytest.approx(stats.skew(returns), rel=1e-12)
    assert kurtosis(returns) == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-12)
    assert value_at_risk(returns) == -np.quantile(returns, 0.05)
    assert expected_shortfall(returns) == pytest.approx(-np.sort(returns)[:26].mean())
    assert expected_shortfall(returns) >= value_at_risk(returns)
    assert tail_ratio(returns) == pytest.approx(np.quantile(returns, 0.95) / -np.quantile(returns, 0.05))


def test_certainty_equivalent_by_hand():
    returns = np.array([0.02, -0.01, 0.01])
    assert certainty_equivalent(returns, 4.0, 252) == pytest.approx(252 * (0.02 / 3 - 2 * returns.var(ddof=1)))
    assert certainty_equivalent(np.zeros(5)) == 0  # cash is worth what it earns
    assert np.isnan(certainty_equivalent(returns[:1]))


def test_volatility_of_volatility_is_pandas_by_quarters():
    index = pd.bdate_range("2010-01-04", "2014-06-10")
    returns = np.random.default_rng(0).standard_normal(len(index)) * np.linspace(0.005, 0.03, len(index))
    by_quarter = pd.Series(returns, index).groupby(index.to_period("Q"))
    logs = np.log(by_quarter.std())
    assert volatility_of_volatility(returns, index) == pytest.approx(logs.std(), rel=1e-12)
    quarters, found = log_quarterly_volatilities(returns, index)
    np.testing.assert_allclose(found, logs, rtol=1e-10)
    assert (quarters == logs.index.to_timestamp().to_numpy()).all()
    few = by_quarter.size().iloc[-1] - 19  # the last quarter is left with 19 days
    np.testing.assert_allclose(volatility_of_volatility(returns[:-few], index[:-few]), logs[:-1].std(), rtol=1e-12)
    zoned = index.tz_localize("America/New_York")
    assert volatility_of_volatility(returns, zoned) == volatility_of_volatility(returns, index)


def test_quarters_without_a_volatility_have_no_logarithm():
    index = pd.bdate_range("2010-01-04", "2012-12-31")
    returns = np.random.default_rng(0).normal(0, 0.01, len(index))
    flat = np.where(index.to_period("Q") == "2011Q2", 0.0001, returns)  # in cash, with interest
    assert np.isnan(volatility_of_volatility(flat, index))
    assert np.isnan(volatility_of_volatility(returns[:180], index[:180]))  # three quarters
    noise = 1 / np.sqrt(2 * 64)  # of estimates from 64 returns
    assert volatility_of_volatility(returns, index) == pytest.approx(noise, rel=0.5)


def test_gains_and_losses_by_hand():
    returns = np.array([0.02, 0.0, -0.01, 0.01, 0.0])
    assert hit_rate(returns) == pytest.approx(2 / 3)
    assert profit_factor(returns) == pytest.approx(3)


def test_what_never_moved_has_no_shape():
    still = np.zeros(10)
    for figure in (skew, kurtosis, tail_ratio, hit_rate, profit_factor):
        assert np.isnan(figure(still)), figure
        assert np.isnan(figure(still[:0])), figure
    assert np.isnan(skew(np.full(10, 0.001)))
    assert value_at_risk(still) == expected_shortfall(still) == 0


def test_nothing_is_earned_after_ruin():
    assert returns_of(np.array([100.0, 50, -5, -5])).tolist() == [-0.5, -1.1, 0]
