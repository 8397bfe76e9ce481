import numpy as np
import pandas as pd
import pytest

from backtests.metrics import METRICS, formatted, metrics

INDEX = pd.date_range("2020-01-01", periods=366)


def account(equity, traded=None):
    equity = np.asarray(equity, dtype=float)
    zeros = np.zeros(len(equity))
    return metrics(INDEX[: len(equity)], equity, zeros, zeros if traded is None else traded, np.ones((len(equity), 1)))


def test_conventions_by_hand():
    returns = np.random.default_rng(0).normal(0.001, 0.01, 365)
    equity = 100 * np.cumprod(np.append(1, 1 + returns))
    found, per_year, years = account(equity), 365.25, 365 / 365.25
    series = pd.Series(equity)
    expected = {
        "total return": equity[-1] / 100 - 1,
        "CAGR": (equity[-1] / 100) ** (1 / years) - 1,
        "volatility": returns.std(ddof=1) * per_year**0.5,
        "certainty equivalent": (returns.mean() - 2.5 * returns.var(ddof=1)) * per_year,
        "volatility of volatility": np.log(pd.Series(returns, INDEX[1:]).resample("QS").std()).std(),
        "Sharpe": returns.mean() / returns.std(ddof=1) * per_year**0.5,
        "Sortino": returns.mean() / np.sqrt((returns.clip(max=0) ** 2).mean()) * per_year**0.5,
        "max drawdown": (1 - series / series.cummax()).max(),
        "exposure": 1.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    assert found["Calmar"] == pytest.approx(found["CAGR"] / found["max drawdown"])
    assert found.keys() == METRICS.keys()


def test_turnover_is_traded_value_per_year_over_equity():
    traded = np.zeros(366)
    traded[10] = 50.0
    assert account(np.full(366, 100.0), traded)["turnover"] == pytest.approx(0.5 * 365.25 / 365)


def test_an_account_that_never_moves_has_no_ratio():
    found = account(np.full(366, 100.0))
    assert np.isnan(found["Sharpe"])
    assert np.isnan(found["Calmar"])
    assert found["CAGR"] == 0


def test_ruin_is_a_total_loss_and_earns_nothing_after():
    found = account([100, 50, -20, -20, -20])
    assert found["CAGR"] == -1
    assert found["max drawdown"] == pytest.approx(1.2)
    assert np.isfinite(found["Sharpe"])


def test_text():
    table = pd.DataFrame({"Sharpe": [0.123, np.nan], "CAGR": [0.1, -0.05], "turnover": [2.0, 0.0]})
    assert formatted(table).to_numpy().tolist() == [["0.12", "10.0%", "2.0x"], ["–", "-5.0%", "0.0x"]]


def test_regression_cash_with_interest_has_no_sharpe_ratio():
    """It was 7e13: the denominator was rounding."""
    found = account(1e6 * (1 + 0.03 / 365.25) ** np.arange(366))
    assert found["CAGR"] == pytest.approx((1 + 0.03 / 365.25) ** 365.25 - 1)
    assert np.isnan([found[name] for name in ("Sharpe", "Sortino", "Calmar")]).all()
    text = formatted(pd.DataFrame({"cash": found}).T).loc["cash"]
    assert text[["Sharpe", "Sortino", "Calmar"]].tolist() == ["–"] * 3


def test_regression_a_single_day_of_minutes_is_not_annualised():
    index = pd.date_range("2024-03-05 09:31", periods=390, freq="min")
    equity = 100 * np.cumprod(1 + np.random.default_rng(0).normal(0, 1e-3, 390))
    zeros = np.zeros(390)
    found = metrics(index, equity, zeros, zeros, np.ones((390, 1)))
    assert found["total return"] == equity[-1] / equity[0] - 1
    assert np.isnan([found[name] for name in ("CAGR", "volatility", "Sharpe", "Sortino", "Calmar")]).all()


def test_regression_what_is_rounded_to_zero_has_no_sign():
    """An account that moves on few bars had a VaR of "-0.0%"."""
    table = formatted(pd.DataFrame({"VaR": [-0.0, -0.0002, -0.02], "Sharpe": [-0.001, 0.004, -0.6]}))
    assert table["VaR"].tolist() == ["0.0%", "0.0%", "-2.0%"]
    assert table["Sharpe"].tolist() == ["0.00", "0.00", "-0.60"]
