import numpy as np
import pandas as pd
import pytest

from backtests import walk_forward
from backtests.report import curves
from strategies import EqualWeight, Plan, Strategy


@pytest.fixture(scope="module")
def result(bars):
    return walk_forward([EqualWeight()], bars[1000:], progress=False)


def test_equity_and_drawdown_are_those_of_the_metrics(result):
    backtest = result[0]
    assert curves.equity(backtest)[-1] == pytest.approx(1 + backtest.metrics["total return"])
    assert curves.drawdown(backtest).min() == pytest.approx(-backtest.metrics["max drawdown"])


def test_rolling_figures_of_the_whole_span_are_the_metrics(result):
    backtest = result[0]
    sharpe, volatility = curves.rolling(backtest, len(backtest.returns), (len(backtest.returns)) / 1.0)
    per_year = len(backtest.returns)
    assert np.isnan(sharpe[:-1]).all()
    expected = backtest.returns.mean() / backtest.returns.std(ddof=1) * np.sqrt(per_year)
    assert sharpe[-1] == pytest.approx(expected)
    assert volatility[-1] == pytest.approx(backtest.returns.std(ddof=1) * np.sqrt(per_year))


def test_rolling_figures_see_no_later_bar(result):
    backtest = result[0]
    cut = walk_forward([EqualWeight()], result.bars[:300], progress=False)[0]
    for whole, part in zip(curves.rolling(backtest, 50, 252.0), curves.rolling(cut, 50, 252.0), strict=True):
        np.testing.assert_allclose(whole[:300], part, rtol=1e-9)


def test_the_window_is_a_year_or_a_quarter_of_the_span(bars):
    def window(part):
        return curves.rolling_window(walk_forward([EqualWeight()], part, progress=False))

    assert window(bars) == round(bars.bars_per_year)
    assert window(bars[1400:]) == 25
    assert window(bars[1496:]) == 2


def test_costs_add_up_and_the_first_purchase_is_no_turnover(result):
    backtest = result[0]
    turnover, costs = curves.trading(backtest, 63, result.bars.bars_per_year)
    assert costs[-1] == pytest.approx((backtest.cost[1:] / backtest.equity[:-1]).sum())
    assert np.isnan(turnover[:2]).all()
    share = backtest.traded[2:65] / backtest.equity[1:64]
    assert turnover[64] == pytest.approx(share.mean() * result.bars.bars_per_year)


class Nothing(Strategy):
    name = "nothing"

    def plan(self, bars):
        return Plan(np.zeros(bars.shape))


def test_an_account_that_never_moves_has_no_sharpe_ratio(bars):
    backtest = walk_forward([Nothing()], bars[1400:], progress=False)[0]
    sharpe, volatility = curves.rolling(backtest, 10, 252.0)
    assert np.isnan(sharpe).all()
    assert np.nanmax(volatility) == 0
    assert isinstance(backtest.index, pd.DatetimeIndex)


def test_beta_of_the_whole_span_is_that_of_the_table(bars):
    from backtests.metrics import against
    from strategies import Momentum

    result = walk_forward([EqualWeight(), Momentum(50)], bars[1000:], progress=False)
    beta = curves.rolling_beta(result[1], result[0], len(bars[1000:]) - 1)
    assert beta[-1] == pytest.approx(against(result[1], result[0])["beta"])
    assert np.isnan(beta[:-1]).all()
    np.testing.assert_allclose(curves.rolling_beta(result[0], result[0], 50)[60:], 1)
