"""The ledger adds up to the account of the kernel."""

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings

from markets import Bars, Costs, Execution, InputError, Ledger, Plan

SIZINGS = ("pre_fee", "post_fee", "outlay", "whole_lots")
PARTS = ["commission", "tax", "spread", "fixed", "impact"]


def books(case):
    bars, costs, execution, aim, band, rate = case
    return bars, costs, execution, Ledger.of(bars, Plan(aim[0], band[0], rate[0]), costs=costs, execution=execution)


@given(samples.cases(sizings=SIZINGS))
@settings(max_examples=300)
def test_equity_changes_by_profit_and_carry_less_costs(case):
    """Equity changes only by price changes, interest and fees, and costs."""
    *_, execution, (_, account) = books(case)
    change = account["profit"] + account["carry"] - account["cost"]
    np.testing.assert_allclose(np.diff(account["equity"]), change[1:], rtol=0, atol=1e-9 * execution.cash)
    assert account.iloc[0][["profit", "carry", "cost", "traded"]].tolist() == [0, 0, 0, 0]


@given(samples.cases(sizings=SIZINGS))
@settings(max_examples=300)
def test_trades_add_up_to_the_costs_and_the_turnover_of_each_bar(case):
    bars, _, execution, (trades, account) = books(case)
    np.testing.assert_allclose(trades[PARTS].sum(axis=1), trades["cost"], rtol=1e-12)
    np.testing.assert_allclose(trades["shares"] * trades["price"], trades["value"], rtol=1e-12)
    ends = bars.index.get_indexer(trades["time"]) + (execution.fill == "same_close")
    for column, values in (
        ("cost", trades["cost"]),
        ("traded", trades["value"].abs() * (trades["side"] != "delisted")),
    ):
        total = np.zeros(len(bars))
        np.add.at(total, ends, values.to_numpy())
        np.testing.assert_allclose(total, account[column], rtol=0, atol=1e-9 * execution.cash)


def test_each_part_of_a_cost_by_hand():
    index = pd.date_range("2020-01-01", periods=3)
    bars = Bars.make(index, ["X"], np.array([[10.0], [10.0], [20.0]]), open=np.array([[10.0], [10.0], [20.0]]))
    costs = Costs(commission=0.001, buy_tax=0.005, sell_tax=0.002, fixed=1.0, spread=0.01)
    aim = np.array([[0.5], [0.0], [0.0]])
    trades, _ = Ledger.of(bars, aim, costs=costs, execution=Execution(cash=1000))
    bought, sold = trades.to_dict("records")
    assert (bought["time"], bought["symbol"], bought["side"], bought["shares"]) == (index[1], "X", "buy", 50)
    assert (sold["time"], sold["side"], sold["shares"], sold["price"]) == (index[2], "sell", -50, 20)
    # commission and tax are charged on the price paid: the mid price plus or minus half the spread
    assert [bought[part] for part in PARTS] == pytest.approx([0.5025, 2.5125, 2.5, 1.0, 0.0])
    assert [sold[part] for part in PARTS] == pytest.approx([0.995, 1.99, 5.0, 1.0, 0.0])


def test_quadratic_costs_are_impact_by_hand():
    """They depend on the equity at the fill, which is 1,245 after the gap to 15."""
    index = pd.date_range("2020-01-01", periods=3)
    bars = Bars.make(index, ["X"], np.array([[10.0], [10.0], [15.0]]), open=np.array([[10.0], [10.0], [15.0]]))
    trades, account = Ledger.of(
        bars, np.array([[0.5], [0.0], [0.0]]), costs=Costs(quadratic=0.02), execution=Execution(cash=1000)
    )
    assert trades["impact"].tolist() == pytest.approx([0.02 * 500**2 / 1000, 0.02 * 750**2 / 1245])
    assert account["cost"].tolist() == pytest.approx([0, *trades["cost"]])


def test_a_delisting_is_in_the_ledger_at_what_was_paid():
    close = np.array([[10.0, 10.0], [10.0, 10.0], [np.nan, 10.0], [np.nan, 10.0]])
    index = pd.date_range("2020-01-01", periods=4)
    bars = Bars.make(index, ["A", "B"], close, delisted={"A": index[2]})
    execution = Execution(cash=1000, delisting_haircut=0.4)
    trades, account = Ledger.of(bars, np.tile([0.5, 0.0], (4, 1)), costs=Costs(), execution=execution)
    assert trades["side"].tolist() == ["buy", "delisted"]
    assert trades.iloc[1][["time", "symbol", "shares", "price", "value", "cost"]].tolist() == [
        index[2], "A", -50, 6, -300, 0,
    ]  # fmt: skip
    assert account["profit"].tolist() == [0, 0, -200, 0]


def test_the_trades_of_the_bar_of_ruin_are_listed():
    """Regression: ruin sets the shares to zero at the mark, so they do not show the trades of that bar."""
    index = pd.date_range("2020-01-01", periods=3)
    bars = Bars.make(index, ["X"], np.array([[10.0], [1.0], [1.0]]), open=np.array([[10.0], [10.0], [1.0]]))
    execution = Execution(cash=1000, borrowing=True, gross=3)
    trades, account = Ledger.of(bars, np.full((3, 1), 3.0), costs="10bp", execution=execution)
    assert trades["shares"].tolist() == [300]
    assert account["equity"].iloc[-1] == pytest.approx(1000 - 2700 - 3)


def test_a_strategy_that_does_not_trade_has_an_empty_ledger(bars):
    trades, account = Ledger.of(bars, np.zeros(bars.shape))
    assert list(trades.columns[:4]) == ["time", "symbol", "side", "shares"]
    assert len(trades) == 0
    assert (account["equity"] == 1e6).all()


def test_a_ledger_needs_a_single_plan(bars):
    with pytest.raises(InputError, match="one plan"):
        Ledger.of(bars, np.zeros((2, *bars.shape)))


def test_regression_ruin_at_the_fill_with_nothing_left_over_adds_up():
    """Equity was 2e-13 by one sum and 0 by another; the kernel must report whether there was a fill."""
    index = pd.date_range("2020", periods=4)
    close, opens = np.array([[0.3], [0.3], [0.6], [0.3]]), np.array([[0.3], [0.3], [0.2], [0.3]])
    bars = Bars.make(index, ["X"], close, open=opens)
    execution = Execution(cash=1000, borrowing=True, gross=3)
    _, account = Ledger.of(bars, np.full((4, 1), 3.0), costs=Costs(), execution=execution)
    assert account["profit"].tolist() == pytest.approx([0, 0, -1000, 0])
