"""Metrics against empyrical-reloaded and quantstats, to 1e-10 where definitions are the same."""

import numpy as np
import pandas as pd
import pytest

from backtests.metrics import against, by_month, by_year, drawdowns, metrics
from markets.common.statistics import skew

empyrical = pytest.importorskip("empyrical")
quantstats = pytest.importorskip("quantstats")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


class Account:
    def __init__(self, seed, length=1200):
        rng = np.random.default_rng(seed)
        self.returns = rng.normal(0.0004, 0.01, length) + 0.003 * rng.standard_t(4, length)
        self.index = pd.bdate_range("2012-01-02", periods=length + 1)
        self.equity = 100 * np.cumprod(np.append(1, 1 + self.returns))
        self.cost = self.traded = np.zeros(length + 1)
        self.weights = np.ones((length + 1, 1))
        self.series = pd.Series(self.equity, self.index).pct_change().dropna()
        self.years = (self.index[-1] - self.index[0]).days / 365.25
        self.per_year = length / self.years

    @property
    def metrics(self):
        return metrics(self.index, self.equity, self.cost, self.traded, self.weights)


@pytest.fixture(params=range(4))
def account(request):
    return Account(request.param)


def agree(ours, theirs):
    assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-12)


def test_empyrical(account):
    """Its figures per year take any number of bars per year: ours."""
    found, r, year = account.metrics, account.series, {"annualization": account.per_year}
    agree(found["total return"], empyrical.cum_returns_final(r))
    agree(found["CAGR"], empyrical.annual_return(r, **year))
    agree(found["volatility"], empyrical.annual_volatility(r, **year))
    agree(found["Sharpe"], empyrical.sharpe_ratio(r, **year))
    agree(found["Sortino"], empyrical.sortino_ratio(r, **year))
    agree(found["max drawdown"], -empyrical.max_drawdown(r))
    agree(found["Calmar"], empyrical.calmar_ratio(r, **year))
    agree(found["VaR"], -empyrical.value_at_risk(r, 0.05))
    agree(found["expected shortfall"], -empyrical.conditional_value_at_risk(r, 0.05))
    agree(found["tail ratio"], empyrical.tail_ratio(r))


def test_quantstats(account):
    found, r = account.metrics, account.series
    per_year = account.per_year
    agree(found["Sharpe"], quantstats.stats.sharpe(r, periods=per_year))
    agree(found["Sortino"], quantstats.stats.sortino(r, periods=per_year))
    agree(found["volatility"], quantstats.stats.volatility(r, periods=per_year))
    agree(found["hit rate"], quantstats.stats.win_rate(r))
    agree(found["profit factor"], quantstats.stats.profit_factor(r))
    agree(found["tail ratio"], quantstats.stats.tail_ratio(r))
    n = len(r)
    unbiased = np.sqrt(n * (n - 1)) / (n - 2)  # theirs is corrected for the size of the sample
    agree(skew(account.returns) * unbiased, quantstats.stats.skew(r))
    excess = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * (found["kurtosis"] - 3) + 6)
    agree(excess, quantstats.stats.kurtosis(r))


def test_beside_another(account):
    other = Account(99)
    found, year = against(account, other), {"annualization": account.per_year}
    alpha, beta = empyrical.alpha_beta(account.series, other.series, **year)
    agree(found["beta"], beta)
    agree((1 + found["alpha"] / account.per_year) ** account.per_year - 1, alpha)  # theirs is compounded
    theirs = quantstats.stats.information_ratio(account.series, other.series)
    agree(found["information ratio"] / np.sqrt(account.per_year), theirs)  # theirs is per bar


def test_years_and_months(account):
    r = account.series
    np.testing.assert_allclose(by_year(account)["total return"], empyrical.aggregate_returns(r, "yearly"), rtol=1e-10)
    ours = by_month(account).stack().dropna().to_numpy()
    np.testing.assert_allclose(ours, empyrical.aggregate_returns(r, "monthly").to_numpy(), rtol=1e-10)


def test_drawdowns(account):
    series = quantstats.stats.to_drawdown_series(account.series)
    theirs = quantstats.stats.drawdown_details(series).sort_values("max drawdown").head(5)
    agree(drawdowns(account)["depth"].to_numpy(), -theirs["max drawdown"].to_numpy() / 100)
