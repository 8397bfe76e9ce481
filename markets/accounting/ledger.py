"""The ledger: every trade with what each part of it cost, and where each bar's change of equity comes from.

It is derived after the fact, from the orders that the kernel gives and from prices, by other arithmetic than the kernel's:
that both come to the same is a check of either, and holds to 1e-9 of equity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from markets.accounting.costs import Costs, Execution
from markets.accounting.market import GONE, Market, Rules, make_market
from markets.accounting.plan import Plan
from markets.accounting.simulate import simulate
from markets.bars.bars import Bars
from markets.common.errors import InputError


class Ledger(NamedTuple):
    """What an account did.

    Attributes
    ----------
    trades : DataFrame
        A row an order, in the order of time: ``time`` of the bar it was filled in, ``symbol``, ``side`` (buy, sell, or
        delisted: paid out), ``shares`` and ``value`` (signed; positive buys), ``price`` before costs, ``commission``,
        ``tax``, ``spread``, ``fixed``, ``impact`` (square-root and quadratic), and their sum ``cost``. Money.
    account : DataFrame of T rows
        By time: ``equity``, ``cash``, and of the bar that ends then ``profit`` (of prices), ``carry`` (interest, financing,
        borrow fee), ``cost``, ``traded``. Equity changes by profit + carry − cost.
    """

    trades: pd.DataFrame
    account: pd.DataFrame

    @classmethod
    def of(
        cls, bars: Bars, plan: Plan | ArrayLike, *, costs: Costs | str = "10bp", execution: Execution | None = None
    ) -> Ledger:
        """The ledger of one plan (T, A); parameters and errors are those of `simulate`.

        Raises
        ------
        InputError
            More than one plan.
        """
        plan, costs, execution = Plan.of(plan), Costs.parse(costs), execution or Execution()
        if plan.aim.ndim != 2:
            raise InputError(f"a ledger is of one plan (T, A); this one has shape {plan.aim.shape}")
        paths = simulate(bars, plan, costs=costs, execution=execution, orders=True)
        market, rules = make_market(bars, costs, execution)
        equity, cash, shares, cost, traded, orders, filled = (values[0] for values in paths)
        paid_out = np.zeros(bars.shape)  # shares of delisted symbols
        alive = equity[:-1, None] > 0
        paid_out[1:] = np.where(alive & (market.open[:-1] == GONE), shares[:-1], 0.0)
        profit, carry, at_fill = _changes(market, rules, cash, shares, equity, orders, paid_out, cost, filled)
        trades = _trades(bars, costs, market, rules, orders, paid_out, at_fill)
        account = {"equity": equity, "cash": cash, "profit": profit, "carry": carry, "cost": cost, "traded": traded}
        return cls(trades, pd.DataFrame(account, index=bars.index))


def _trades(
    bars: Bars,
    costs: Costs,
    market: Market,
    rules: Rules,
    orders: np.ndarray,
    paid_out: np.ndarray,
    at_fill: np.ndarray,
) -> pd.DataFrame:
    """`Ledger.trades` from orders in money and payouts in shares, both (T, A), and equity at each bar's fill (T,)."""
    row, column = np.nonzero(orders)
    value, price = orders[row, column], market.fill[row - 1, column]
    bought = value > 0
    parts = costs.parts(value, market.impact[row - 1, column] if market.impact.size else 0.0, at_fill[row])
    ordered = pd.DataFrame(
        {"row": row, "symbol": column, "side": np.where(bought, "buy", "sell"), "shares": value / price, "value": value,
         "price": price, **parts, "cost": sum(parts.values())}
    )  # fmt: skip
    row, column = np.nonzero(paid_out)
    price = market.fill[row - 1, column]
    gone = pd.DataFrame(
        {"row": row, "symbol": column, "side": "delisted", "shares": -paid_out[row, column],
         "value": -paid_out[row, column] * price, "price": price, **dict.fromkeys(parts, 0.0), "cost": 0.0}
    )  # fmt: skip
    table = pd.concat([ordered, gone] if len(gone) else [ordered]).sort_values(["row", "symbol"], ignore_index=True)
    times = bars.index[table.pop("row") - (0 if rules.lagged else 1)]
    table["symbol"] = np.array(bars.symbols, dtype=object)[table["symbol"]]
    table.insert(0, "time", times)
    return table


def _changes(
    market: Market,
    rules: Rules,
    cash: np.ndarray,
    shares: np.ndarray,
    equity: np.ndarray,
    orders: np.ndarray,
    paid_out: np.ndarray,
    cost: np.ndarray,
    filled: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(profit, carry, equity at the fill) of each bar, shape (T,), from the state at the bar before and what was done."""
    profit, carry, at_fill = np.zeros(len(cash)), np.zeros(len(cash)), equity.copy()
    old, new_cash = shares[:-1], cash[:-1]
    to_fill = (old * (market.fill - market.mark)[:-1]).sum(axis=1)
    after = old - paid_out[1:] + orders[1:] / np.where(orders[1:] != 0, market.fill[:-1], 1.0)
    to_mark = (after * (market.mark[1:] - market.fill[:-1])).sum(axis=1)
    holding = old
    if not rules.lagged:  # accrues on what the fill left
        holding = after
        spent = (orders[1:] - paid_out[1:] * market.fill[:-1]).sum(axis=1)
        new_cash = cash[:-1] - spent - cost[1:]
    earned = new_cash * np.where(new_cash > 0, rules.cash_rate, rules.financing_rate) * market.gap[:-1]
    fees = (np.minimum(holding, 0) * market.mark[:-1]).sum(axis=1) * rules.borrow_rate * market.gap[:-1]
    # A gap to the fill that ruins the account closes it there: no trade, no move to the mark, no accrual after the fill.
    alive, done = equity[:-1] > 0, filled[1:]
    profit[1:] = np.where(alive, to_fill, 0.0) + np.where(done, to_mark, 0.0)
    carry[1:] = np.where(alive if rules.lagged else done, earned + fees, 0.0)
    at_fill[1:] = equity[:-1] + to_fill + (earned + fees if rules.lagged else 0.0)
    return profit, carry, at_fill
