"""`Ledger`: every trade with its costs by kind, and an attribution of each bar's change of equity.

The ledger is computed from the kernel's orders and from prices, by arithmetic that is independent of the kernel. The two
agree to 1e-9 of equity, which checks both. Where a stop closed a position, the kernel gives the price; the rest is arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from markets.accounting.costs import Costs, Execution
from markets.accounting.market import GONE, Market, Rules, make_market
from markets.accounting.plan import Plan
from markets.accounting.quotes import last_quotes
from markets.accounting.simulate import Paths, simulate
from markets.accounting.stops import STOP_LOSS, TAKE_PROFIT, TRAILING_STOP
from markets.bars.bars import Bars
from markets.common.errors import InputError

_KINDS = {STOP_LOSS: "stop loss", TRAILING_STOP: "trailing stop", TAKE_PROFIT: "take profit"}


class Ledger(NamedTuple):
    """Trades of an account and the sources of its profit, in money.

    Attributes
    ----------
    trades : DataFrame
        One row per order, sorted by time: ``time`` of the bar in which it was filled, ``symbol``, ``side`` (``buy``, ``sell``,
        or ``delisted`` for a payout), ``shares`` and ``value`` (positive for buys), ``price`` before costs, ``commission``,
        ``tax``, ``spread``, ``fixed``, ``impact`` (square-root plus quadratic), ``cost``, the sum of the last five, and
        ``reason``: ``plan``, ``stop loss``, ``trailing stop``, ``take profit`` or ``delisted``.
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
        equity, cash, shares, cost, traded, orders, filled = (values[0] for values in paths[:7])
        paid_out = np.zeros(bars.shape)  # shares of delisted symbols
        alive = equity[:-1, None] > 0
        paid_out[1:] = np.where(alive & (market.open[:-1] == GONE), shares[:-1], 0.0)
        quotes = np.nan_to_num(last_quotes(bars)) if costs.quoted else np.zeros(bars.shape)
        stops = _Stops.of(paths, market, costs, quotes, paid_out)
        profit, carry, at_fill = _changes(market, rules, cash, shares, equity, orders, paid_out, cost, filled, stops)
        trades = _trades(bars, costs, market, rules, orders, paid_out, at_fill, quotes, stops)
        account = {"equity": equity, "cash": cash, "profit": profit, "carry": carry, "cost": cost, "traded": traded}
        return cls(trades, pd.DataFrame(account, index=bars.index))


class _Stops(NamedTuple):
    """Positions that stops closed, before and after the fill of each bar; all of shape (T, 2, A)."""

    shares: np.ndarray  # that were held
    price: np.ndarray
    kind: np.ndarray
    cost: dict[str, np.ndarray]

    @classmethod
    def of(cls, paths: Paths, market: Market, costs: Costs, quotes: np.ndarray, paid_out: np.ndarray) -> _Stops:
        bars, symbols = paid_out.shape
        price, kind = np.zeros((bars, 2, symbols)), np.zeros((bars, 2, symbols), dtype=np.int8)
        if paths.stop_price.size:
            price, kind = paths.stop_price[0], paths.stop_kind[0]
        held, shares, orders = paths.shares[0, :-1], np.zeros_like(price), paths.orders[0, 1:]
        shares[1:, 0] = np.where(kind[1:, 0] > 0, held, 0.0)
        bought = orders / np.where(orders != 0, market.fill[:-1], 1.0)
        shares[1:, 1] = np.where(kind[1:, 1] > 0, held - paid_out[1:] - shares[1:, 0] + bought, 0.0)
        impact, equity = np.zeros((bars, 1, symbols)), np.ones((bars, 1, 1))
        impact[1:, 0] = market.impact[:-1] if market.impact.size else 0.0
        equity[1:, 0, 0] = np.where(paths.equity[0, :-1] > 0, paths.equity[0, :-1], 1.0)
        parts = costs.parts(-shares * price, impact, equity, quotes[:, None])
        return cls(shares, price, kind, {name: np.where(kind > 0, part, 0.0) for name, part in parts.items()})

    def trades(self) -> pd.DataFrame:
        row, after, column = np.nonzero(self.kind)
        closed, price = self.shares[row, after, column], self.price[row, after, column]
        parts = {name: part[row, after, column] for name, part in self.cost.items()}
        reason = [_KINDS[kind] for kind in self.kind[row, after, column].tolist()]
        return pd.DataFrame(
            {"row": row, "moment": 2 * after, "symbol": column, "side": np.where(closed < 0, "buy", "sell"),
             "shares": -closed, "value": -closed * price, "price": price, **parts, "cost": sum(parts.values()), "reason": reason}
        )  # fmt: skip

    def total(self) -> np.ndarray:
        """Their cost (T, 2)."""
        return sum(self.cost.values()).sum(axis=2)  # type: ignore[union-attr]


def _trades(
    bars: Bars,
    costs: Costs,
    market: Market,
    rules: Rules,
    orders: np.ndarray,
    paid_out: np.ndarray,
    at_fill: np.ndarray,
    quotes: np.ndarray,
    stops: _Stops,
) -> pd.DataFrame:
    """`Ledger.trades` from orders (money) and payouts (shares), both (T, A), equity at each bar's fill (T,), and stops.

    `quotes` (T, A) are the spreads quoted at each bar.
    """
    row, column = np.nonzero(orders)
    value, price = orders[row, column], market.fill[row - 1, column]
    bought, impact = value > 0, market.impact[row - 1, column] if market.impact.size else 0.0
    parts = costs.parts(value, impact, at_fill[row], quotes[row - (not rules.lagged), column])
    ordered = pd.DataFrame(
        {"row": row, "moment": 1, "symbol": column, "side": np.where(bought, "buy", "sell"), "shares": value / price,
         "value": value, "price": price, **parts, "cost": sum(parts.values()), "reason": "plan"}
    )  # fmt: skip
    row, column = np.nonzero(paid_out)
    price = market.fill[row - 1, column]
    gone = pd.DataFrame(
        {"row": row, "moment": 1, "symbol": column, "side": "delisted", "shares": -paid_out[row, column],
         "value": -paid_out[row, column] * price, "price": price, **dict.fromkeys(parts, 0.0), "cost": 0.0,
         "reason": "delisted"}
    )  # fmt: skip
    others = [table for table in (gone, stops.trades()) if len(table)]
    table = pd.concat([ordered, *others]).sort_values(["row", "moment", "symbol"], ignore_index=True)
    early = (table.pop("moment") == 1) & (not rules.lagged)  # a fill at the close before the bar
    table.insert(0, "time", bars.index[table.pop("row") - early])
    table["symbol"] = np.array(bars.symbols, dtype=object)[table["symbol"]]
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
    stops: _Stops,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(profit, carry, equity at the fill) of each bar, shape (T,), from the previous bar's state and the bar's orders."""
    profit, carry, at_fill = np.zeros(len(cash)), np.zeros(len(cash)), equity.copy()
    old, new_cash, fill, mark = shares[:-1], cash[:-1], market.fill[:-1], market.mark
    (closed, closed_later), (price, price_later), (stopping, stopping_later) = (
        (x[1:, 0], x[1:, 1]) for x in (stops.shares, stops.price, stops.total())
    )
    to_fill = (old * (fill - mark[:-1]) + closed * (price - fill)).sum(axis=1)
    after = old - paid_out[1:] - closed + orders[1:] / np.where(orders[1:] != 0, fill, 1.0)
    to_mark = (after * (mark[1:] - fill) + closed_later * (price_later - mark[1:])).sum(axis=1)
    holding = old
    if not rules.lagged:  # interest and fees accrue on the holdings after the fill
        holding = after
        spent = (orders[1:] - paid_out[1:] * fill).sum(axis=1)
        new_cash = cash[:-1] - spent - (cost[1:] - stopping_later)
    earned = new_cash * np.where(new_cash > 0, rules.cash_rate, rules.financing_rate) * market.gap[:-1]
    fees = (np.minimum(holding, 0) * mark[:-1]).sum(axis=1) * rules.borrow_rate * market.gap[:-1]
    # An account ruined by the gap to the fill closes there: no trade, no move to the mark, no accrual after the fill.
    alive, done = equity[:-1] > 0, filled[1:]
    profit[1:] = np.where(alive, to_fill, 0.0) + np.where(done, to_mark, 0.0)
    carry[1:] = np.where(alive if rules.lagged else done, earned + fees, 0.0)
    at_fill[1:] = equity[:-1] + to_fill - stopping + (earned + fees if rules.lagged else 0.0)
    return profit, carry, at_fill
