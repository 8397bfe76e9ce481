import numpy as np
import pandas as pd
import pytest

from backtests import walk_forward
from backtests.metrics import capacity
from backtests.results import Backtest
from markets import Bars, Costs, Execution, InputError, Plan, simulate
from markets.accounting.market import make_market
from markets.common.statistics import bars_per_year, returns_of
from strategies import BuyAndHold


def market(length=400, drift=0.002):
    rng = np.random.default_rng(0)
    close = 100 * np.cumprod(1 + rng.normal(drift, 0.01, (length, 3)), axis=0)
    index = pd.date_range("2020-01-01", periods=length)
    return Bars.make(index, list("abc"), close, volume=rng.uniform(1e4, 2e4, close.shape))


def account(bars, costs, capital=1e6):
    aim = np.random.default_rng(1).dirichlet(np.ones(3), len(bars))
    paths = simulate(bars, aim, costs=costs, execution=Execution(cash=capital, fill="next_close"))
    equity = paths.equity[0]
    weights = paths.shares[0] * bars.marks / equity[:, None]
    return Backtest("random", bars.index, bars.symbols, equity, paths.cost[0], paths.traded[0], weights, Plan(aim))


def test_at_the_capacity_the_account_itself_pays_half_of_its_return():
    """The kernel charges impact by its own arithmetic, on an account of that capital."""
    bars = market()
    free = account(bars, Costs())
    limit = capacity(free, bars)
    rate = account(bars, Costs(impact=1.0), capital=limit)
    paid = np.sum(rate.cost[1:] / rate.equity[:-1])
    scale = np.mean(np.sqrt(rate.equity[:-1] / limit))  # the account grows or shrinks; the formula holds its capital
    assert paid / scale == pytest.approx(0.5 * returns_of(free.equity).sum(), rel=0.05)


def test_it_falls_with_the_square_of_impact_and_of_what_is_kept():
    bars = market()
    found = account(bars, Costs())
    assert capacity(found, bars, impact=2.0) == pytest.approx(capacity(found, bars) / 4)
    assert capacity(found, bars, kept=0.75) == pytest.approx(capacity(found, bars) / 4)


def test_what_loses_has_none_and_what_never_trades_has_no_limit():
    losing = market(drift=-0.01)
    assert np.isnan(capacity(account(losing, Costs()), losing))
    bars = market()
    held = account(bars, Costs())
    still = Backtest(
        "held", bars.index, bars.symbols, 1e6 * bars.marks[:, 0] / bars.marks[0, 0], held.cost, held.traded,
        np.tile([1.0, 0, 0], (len(bars), 1)), held.plan,
    )  # fmt: skip
    assert capacity(still, bars) == np.inf


def test_errors_name_what_is_missing():
    bars = market()
    found = account(bars, Costs())
    with pytest.raises(InputError, match="impact needs volume"):
        capacity(found, Bars.make(bars.index, bars.symbols, bars.close))
    with pytest.raises(InputError, match="not the bars of the account"):
        capacity(found, bars[:-1])
    with pytest.raises(InputError, match=r"kept is 1\.5"):
        capacity(found, bars, kept=1.5)


def test_regression_what_is_bought_on_the_first_bar_has_an_impact():
    """There is no volatility yet on the first bars, so buy and hold paid nothing and its capacity was infinite."""
    bars = market()
    hold = walk_forward([BuyAndHold()], bars, costs="0bp", progress=False)[0]
    first = make_market(bars, Costs(impact=1.0), Execution())[0].impact[2]
    bought = hold.weights[1]
    rate = (first * bought**1.5).sum() / 399 * bars_per_year(bars.index)
    earned = returns_of(hold.equity).mean() * bars_per_year(bars.index)
    assert capacity(hold, bars) == pytest.approx((0.5 * earned / rate) ** 2, rel=0.01)


def test_regression_later_volatility_prices_no_earlier_order():
    """Where a price stood still, orders paid by the volatility of the bars that came after."""
    bars = market()
    still = bars.close.copy()
    still[150:250] = still[150]
    still[250:] *= still[150] / bars.close[249]
    quiet = Bars.make(bars.index, bars.symbols, still, volume=bars.volume)
    impact = make_market(quiet, Costs(impact=1.0), Execution())[0].impact
    standing = np.flatnonzero((impact[:-1] == 0).all(axis=1) & (np.arange(len(impact) - 1) > 100))
    assert len(standing)
    aim = np.full(bars.shape, 0.2)
    aim[standing[:-2]] = 0.3  # bought and sold while the price stands
    found = Backtest(
        "still",
        quiet.index,
        quiet.symbols,
        np.linspace(1.0, 2.0, len(quiet)),
        np.zeros(len(quiet)),
        np.zeros(len(quiet)),
        aim,
        Plan(aim),
    )
    moved = quiet.close[1:] / quiet.close[:-1]
    held = aim[:-1] * moved / (1 + returns_of(found.equity))[:, None]
    paid = impact[:-1].copy()
    first = (paid > 0).argmax(axis=0)
    for i, row in enumerate(first):
        paid[:row, i] = paid[row, i]
    rate = (paid * np.abs(aim[1:] - held) ** 1.5).sum(axis=1).mean() * bars_per_year(quiet.index)
    earned = returns_of(found.equity).mean() * bars_per_year(quiet.index)
    assert capacity(found, quiet) == pytest.approx((0.5 * earned / rate) ** 2, rel=1e-9)
