import numpy as np
import pandas as pd
import pytest
import samples

from backtests import walk_forward
from backtests.metrics import by_month, by_regime, by_year
from markets import HiddenMarkovRegimes, InputError, RegimePath
from strategies import Momentum


@pytest.fixture(scope="module")
def result():
    return walk_forward([Momentum(20)], samples.regime_bars(900, 3, 0), progress=False)


def test_years_and_months_multiply_to_the_whole(result):
    total = result[0].metrics["total return"]
    years, months = by_year(result[0]), by_month(result[0])
    assert np.prod(1 + years["total return"]) - 1 == pytest.approx(total, rel=1e-10)
    assert np.nanprod(1 + months.to_numpy()) - 1 == pytest.approx(total, rel=1e-10)
    np.testing.assert_allclose(np.nanprod(1 + months, axis=1) - 1, years["total return"], rtol=1e-10)
    assert list(months.columns) == list(range(1, 13))


def test_a_year_is_measured_from_the_last_mark_before_it(result):
    backtest = result[0]
    equity = pd.Series(backtest.equity, backtest.index)
    year = int(backtest.index.year[-1])
    last = equity[equity.index.year == year]
    before = equity[equity.index.year < year].iloc[-1]
    row = by_year(backtest).loc[year]
    assert row["total return"] == pytest.approx(last.iloc[-1] / before - 1)
    path = np.append(before, last)
    assert row["max drawdown"] == pytest.approx((1 - path / np.maximum.accumulate(path)).max())
    assert by_year(backtest)["turnover"].sum() == pytest.approx(
        backtest.metrics["turnover"] * (backtest.index[-1] - backtest.index[0]).days / 365.25
    )


def test_regimes_divide_the_bars_and_the_mean_return(result):
    backtest = result[0]
    regimes = HiddenMarkovRegimes(2, restarts=2).fit(result.bars).filter(result.bars)
    table = by_regime(backtest, regimes)
    assert list(table.index) == list(regimes.names)
    assert table["bars"].sum() == len(backtest.index) - 1
    mean = backtest.metrics["Sharpe"] * backtest.metrics["volatility"]
    assert (table["share of bars"] * table["mean return"]).sum() == pytest.approx(mean)


def test_a_return_belongs_to_the_regime_known_when_it_began():
    index = pd.date_range("2024-01-01", periods=4)
    sorted_by_label = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=float)
    account = walk_forward([Momentum(20)], samples.regime_bars(60, 2, 0), progress=False)[0]
    equity = np.array([100.0, 110, 55, 66])
    object.__setattr__(account, "index", index)
    for name, value in {"equity": equity, "cost": np.zeros(4), "traded": np.zeros(4)}.items():
        object.__setattr__(account, name, value)
    table = by_regime(account, RegimePath(index, sorted_by_label, ("calm", "wild")))
    assert table["bars"].tolist() == [2, 1]
    assert table.loc["wild", "max drawdown"] == pytest.approx(0.5)
    assert table.loc["calm", "hit rate"] == 1
    with pytest.raises(InputError, match="regimes begin"):
        by_regime(account, RegimePath(index[1:], sorted_by_label[1:], ("calm", "wild")))
