"""The account of docs/execution.md in plain Python, written from that page alone.

It is slow and simple: loops over bars and symbols, and bisection for every root. Numbers in comments are the steps of the page.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from markets import Bars, Costs, Execution
from markets.accounting.plan import Plan

YEAR = 365.25 * 86_400  # seconds
WINDOW = 20  # bars of the volatility and the volume in the impact
TINY = 1e-12  # a change of weight of at most this is no order
ROUNDING = 1e-9  # relative


def exceeds(value: float, limit: float) -> bool:
    """Whether `value` is above `limit` by more than rounding errors."""
    return value > limit * (1 + ROUNDING)


@dataclass
class Account:
    """What the account did, by bar.

    `edges` are the bars on which a number of lots lies so near a rounding edge that another order of additions may round it
    differently. `events` counts what happened, so that a test can tell that it tested something.
    """

    equity: list[float]
    cash: list[float]
    shares: list[list[float]]
    cost: list[float]
    traded: list[float]
    edges: list[int] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)


@dataclass
class Order:
    """An order of one symbol: from `shares` at `price` to the target `weight`. `money` is its value, positive for buys."""

    symbol: int
    price: float
    shares: float
    weight: float
    impact: float
    spread: float
    money: float = 0.0

    @property
    def value(self) -> float:
        return self.shares * self.price


def bisect(f: Callable[[float], float], low: float, high: float) -> float:
    """Where `f` changes its sign between `low` and `high`: the end at which it is not above zero."""
    below, above = (low, high) if f(low) <= f(high) else (high, low)
    for _ in range(200):
        middle = (below + above) / 2
        if middle in (below, above):
            break
        if f(middle) <= 0:
            below = middle
        else:
            above = middle
    return below


def lowest(f: Callable[[float], float], low: float, high: float) -> float:
    """Where the convex `f` is smallest between `low` and `high`."""
    for _ in range(100):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if f(left) <= f(right):
            high = right
        else:
            low = left
    return (low + high) / 2


class PlainAccount:
    """One account that follows one plan over `bars`."""

    def __init__(self, bars: Bars, plan: Plan, costs: Costs, execution: Execution):
        self.bars, self.plan, self.costs, self.execution = bars, plan, costs, execution
        self.bars_count, self.symbols = bars.shape
        fill = execution.fill
        if fill == "auto":
            fill = "next_close" if bars.open is None else "next_open"
        self.fill = fill
        self.events: Counter[str] = Counter()
        self.marks = [[0.0 if math.isnan(m) else float(m) for m in row] for row in bars.marks]
        self.impacts = self.impact_coefficients()
        self.quotes = self.quoted_spreads()
        self.cash = execution.cash
        self.shares = [0.0] * self.symbols
        self.V = self.cash  # equity at the fill
        self.edge = False  # whether a number of lots of this bar lies very near a rounding edge
        self.paid = [0.0] * self.symbols  # for each position, without costs: shares times the average entry price
        self.best = [0.0] * self.symbols
        self.out: dict[
            int, tuple[float, float]
        ] = {}  # of symbols that stay out: side of the position, last row that is ignored

    # ---- step 8: costs

    def impact_coefficients(self) -> list[list[float]]:
        """By visible bar and symbol."""
        bars = self.bars
        if self.costs.impact == 0:
            return [[0.0] * self.symbols for _ in range(self.bars_count)]
        whole = bars.with_past()
        columns = [
            self.impact_of(closes, volumes) for closes, volumes in zip(whole.close.T, whole.volume.T, strict=True)
        ]
        return [list(row) for row in zip(*columns, strict=True)][bars.past :]

    def impact_of(self, closes: np.ndarray, volumes: np.ndarray) -> list[float]:
        """Of one symbol, by bar."""
        column, known = [0.0], []  # known: close and traded value of the bars that have a close
        for close, volume in zip(closes.tolist(), volumes.tolist(), strict=True):
            if math.isnan(close):
                column.append(column[-1])
                continue
            known.append((close, 0.0 if math.isnan(volume) else close * volume))
            returns = [later[0] / earlier[0] - 1 for earlier, later in pairwise(known[-WINDOW - 1 :])]
            mean = statistics.fmean(traded for _, traded in known[-WINDOW:])
            if len(returns) < 2:
                column.append(0.0)
            elif mean == 0:
                column.append(max(column))
                self.events["no volume"] += column[-1] > 0
            else:
                column.append(self.costs.impact * statistics.stdev(returns) / math.sqrt(mean))
        return column[1:]

    def quoted_spreads(self) -> list[list[float]]:
        """By visible bar and symbol, as an order there is charged; NaN before the first quote of all."""
        whole = self.bars.with_past()
        if self.costs.quoted == 0:
            return [[0.0] * self.symbols for _ in range(self.bars_count)]
        rows, last, widest = [], [math.nan] * self.symbols, math.nan
        for quotes in whole.spread.tolist():
            there = [q for q in quotes if not math.isnan(q)]
            widest = max(there) if there else widest
            last = [old if math.isnan(q) else q for q, old in zip(quotes, last, strict=True)]
            rows.append([widest if math.isnan(q) else q for q in last])
            self.events["last quote"] += len(there) < self.symbols
            self.events["no quote"] += math.isnan(widest)
        return rows[self.bars.past :]

    def spread_at(self, bar: int, a: int) -> float:
        """Spread that an order filled at this bar pays half of."""
        return min(self.costs.spread + self.costs.quoted * self.quotes[bar][a], 1.0)

    def cost(self, order: Order, money: float) -> float:
        """Cost of an order of this value."""
        return 0.0 if money == 0 else self.charge(order, money)

    def charge(self, order: Order, money: float) -> float:
        """Cost, with the fixed fee of an order even if its value is 0."""
        rate, size = self.rate(order, money > 0), abs(money)
        return rate * size + self.costs.fixed + order.impact * size**1.5 + self.costs.quadratic * size**2 / self.V

    def rate(self, order: Order, buying: bool) -> float:
        """Cost in proportion to the value."""
        costs = self.costs
        if buying:
            return (1 + order.spread / 2) * (1 + costs.commission + costs.buy_tax) - 1
        return 1 - (1 - order.spread / 2) * (1 - costs.commission - costs.sell_tax)

    def pays(self, order: Order, money: float) -> bool:
        """Whether a sell raises more than its own cost; true for all others."""
        return money >= 0 or -money > self.cost(order, money)

    # ---- the bar

    def run(self) -> Account:
        equity = [self.cash]
        out = Account(equity, [self.cash], [list(self.shares)], [0.0], [0.0], events=self.events)
        for t in range(self.bars_count - 1):
            self.edge = False
            worth, cost, traded = self.bar(t, equity[-1])
            equity.append(worth)
            out.cash.append(self.cash)
            out.shares.append(list(self.shares))
            out.cost.append(cost)
            out.traded.append(traded)
            if self.edge:
                out.edges.append(t + 1)
        return out

    def close(self, equity: float) -> float:
        self.events["ruin"] += self.cash != equity or any(self.shares)
        self.cash, self.shares = equity, [0.0] * self.symbols
        return equity

    def bar(self, t: int, equity: float) -> tuple[float, float, float]:
        """From bar t to bar t + 1: the new equity, the cost and the traded value."""
        if equity <= 0:  # 1
            return self.close(equity), 0.0, 0.0
        marks = self.marks[t]
        gross = sum(abs(n) * m for n, m in zip(self.shares, marks, strict=True))
        called = equity < self.execution.maintenance * gross * (1 - ROUNDING)  # 2
        self.events["margin call"] += called
        if self.fill != "same_close":
            self.accrue(t)  # 3
        at = t if self.fill == "same_close" else t + 1  # 4
        paid = self.bars.open if self.fill == "next_open" else self.bars.close
        delisted = self.bars.delisted[at]
        prices, open_ = [], []
        for a in range(self.symbols):
            open_.append(bool(self.bars.tradable[at, a]) and not math.isnan(self.quotes[at][a]))
            prices.append(float(paid[at, a]) if open_[a] else marks[a])
            if delisted[a]:
                self.events["payout"] += self.shares[a] != 0
                self.cash += self.shares[a] * marks[a] * (1 - self.execution.delisting_haircut)
                self.shares[a] = 0.0
        cost, traded = self.look(
            t, equity, ("open", "range")[: ("same_close", "next_open", "next_close").index(self.fill)]
        )
        self.V = self.cash + sum(n * p for n, p in zip(self.shares, prices, strict=True))  # 5
        if self.V <= 0:
            return self.close(self.V), cost, traded
        held = list(self.shares)
        orders = self.targets(t, prices, open_, called)  # 6
        self.size(orders, called)  # 7
        filled = self.make(orders, called)  # 9
        if self.fill == "same_close":
            self.accrue(t)  # 10
        self.enter(held, prices)
        later = self.look(t, equity, ("open", "range")[("same_close", "next_open", "next_close").index(self.fill) :])
        cost, traded = (sum(parts) for parts in zip((cost, traded), filled, later, strict=True))
        equity = self.cash + sum(n * m for n, m in zip(self.shares, self.marks[t + 1], strict=True))
        return (self.close(equity) if equity <= 0 else equity), cost, traded

    def accrue(self, t: int) -> None:
        gap = (self.bars.index[t + 1] - self.bars.index[t]).total_seconds() / YEAR
        fee = (
            sum(-n * m for n, m in zip(self.shares, self.marks[t], strict=True) if n < 0) * self.costs.borrow_rate * gap
        )
        rate = self.costs.cash_rate if self.cash > 0 else self.costs.financing_rate
        self.cash += self.cash * rate * gap - fee

    # ---- stops

    def part(self, name: str, t: int, a: int, absent: float) -> float:
        values = getattr(self.plan, name)
        return absent if values is None else float(values[t, a])

    def enter(self, held: list[float], prices: list[float]) -> None:
        """Entry and best prices after the orders of a bar; `held` are the shares before them."""
        for a, (before, now, price) in enumerate(zip(held, self.shares, prices, strict=True)):
            if now == 0:
                self.paid[a] = 0.0
            elif before == 0 or (before > 0) != (now > 0):
                self.paid[a], self.best[a] = abs(now) * price, price
            elif abs(now) > abs(before):
                self.paid[a] += abs(now - before) * price
                self.events["added"] += 1
            else:
                self.paid[a] *= now / before

    def look(self, t: int, equity: float, where: tuple[str, ...]) -> tuple[float, float]:
        """The stops that the open of bar t + 1 reaches, or its range: (cost, traded value)."""
        cost = traded = 0.0
        if not self.plan.stops:
            return cost, traded
        for place in where:
            for a in range(self.symbols):
                if self.shares[a] != 0 and self.bars.tradable[t + 1, a]:
                    price, what = self.reached(t, a, place)
                    if what:
                        paid, value = self.stop(t, a, equity, price, what)
                        cost, traded = cost + paid, traded + value
        return cost, traded

    def reached(self, t: int, a: int, place: str) -> tuple[float, str]:
        """At what price which stop closes the position of symbol a, or ""."""
        long = self.shares[a] > 0
        bar = [math.nan if p is None else float(p[t + 1, a]) for p in (self.bars.open, self.bars.high, self.bars.low)]
        close, whole = float(self.bars.close[t + 1, a]), not any(map(math.isnan, bar))
        if place == "open" and not whole:
            return 0.0, ""
        open_, high, low = bar if whole else (close, close, close)
        if place == "open":
            high = low = open_
        entry = self.paid[a] / abs(self.shares[a])
        away = -1.0 if long else 1.0
        levels = {
            "stop loss": entry * (1 + away * self.part("stop_loss", t, a, math.inf)),
            "trailing stop": self.best[a] * (1 + away * self.part("trailing_stop", t, a, math.inf)),
            "take profit": entry * (1 - away * self.part("take_profit", t, a, math.inf)),
        }
        if place == "range":
            self.best[a] = max(self.best[a], high) if long else min(self.best[a], low)

        def fell_to(name: str) -> bool:
            return low <= levels[name] * (1 + ROUNDING)

        def rose_to(name: str) -> bool:
            return high >= levels[name] * (1 - ROUNDING)

        against, along = (fell_to, rose_to) if long else (rose_to, fell_to)
        names = sorted(
            ("stop loss", "trailing stop"), key=lambda name: levels[name] * away
        )  # stable: the stop if equal
        found = next((name for name in names if against(name)), "")
        if along("take profit"):
            self.events["both in one bar"] += bool(found)
            found = found or "take profit"
        if not found:
            return 0.0, ""
        self.events["at an open beyond"] += place == "open"
        self.events["at a close"] += not whole
        self.events["short stopped"] += not long
        return min(max(levels[found], low), high), found  # without a range, this is the open or the close

    def stop(self, t: int, a: int, equity: float, price: float, what: str) -> tuple[float, float]:
        """Close the position of symbol a; returns the cost and the traded value."""
        self.V = equity
        self.edge |= abs(self.shares[a] * price) <= TINY * equity  # whether there is such a position, rounding decides
        order = Order(
            a, price, self.shares[a], 0.0, self.impacts[t][a], self.spread_at(t + 1, a), -self.shares[a] * price
        )
        if not self.pays(order, order.money):
            self.events["unpaid stop"] += 1
            return 0.0, 0.0
        self.events[what] += 1
        self.out[a] = math.copysign(1.0, self.shares[a]), t + self.part("cooldown", t, a, math.inf)
        self.paid[a] = 0.0
        return self.book([order])

    def aims(self, t: int) -> list[float]:
        """The plan's, of which those of symbols that stay out count as 0."""
        aims = [float(aim) for aim in self.plan.aim[t]]
        for a, (side, last) in list(self.out.items()):
            if aims[a] * side > 0 and t <= last:
                aims[a] = 0.0
                self.events["stays out"] += 1
            else:
                self.events["cooldown ends"] += t > last
                self.events["aim ends"] += t <= last
                del self.out[a]
        return aims

    # ---- step 6: targets

    def targets(self, t: int, prices: list[float], open_: list[bool], called: bool) -> list[Order]:
        rules = self.execution
        current = [n * p / self.V for n, p in zip(self.shares, prices, strict=True)]
        moved: dict[int, float] = {}
        aims = self.aims(t)
        for a, c in enumerate(current):
            if not open_[a]:
                continue
            aim, band, rate = aims[a], self.part("band", t, a, 0.0), self.part("rate", t, a, 1.0)
            if called:
                aim, band, rate = 0.0, 0.0, 1.0
            edge = min(max(c, aim - band), aim + band)
            w = c + rate * (edge - c)
            if abs(w - c) > TINY:
                least = 0.0 if rules.long_only else -rules.max_weight
                moved[a] = min(max(w, least), rules.max_weight)
        if called:  # its orders close every open position, whatever the limits say
            weights = [moved.get(a, c) for a, c in enumerate(current)]
        else:
            weights = self.within_limits(moved, current)
        at = t if self.fill == "same_close" else t + 1
        return [
            Order(a, prices[a], self.shares[a], weights[a], self.impacts[t][a], self.spread_at(at, a))
            for a in moved
            if abs(weights[a] - current[a]) > TINY
        ]

    def within_limits(self, moved: dict[int, float], current: list[float]) -> list[float]:
        """The weights of all symbols, from those that the plan moves."""
        rules = self.execution
        gross, net, factor = sum(abs(w) for w in moved.values()), abs(sum(moved.values())), 1.0
        if exceeds(gross, rules.gross):
            factor = rules.gross / gross
            self.events["gross scales"] += 1
        if exceeds(net * factor, rules.net):
            factor = rules.net / net
            self.events["net scales"] += 1
        weights = [moved[a] * factor if a in moved else c for a, c in enumerate(current)]
        weights = self.cut(weights, current, "gross", rules.gross, abs)
        sign = math.copysign(1.0, sum(weights))
        weights = self.cut(weights, current, "net", rules.net, lambda w: sign * w)
        change = sum(abs(w - c) for w, c in zip(weights, current, strict=True))
        if exceeds(change, rules.turnover):
            weights = [c + (w - c) * rules.turnover / change for w, c in zip(weights, current, strict=True)]
            self.events["turnover"] += 1
        return weights

    def cut(
        self, weights: list[float], current: list[float], name: str, limit: float, size: Callable[[float], float]
    ) -> list[float]:
        """Cut the orders that add to Σ size(w) where that exceeds the limit."""
        if not exceeds(sum(size(w) for w in weights), limit):
            return weights
        common = sum(min(size(c), size(w)) for w, c in zip(weights, current, strict=True))
        added = sum(max(size(w) - size(c), 0.0) for w, c in zip(weights, current, strict=True))
        f = max((limit - common) / added, 0.0) if added > 0 else 0.0
        self.events[f"{name} cuts"] += f > 0
        self.events[f"{name} forbids"] += f == 0 and added > TINY

        def part(c: float, w: float) -> float:
            return math.copysign(abs(c) + f * (abs(w) - abs(c)), w) if name == "gross" else c + f * (w - c)

        return [part(c, w) if size(w) > size(c) else w for w, c in zip(weights, current, strict=True)]

    # ---- step 7: sizes

    def size(self, orders: list[Order], called: bool) -> None:
        sizing = self.execution.sizing
        if called:
            for order in orders:
                order.money = -order.value
        elif sizing == "pre_fee":
            for order in orders:
                order.money = order.weight * self.V - order.value
        elif sizing == "post_fee":
            U, paying = self.equity_after_costs(orders)
            self.events["no root"] += U is None
            for order in orders:
                if U is None:
                    order.money = -order.value if order.weight == 0 else 0.0
                elif order in paying:
                    order.money = order.weight * U - order.value
        else:
            for order in orders:
                order.money = self.outlay(order)
                if sizing == "whole_lots" and order.weight != 0:
                    position = self.whole(order.shares + order.money / order.price)
                    order.money = (position - order.shares) * order.price

    def outlay(self, order: Order) -> float:
        if order.weight == 0:
            return -order.value
        x = order.weight * self.V - order.value
        if x > 0:
            if not exceeds(x, self.costs.fixed):
                return 0.0
            return self.affordable(order, x)
        # a sell of size s raises s less its cost: concave in s, so the top divides its smaller from its larger root
        keep = max(1 - self.rate(order, buying=False), 0.0)

        def short_of(s: float) -> float:
            return -x - (keep * s - self.costs.fixed - order.impact * s**1.5)

        top = order.value  # a larger sell is never made
        if order.impact > 0:
            top = min(top, (keep / (1.5 * order.impact)) ** 2)
        if top <= 0 or short_of(top) > 0:
            return x
        return -bisect(short_of, 0.0, top)

    def affordable(self, order: Order, outlay: float) -> float:
        """The buy that takes this much cash, its cost included."""
        return bisect(lambda d: d + self.cost(order, d) - outlay, 0.0, outlay)

    def whole(self, shares: float) -> float:
        """Shares rounded towards zero to whole lots."""
        lots = abs(shares) / self.execution.lot
        self.near(lots)
        return math.copysign(math.floor(lots + 1e-9) * self.execution.lot, shares)

    def near(self, lots: float) -> None:
        """Note a quantity very near an edge, but not so near that the account takes it for the edge itself."""
        self.edge |= 1e-10 < abs(lots - round(lots)) < 1e-7

    def equity_after_costs(self, orders: list[Order]) -> tuple[float | None, list[Order]]:
        """The root U above zero of the orders that pay, if there is one, and these orders."""
        orders = self.paying(orders, self.V)
        while True:
            U = self.largest_root(orders)
            remaining = orders if U is None else self.paying(orders, U)
            if len(remaining) == len(orders):
                return U, orders
            orders = remaining

    def paying(self, orders: list[Order], U: float) -> list[Order]:
        """The orders without the sells that do not pay at this equity."""
        paying = [o for o in orders if self.pays(o, o.weight * U - o.value)]
        self.events["sell left out"] += len(paying) < len(orders)
        return paying

    def largest_root(self, orders: list[Order]) -> float | None:
        """The largest root of ``U + Σ cost(w U − value) = V``, if it is above 1e-9 V. The sum is convex in U."""

        def excess(U: float) -> float:
            return U - self.V + sum(self.charge(o, o.weight * U - o.value) for o in orders)

        bottom = 0.0 if excess(0.0) <= 0 else lowest(excess, 0.0, self.V)
        U = bisect(excess, bottom, self.V) if excess(bottom) <= 0 else 0.0
        return U if U > ROUNDING * self.V else None

    # ---- step 9: orders

    def make(self, orders: list[Order], called: bool) -> tuple[float, float]:
        sells = [o for o in orders if o.money < 0 and (called or self.pays(o, o.money))]
        self.events["useless sell"] += sum(o.money < 0 for o in orders) - len(sells)
        buys = [o for o in orders if o.money > 0]
        cost, traded = self.book(sells)
        if not called and not self.execution.borrowing and self.outlays(buys) > self.cash:
            if self.execution.sizing == "whole_lots":
                self.cut_lots(buys)
            elif self.execution.shortfall == "pro_rata":
                self.cut_pro_rata(buys)
            else:
                self.cut_largest(buys)
        more = self.book(buys)
        return cost + more[0], traded + more[1]

    def outlays(self, buys: list[Order]) -> float:
        return sum(o.money + self.cost(o, o.money) for o in buys)

    def book(self, orders: list[Order]) -> tuple[float, float]:
        cost = traded = 0.0
        for order in orders:
            paid = self.cost(order, order.money)
            cost += paid
            traded += abs(order.money)
            self.cash -= order.money + paid
            closed = order.weight == 0 and abs(order.value + order.money) <= TINY * abs(
                order.money
            )  # or it is rounding
            self.shares[order.symbol] = 0.0 if closed else order.shares + order.money / order.price
            if self.execution.sizing == "whole_lots" and not closed:  # exactly whole
                self.shares[order.symbol] = round(self.shares[order.symbol] / self.execution.lot) * self.execution.lot
        return cost, traded

    def cut_pro_rata(self, buys: list[Order]) -> None:
        covers = [min(o.money, max(-o.value, 0.0)) for o in buys]
        wanted = [o.money for o in buys]
        if sum(c + self.cost(o, c) for o, c in zip(buys, covers, strict=True)) <= self.cash:
            self.events["cut pro rata"] += 1
            first = covers
        else:
            self.events["cut covers"] += 1
            first, wanted = [0.0] * len(buys), covers

        def needed(f: float) -> float:
            total = -self.cash
            for order, c, d in zip(buys, first, wanted, strict=True):
                money = c + f * (d - c)
                total += money + self.cost(order, money)
            return total

        fraction = bisect(needed, ROUNDING, 1.0) if needed(ROUNDING) < 0 else 0.0
        for order, c, d in zip(buys, first, wanted, strict=True):
            order.money = c + fraction * (d - c)

    def cut_largest(self, buys: list[Order]) -> None:
        self.events["cut largest"] += 1
        cash, full = self.cash, False
        money = sorted(order.money for order in buys)
        self.edge |= any(a < b < a * (1 + ROUNDING) for a, b in pairwise(money))  # which comes first, rounding decides
        for order in sorted(buys, key=lambda o: o.money):  # stable: equals stay in the order of the symbols
            if full:
                order.money = 0.0
            elif order.money + self.cost(order, order.money) <= cash:
                cash -= order.money + self.cost(order, order.money)
            else:
                full = True
                order.money = self.affordable(order, cash) if exceeds(cash, self.costs.fixed) else 0.0

    def cut_lots(self, buys: list[Order]) -> None:
        self.events["cut lots"] += 1
        cash = self.cash

        def turn(order: Order) -> tuple[bool, float]:
            return self.execution.shortfall == "pro_rata" and order.shares >= 0, order.money

        for order in sorted(buys, key=turn):
            needed = order.money + self.cost(order, order.money)
            lot = self.execution.lot * order.price
            self.edge |= 0 < abs(needed - cash) < 1e-7 * lot
            if needed > cash:
                most = self.affordable(order, cash) if exceeds(cash, self.costs.fixed) else 0.0
                self.near(most / lot)
                order.money = math.floor(most / lot + 1e-9) * lot
            if order.money > 0:
                cash -= order.money + self.cost(order, order.money)


def plain_account(bars: Bars, plan: Plan, costs: Costs, execution: Execution) -> Account:
    """The account of one path; see the module."""
    return PlainAccount(bars, plan, costs, execution).run()
