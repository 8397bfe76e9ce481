"""`Ledger`: every trade with its costs by kind, and an attribution of each bar's change of equity.

The ledger is computed from the kernel's orders and from prices, by arithmetic that is independent of the kernel. The two
agree to 1e-9 of equity, which checks both.
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
    """Trades of an account and the sources of its profit, in money.

    Attributes
    ----------
    trades : DataFrame
        One row per order, sorted by time: ``time`` of the bar in which it was filled, ``symbol``, ``side`` (``buy``, ``sell``,
        or ``delisted`` for a payout), ``shares`` and ``value`` (positive for buys), ``price`` before costs, ``commission``,
        ``tax``, ``spread``, ``fixed``, ``impact`` (square-root plus quadratic), and ``cost``, the sum of the last five.
    account : DataFrame of T rows
        Indexed by time: ``equity`` and ``cash`` at the end of the bar, and of that bar ``profit`` (from price changes),
        ``carry`` (interest, financing, borrow fee), ``cost`` and ``traded``. Equity changes by profit + carry − cost.
    """

    trades: pd.DataFrame
    account: pd.DataFrame

    @classmethod
    def of(
        cls, bars: Bars, plan: Plan | ArrayLike, *, costs: Costs | str = "10bp", execution: Execution | None = None
    ) -> Ledger:
        """Make the ledger of one plan (T, A). Parameters and errors are those of `simulate`.

        Raises
        ------
        InputError
            When there is more than one plan.
        """
        plan, costs, execution = Plan.of(plan, bars), Costs.parse(costs), execution or Execution()
        if plan.aim.ndim != 2:
            raise InputError(f"a ledger needs one plan of shape (T, A); this one has shape {plan.aim.shape}")
        paths = simulate(bars, plan, costs=costs, execution=execution, orders=True)
        market, rules = make_market(bars, costs, execution)
        equity, cash, shares, cost, traded, orders, filled, *_ = (values[0] for values in paths)
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
    """`Ledger.trades` from orders (money) and payouts (shares), both (T, A), and equity at each bar's fill (T,)."""
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
    """(profit, carry, equity at the fill) of each bar, shape (T,), from the previous bar's state and the bar's orders."""
    profit, carry, at_fill = np.zeros(len(cash)), np.zeros(len(cash)), equity.copy()
    old, new_cash = shares[:-1], cash[:-1]
    to_fill = (old * (market.fill - market.mark)[:-1]).sum(axis=1)
    after = old - paid_out[1:] + orders[1:] / np.where(orders[1:] != 0, market.fill[:-1], 1.0)
    to_mark = (after * (market.mark[1:] - market.fill[:-1])).sum(axis=1)
    holding = old
    if not rules.lagged:  # interest and fees accrue on the holdings after the fill
        holding = after
        spent = (orders[1:] - paid_out[1:] * market.fill[:-1]).sum(axis=1)
        new_cash = cash[:-1] - spent - cost[1:]
    earned = new_cash * np.where(new_cash > 0, rules.cash_rate, rules.financing_rate) * market.gap[:-1]
    fees = (np.minimum(holding, 0) * market.mark[:-1]).sum(axis=1) * rules.borrow_rate * market.gap[:-1]
    # An account ruined by the gap to the fill closes there: no trade, no move to the mark, no accrual after the fill.
    alive, done = equity[:-1] > 0, filled[1:]
    profit[1:] = np.where(alive, to_fill, 0.0) + np.where(done, to_mark, 0.0)
    carry[1:] = np.where(alive if rules.lagged else done, earned + fees, 0.0)
    at_fill[1:] = equity[:-1] + to_fill + (earned + fees if rules.lagged else 0.0)
    return profit, carry, at_fill
