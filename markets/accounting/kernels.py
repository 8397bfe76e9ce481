"""The account: one accounting kernel, and its faces `step`, `simulate` and their adjoint.

One bar, from the decision at row t to the mark at row t + 1 (``_advance``; the order of events is told in
`markets.accounting.costs`), in the notation of the code, for symbols i::

    V   = cash + Σ q_i p_i                        equity at the fill price
    c_i = q_i p_i / V                             current weight
    w_i = c_i + rate_i (clip(c_i, aim_i ± band_i) − c_i), then limits
    d_i = w_i U − q_i p_i                         order, in money; U = V, or equity after costs (post_fee)
    q_i ← q_i + d_i / p_i,   cash ← cash − Σ (d_i + cost(d_i))
    cost(d) = k |d| + fixed + impact |d|^1.5 + quadratic d² / V      k is `rules.buy` or `rules.sell`

All kernels stand in this one module: numba's cache does not see a change in a callee of another file. They release
the GIL, so callers may run paths in threads.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit

from markets.accounting.costs import GONE, OPEN, OUTLAY, POST_FEE, Costs, Execution, Market, Rules, make_market
from markets.bars.bars import Bars

# Without numba's reference counts (_nrt), which cost ten times what the arithmetic does for a single symbol: nothing here
# may allocate, callers own all arrays. Division by zero gives inf, as in numpy.
_kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
_inlined = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, inline="always")

# Rows of the scratch array: what a fill found and did, kept for the adjoint.
VALUE, CURRENT, WANTED, TARGET, ORDER, FREE, HEAP, ZERO, ONE = range(9)
# Holdings drift over a limit by rounding; trading on that would be noise.
TOLERANCE = 1e-9
# A change of weight below this is rounding, not an order: it must not be charged a fixed fee.
DUST = 1e-12
# Symbols times bars below which handing work to another thread costs more than doing it.
LEAST_WORK = 30_000


class Notes(NamedTuple):
    """Scalars of one fill that the adjoint reads."""

    equity: float  # V
    base: float  # U
    scale: float  # of the weights, for gross and net
    by_net: bool  # whether net was the binding one
    pace: float  # of the trades, for turnover
    cut: int  # the buy that was cut to the cash there was, or -1
    cost: float
    traded: float
    limited: bool  # whether the plan was beyond the limits


# ---------------------------------------------------------------------------------------------------- forward


def scratch(symbols: int) -> np.ndarray:
    """Room for a kernel to work in; one a thread."""
    work = np.zeros((ONE + 7, symbols))  # six more rows for the adjoint
    work[ONE] = 1.0
    return work


@_inlined
def _cost(order, impact, quadratic, rules):
    """Money lost to one order of value `order` (signed, at the fill price); `quadratic` is that of the rules over V."""
    size = abs(order)
    cost = (rules.buy if order > 0 else rules.sell) * size + rules.fixed
    if impact > 0:
        cost += impact * size * np.sqrt(size)
    return cost + quadratic * size * size


@_inlined
def _cost_slope(order, impact, quadratic, rules):
    """Derivative of `_cost` in the signed order."""
    slope = rules.buy if order > 0 else rules.sell
    if impact > 0:
        slope += 1.5 * impact * np.sqrt(abs(order))
    slope += 2 * quadratic * abs(order)
    return slope if order > 0 else -slope


@_inlined
def _accrue(market, t, cash, shares, rules):
    """Cash after interest, financing and borrow fee from bar t to the next."""
    if rules.cash_rate == 0 and rules.financing_rate == 0 and rules.borrow_rate == 0:
        return cash
    cash += cash * (rules.cash_rate if cash > 0 else rules.financing_rate) * market.gap[t]
    if rules.borrow_rate > 0:
        for i in range(shares.size):
            if shares[i] < 0:
                cash += shares[i] * market.mark[t, i] * rules.borrow_rate * market.gap[t]
    return cash


@_inlined
def _targets(market, t, equity, aim, band, rate, rules, work):
    """Weights wanted after band, rate and limits, into `work`; returns (scale, by_net, pace, whether a limit was hit)."""
    n, state = aim.size, market.open
    gross, net, stuck_gross, stuck_net, change = 0.0, 0.0, 0.0, 0.0, 0.0
    inverse, limited = 1.0 / equity, False
    for i in range(n):
        c = work[VALUE, i] * inverse
        work[CURRENT, i] = c
        w = c
        if state[t, i] == OPEN:
            edged = _edged(c, aim[i], band[i], rate[i])
            w = _clipped(edged, rules.lowest, rules.highest)
            limited |= w != edged
            gross += abs(w)
            net += w
            change += abs(w - c)
        else:
            stuck_gross += abs(c)
            stuck_net += c
        work[WANTED, i] = w
        work[TARGET, i] = w
    scale, by_net, pace = 1.0, False, 1.0
    if gross + stuck_gross > rules.gross * (1 + TOLERANCE):
        scale = max(rules.gross - stuck_gross, 0.0) / gross if gross > 0 else 1.0
    if abs(scale * net + stuck_net) > rules.net * (1 + TOLERANCE):
        side = 1.0 if scale * net + stuck_net > 0 else -1.0
        # where holdings that cannot trade already fill the limit, nothing on their side is added
        room = max((side * rules.net - stuck_net) / net, 0.0) if net != 0 else 1.0
        if room < scale:
            scale, by_net = room, True
    if scale < 1:
        change = 0.0
        for i in range(n):
            if state[t, i] == OPEN:
                work[TARGET, i] = work[WANTED, i] * scale
                change += abs(work[TARGET, i] - work[CURRENT, i])
    if change > rules.turnover * (1 + TOLERANCE):
        pace = rules.turnover / change
        for i in range(n):
            if state[t, i] == OPEN:
                work[TARGET, i] = work[CURRENT, i] + pace * (work[TARGET, i] - work[CURRENT, i])
    return scale, by_net, pace, limited or scale < 1 or pace < 1


@_inlined
def _edged(c, aim, band, rate):
    """Weight after going the share `rate` of the way to the nearest edge of the no-trade zone."""
    # without branches: which way a trade goes cannot be predicted, and a wrong guess costs more than the sum
    return c + rate * (_clipped(c, aim - band, aim + band) - c)


@_inlined
def _clipped(x, low, high):
    """min(max(x, low), high), which numba makes slow for the sake of NaN."""
    x = low if x < low else x
    return high if x > high else x


@_kernel
def _equity_after_costs(market, t, equity, rules, work):
    """U of ``post_fee``: the root of U + Σ cost(w_i U − q_i p_i) = V, by Newton; 0 where costs exceed the equity.

    The left side is convex in U and not below V at U = V. So steps go down to the root without passing it, and where the
    slope is no longer positive there is none.
    """
    base, impact, quadratic = equity, market.impact, rules.quadratic / equity
    for _ in range(50):
        value, slope = base - equity, 1.0
        for i in range(work.shape[1]):
            if abs(work[TARGET, i] - work[CURRENT, i]) > DUST:
                order = work[TARGET, i] * base - work[VALUE, i]
                k = impact[t, i] if impact.size else 0.0
                value += _cost(order, k, quadratic, rules)
                slope += _cost_slope(order, k, quadratic, rules) * work[TARGET, i]
        if slope <= 0:
            return 0.0
        move = value / slope
        base -= move
        if abs(move) <= 1e-15 * equity:
            break
    return base


@_kernel
def _largest_buy(cash, impact, quadratic, rules):
    """The order whose value and cost together use up `cash`."""
    if cash <= rules.fixed:
        return 0.0
    order = (cash - rules.fixed) / (1 + rules.buy)
    if impact > 0 or quadratic > 0:
        for _ in range(50):
            excess = order + _cost(order, impact, quadratic, rules) - cash
            move = excess / (1 + _cost_slope(order, impact, quadratic, rules))
            order -= move
            if abs(move) <= 1e-15 * cash:
                break
    return order


@_kernel
def _whole(order, price, shares, lot):
    """An order rounded to whole lots, so that a long position is rounded down and a short one towards zero."""
    lots = order / (price * lot)
    down = shares > 0 or (shares == 0 and order > 0)
    # what is whole but for rounding is whole
    lots = np.floor(lots + 1e-9) if down else np.ceil(lots - 1e-9)
    return lots * lot * price


@_kernel
def _outlay_order(change, impact, rules):
    """The order that changes value by `change`, its own cost included. (There are no quadratic costs: `make_rules`.)"""
    if change > 0:
        return _largest_buy(change, impact, 0.0, rules)
    order = (change - rules.fixed) / (1 - rules.sell)
    if impact > 0:
        for _ in range(50):
            move = (order + _cost(order, impact, 0.0, rules) - change) / (1 + _cost_slope(order, impact, 0.0, rules))
            order -= move
            if abs(move) <= 1e-15 * abs(change):
                break
    return order


@_inlined
def _moved(shares, order, price, target):
    """Shares after an order; a position that is closed is exactly zero, so that no dust is left to trade."""
    shares += order / price
    return 0.0 if target == 0.0 and abs(shares * price) <= DUST * abs(order) else shares


@_inlined
def _odd_order(order, price, shares, impact, rules):
    """`order` sized as ``outlay`` or ``whole_lots`` have it."""
    order = _outlay_order(order, impact, rules)
    return _whole(order, price, shares, rules.lot) if rules.lot > 0 else order


@_inlined
def _plain_orders(market, t, cash, base, shares, rules, work):
    """What the rest of `_fill` does, where costs are proportional and the cash is enough: without branches.

    Which symbols are sold cannot be predicted, and a processor that guesses wrongly loses more time than the sums take.
    Returns (whether it was done, cash, cost, traded value).
    """
    sold, bought = 0.0, 0.0
    for i in range(shares.size):
        order = work[TARGET, i] * base - work[VALUE, i]
        order = order if abs(work[TARGET, i] - work[CURRENT, i]) > DUST and base > 0 else 0.0
        work[ORDER, i] = order
        work[FREE, i] = order
        sold -= order if order < 0 else 0.0
        bought += order if order > 0 else 0.0
    after = cash + sold * (1 - rules.sell) - bought * (1 + rules.buy)
    if after < 0 and bought > 0 and not rules.borrowing:
        return False, cash, 0.0, 0.0
    for i in range(shares.size):
        if work[ORDER, i] != 0:
            shares[i] = _moved(shares[i], work[ORDER, i], market.fill[t, i], work[TARGET, i])
    return True, after, sold * rules.sell + bought * rules.buy, sold + bought


@_inlined
def _fill(market, t, cash, shares, aim, band, rate, rules, work):
    """Trade `shares` (in place) towards the plan; returns (cash, Notes). Nothing is done with equity below zero."""
    n, price, impact = shares.size, market.fill, market.impact
    equity = cash
    for i in range(n):
        work[VALUE, i] = shares[i] * price[t, i]
        equity += work[VALUE, i]
    if equity <= 0:
        return cash, Notes(equity, equity, 1.0, False, 1.0, -1, 0.0, 0.0, False)
    scale, by_net, pace, limited = _targets(market, t, equity, aim, band, rate, rules, work)
    base = equity
    if rules.sizing == POST_FEE:
        base = _equity_after_costs(market, t, equity, rules, work)

    if rules.fixed == 0 and impact.size == 0 and rules.quadratic == 0 and rules.sizing != OUTLAY:
        done, cash, cost, traded = _plain_orders(market, t, cash, base, shares, rules, work)
        if done:
            return cash, Notes(equity, base, scale, by_net, pace, -1, cost, traded, limited)
    cost, traded, wanted, quadratic = 0.0, 0.0, 0.0, rules.quadratic / equity
    for i in range(n):  # sells first
        order, target = 0.0, work[TARGET, i]
        k = impact[t, i] if impact.size else 0.0
        if abs(target - work[CURRENT, i]) > DUST and base > 0:  # costs that are more than the equity are not run up
            order = target * base - work[VALUE, i]
            if rules.sizing == OUTLAY and target != 0.0:
                order = _odd_order(order, price[t, i], shares[i], k, rules)
        paid = _cost(order, k, quadratic, rules)
        if order < 0 and order + paid >= 0:  # a sell that would not bring its own costs is not made
            order = 0.0
        work[ORDER, i] = order
        work[FREE, i] = order
        if order > 0:
            wanted += order + paid
        elif order < 0:
            cash -= order + paid
            cost += paid
            traded -= order
            shares[i] = _moved(shares[i], order, price[t, i], target)
    cut = -1
    if wanted > cash and not rules.borrowing:
        cut = _cut(market, t, cash, quadratic, rules, work)
    if wanted > 0:
        for i in range(n):
            order = work[ORDER, i]
            if order > 0:
                paid = _cost(order, impact[t, i] if impact.size else 0.0, quadratic, rules)
                cash -= order + paid
                cost += paid
                traded += order
                shares[i] = _moved(shares[i], order, price[t, i], work[TARGET, i])
    if cut >= 0:
        cash = 0.0  # but for rounding
    return cash, Notes(equity, base, scale, by_net, pace, cut, cost, traded, limited)


@_inlined
def _comes_later(work, a, b):
    """Whether buy `a` is larger than buy `b`; of equals, the later symbol."""
    return work[ORDER, a] > work[ORDER, b] or (work[ORDER, a] == work[ORDER, b] and a > b)


@_kernel
def _sift(work, top, size):
    """Let the element at `top` sink to its place in the heap of symbols, smallest buy first, in row `HEAP`."""
    while 2 * top + 1 < size:
        child = 2 * top + 1
        if child + 1 < size and _comes_later(work, int(work[HEAP, child]), int(work[HEAP, child + 1])):
            child += 1
        if not _comes_later(work, int(work[HEAP, top]), int(work[HEAP, child])):
            break
        work[HEAP, top], work[HEAP, child] = work[HEAP, child], work[HEAP, top]
        top = child


@_kernel
def _cut(market, t, cash, quadratic, rules, work):
    """Cut buys to the cash there is: from the smallest to the largest, until it is used up.

    Returns the one that takes the last of it, or -1 where that is none. (By a heap, since sorting would allocate.)
    """
    cut, size, price, impact = -1, 0, market.fill, market.impact
    for i in range(work.shape[1]):
        if work[ORDER, i] > 0:
            work[HEAP, size] = i
            size += 1
    for top in range(size // 2 - 1, -1, -1):
        _sift(work, top, size)
    while size > 0:
        i = int(work[HEAP, 0])
        size -= 1
        work[HEAP, 0] = work[HEAP, size]
        _sift(work, 0, size)
        order, k = work[ORDER, i], impact[t, i] if impact.size else 0.0
        if order + _cost(order, k, quadratic, rules) > cash:
            work[FREE, i] = 0.0
            order = 0.0 if cut >= 0 else _largest_buy(cash, k, quadratic, rules)
            if rules.lot > 0:
                order = np.floor(order / (price[t, i] * rules.lot) + 1e-9) * rules.lot * price[t, i]
            elif order > 0:
                cut = i
            work[ORDER, i] = order
        if order > 0:
            cash -= order + _cost(order, k, quadratic, rules)
    return cut


@_inlined
def _copy(source, to):
    for i in range(to.size):
        to[i] = source[i]


@_inlined
def _value(market_mark, t, cash, shares):
    for i in range(shares.size):
        cash += shares[i] * market_mark[t, i]
    return cash


@_inlined
def _called(market, t, equity, shares, rules):
    """Whether the account is below its maintenance margin at bar t."""
    gross = 0.0
    for i in range(shares.size):
        gross += abs(shares[i]) * market.mark[t, i]
    return equity < rules.maintenance * gross


@_inlined
def _advance(market, t, cash, equity, shares, aim, band, rate, rules, work):
    """One bar from row t; `shares` change in place.

    Returns (cash, equity at the next mark, cost, traded value, whether the plan was beyond the limits).
    """
    if equity <= 0:  # closed: ruin is final
        return cash, equity, 0.0, 0.0, False
    called = rules.maintenance > 0 and _called(market, t, equity, shares, rules)
    if rules.lagged:
        cash = _accrue(market, t, cash, shares, rules)
    if rules.delistings:
        for i in range(shares.size):
            if market.open[t, i] == GONE:  # paid out at the last price less the haircut
                cash += shares[i] * market.fill[t, i]
                shares[i] = 0.0
    if called:  # the broker's plan, not ours
        cash, notes = _fill(market, t, cash, shares, work[ZERO], work[ZERO], work[ONE], rules, work)
    else:
        cash, notes = _fill(market, t, cash, shares, aim, band, rate, rules, work)
    equity = notes.equity
    if equity > 0:
        if not rules.lagged:
            cash = _accrue(market, t, cash, shares, rules)
        equity = _value(market.mark, t + 1, cash, shares)
    if equity <= 0:  # at the mark, or by the gap to the fill: closed there, at what it is
        cash = equity
        shares[:] = 0.0
    return cash, equity, notes.cost, notes.traded, notes.limited


@_kernel
def step_kernel(market, active, at, aim, cash, shares, equity, cost, traded, scaled, rules, work):
    """Advance each active account b from row ``at[b]`` to the next, towards the weights ``aim[b]``; all in place.

    `scaled` counts the bars on which an account wanted more than the limits allow.
    """
    zero, one = work[ZERO], work[ONE]
    for b in range(at.size):
        if active[b]:
            cash[b], equity[b], cost[b], traded[b], limited = _advance(
                market, at[b], cash[b], equity[b], shares[b], aim[b], zero, one, rules, work
            )
            scaled[b] += limited
            at[b] += 1


@_kernel
def path_kernel(market, start, aim, band, rate, cash, shares, equity, cost, traded, rules, held, work):
    """Fold of `_advance` over time, for each path b from row ``start[b]``.

    `cash` (B, T) and `equity` (B, T) come with their first column set; `shares` is (B, T, A), or (B, 1, A) to keep only
    the last. Cost and traded value of the bar from t to t + 1 stand at t + 1. `held` (A,) is room, as is `work`.
    """
    paths, bars = aim.shape[:2]
    zero, one = work[ZERO], work[ONE]
    keep = shares.shape[1] > 1
    for b in range(paths):
        _copy(shares[b, 0], held)
        for t in range(bars - 1):
            cash[b, t + 1], equity[b, t + 1], cost[b, t + 1], traded[b, t + 1], _ = _advance(
                market,
                start[b] + t,
                cash[b, t],
                equity[b, t],
                held,
                aim[b, t],
                band[b, t] if band.size else zero,
                rate[b, t] if rate.size else one,
                rules,
                work,
            )
            if keep:
                _copy(held, shares[b, t + 1])
        if not keep:
            _copy(held, shares[b, 0])


@_kernel
def orders_kernel(market, aim, band, rate, money, orders, filled, rules, held, work):
    """Orders (T, A) of one path in money, signed, and whether there was a fill (T,).

    Those of the way from bar t to t + 1 stand at t + 1. An account that is closed, or ruined by the gap, is not filled.
    """
    cash = equity = money
    for t in range(aim.shape[0] - 1):
        work[ORDER, :] = 0.0
        work[TARGET, 0] = np.nan  # a fill writes targets
        cash, equity, _, _, _ = _advance(market, t, cash, equity, held, aim[t], band[t], rate[t], rules, work)
        _copy(work[ORDER], orders[t + 1])
        filled[t + 1] = not np.isnan(work[TARGET, 0])


# ---------------------------------------------------------------------------------------------------- adjoint


@_kernel
def _accrue_adjoint(market, t, cash, shares, rules, g_cash, g_shares):
    """Adjoint of `_accrue`; adds to `g_shares`, returns the gradient of the cash before."""
    gap = market.gap[t]
    if rules.borrow_rate > 0:
        for i in range(shares.size):
            if shares[i] < 0:
                g_shares[i] += g_cash * market.mark[t, i] * rules.borrow_rate * gap
    return g_cash * (1 + (rules.cash_rate if cash > 0 else rules.financing_rate) * gap)


@_kernel
def _targets_adjoint(market, t, notes, aim, band, rate, rules, work, g_target, g_current, g_aim, g_band, g_rate):
    """From the gradient of the target weights to those of the plan and of the current weights."""
    n, state = g_target.size, market.open
    scale, pace = notes.scale, notes.pace
    if pace < 1:  # target = current + pace (scaled - current), pace = turnover / Σ|scaled - current|
        g_pace, change = 0.0, rules.turnover / pace
        for i in range(n):
            if state[t, i] == OPEN:
                g_pace += g_target[i] * (work[WANTED, i] * scale - work[CURRENT, i])
        for i in range(n):
            if state[t, i] == OPEN:
                side = np.sign(work[WANTED, i] * scale - work[CURRENT, i])
                g_move = pace * g_target[i] - g_pace * pace / change * side
                g_current[i] += g_target[i] - g_move
                g_target[i] = g_move
    if scale < 1:  # scaled = scale · wanted
        g_scale, total, stuck = 0.0, 0.0, 0.0
        for i in range(n):
            if state[t, i] == OPEN:
                g_scale += g_target[i] * work[WANTED, i]
                total += work[WANTED, i] if notes.by_net else abs(work[WANTED, i])
            elif not notes.by_net:
                stuck += abs(work[CURRENT, i])
        if scale == 0:
            g_scale = 0.0  # nothing is left to scale to
        for i in range(n):
            if state[t, i] == OPEN:
                side = 1.0 if notes.by_net else np.sign(work[WANTED, i])
                g_target[i] = scale * g_target[i] - g_scale * scale / total * side
            else:
                side = 1.0 if notes.by_net else np.sign(work[CURRENT, i])
                g_current[i] -= g_scale / total * side
    for i in range(n):
        if state[t, i] != OPEN:
            continue
        g, c = g_target[i], work[CURRENT, i]
        edged = _edged(c, aim[i], band[i], rate[i])
        if edged < rules.lowest or edged > rules.highest:
            continue
        if c < aim[i] - band[i]:
            g_rate[i] += g * (aim[i] - band[i] - c)
            g_aim[i] += g * rate[i]
            g_band[i] -= g * rate[i]
            g_current[i] += g * (1 - rate[i])
        elif c > aim[i] + band[i]:
            g_rate[i] += g * (aim[i] + band[i] - c)
            g_aim[i] += g * rate[i]
            g_band[i] += g * rate[i]
            g_current[i] += g * (1 - rate[i])
        else:
            g_current[i] += g


@_kernel
def _fill_adjoint(market, t, notes, aim, band, rate, rules, work, g_cash, g_shares, g_aim, g_band, g_rate, room):
    """Adjoint of `_fill`; turns `g_shares` in place, returns the gradient of the cash before."""
    n, price, impact = g_shares.size, market.fill, market.impact
    g_target, g_current, g_value = room[0], room[1], room[2]
    quadratic = rules.quadratic / notes.equity
    if notes.cut >= 0:  # all cash went into the cut buy: its size is the cash there was, over 1 + marginal cost
        i = notes.cut
        marginal = _cost_slope(work[ORDER, i], impact[t, i] if impact.size else 0.0, quadratic, rules)
        g_cash = g_shares[i] / price[t, i] / (1 + marginal)
    g_base = 0.0
    for i in range(n):
        g_target[i], g_current[i], g_value[i] = 0.0, 0.0, 0.0
        if work[FREE, i] != 0:  # order = target · base - value
            marginal = _cost_slope(work[ORDER, i], impact[t, i] if impact.size else 0.0, quadratic, rules)
            g_order = g_shares[i] / price[t, i] - g_cash * (1 + marginal)
            g_target[i] = g_order * notes.base
            g_base += g_order * work[TARGET, i]
            g_value[i] = -g_order
    g_equity = g_base
    if rules.sizing == POST_FEE and notes.base > 0:  # implicit: base + Σ cost(target · base - value) = equity
        slope, spared = 1.0, 0.0
        for i in range(n):
            if abs(work[TARGET, i] - work[CURRENT, i]) > DUST:
                order = work[TARGET, i] * notes.base - work[VALUE, i]
                slope += _cost_slope(order, impact[t, i] if impact.size else 0.0, quadratic, rules) * work[TARGET, i]
                spared += quadratic * order * order
        g_root = g_base / slope
        g_equity = g_root * (1 + spared / notes.equity)
        for i in range(n):
            if abs(work[TARGET, i] - work[CURRENT, i]) > DUST:
                order = work[TARGET, i] * notes.base - work[VALUE, i]
                marginal = _cost_slope(order, impact[t, i] if impact.size else 0.0, quadratic, rules)
                g_target[i] -= g_root * marginal * notes.base
                g_value[i] += g_root * marginal
    if quadratic > 0:  # what a richer account is spared of its costs
        for i in range(n):
            g_equity += g_cash * quadratic * work[ORDER, i] * work[ORDER, i] / notes.equity
    _targets_adjoint(market, t, notes, aim, band, rate, rules, work, g_target, g_current, g_aim, g_band, g_rate)
    inverse = 1.0 / notes.equity
    for i in range(n):  # current = value / equity, equity = cash + Σ value
        g_value[i] += g_current[i] * inverse
        g_equity -= g_current[i] * work[CURRENT, i] * inverse
    for i in range(n):
        g_shares[i] += (g_value[i] + g_equity) * price[t, i]
    return g_cash + g_equity


@_kernel
def _advance_adjoint(
    market,
    t,
    cash,
    equity,
    before,
    aim,
    band,
    rate,
    rules,
    work,
    g_end,
    g_cash,
    g_shares,
    g_aim,
    g_band,
    g_rate,
    held,
    room,
):
    """Adjoint of `_advance`, which is done again from the state before; `g_end` is the gradient of the equity after.

    Turns `g_shares` in place and returns the gradient of the cash before.
    """
    if equity <= 0:  # closed: equity and cash stayed what they were
        return g_cash + g_end
    _copy(before, held)
    money = cash
    if rules.lagged:
        money = _accrue(market, t, money, held, rules)
    if rules.delistings:
        for i in range(held.size):
            if market.open[t, i] == GONE:
                money += held[i] * market.fill[t, i]
                held[i] = 0.0
    after, notes = _fill(market, t, money, held, aim, band, rate, rules, work)
    if notes.equity <= 0:  # closed at the fill
        g_cash += g_end
        for i in range(held.size):
            g_shares[i] = g_cash * market.fill[t, i]
    else:
        accrued = after if rules.lagged else _accrue(market, t, after, held, rules)
        if _value(market.mark, t + 1, accrued, held) <= 0:  # closed at the mark
            g_end += g_cash
            g_cash = 0.0
            g_shares[:] = 0.0
        g_cash += g_end
        for i in range(held.size):
            g_shares[i] += g_end * market.mark[t + 1, i]
        if not rules.lagged:
            g_cash = _accrue_adjoint(market, t, after, held, rules, g_cash, g_shares)
        g_cash = _fill_adjoint(
            market, t, notes, aim, band, rate, rules, work, g_cash, g_shares, g_aim, g_band, g_rate, room
        )
    if rules.delistings:
        for i in range(held.size):
            if market.open[t, i] == GONE:
                g_shares[i] = g_cash * market.fill[t, i]
    if rules.lagged:
        g_cash = _accrue_adjoint(market, t, cash, before, rules, g_cash, g_shares)
    return g_cash


@_kernel
def adjoint_kernel(
    market, start, aim, band, rate, cash, equity, shares, g_equity, g_held, g_aim, g_band, g_rate, rules, work
):
    """Gradients of Σ g_equity · equity + Σ g_held · shares in the plan, by one reverse sweep.

    `cash`, `equity` (B, T) and `shares` (B, T, A) are the states that `path_kernel` recorded; each bar is done again from
    its state, so that nothing else need be stored. `g_held` (B, T, A) may have size 0, for all zeros. `g_aim`, `g_band`,
    `g_rate` (B, T, A) come zeroed and are added to.
    """
    paths, bars = aim.shape[:2]
    zero, one, room = work[ZERO], work[ONE], work[ONE + 1 : ONE + 4]
    held, g_shares, unused = work[ONE + 4], work[ONE + 5], work[ONE + 6]
    for b in range(paths):
        g_cash = 0.0
        g_shares[:] = 0.0
        for t in range(bars - 2, -1, -1):
            row = start[b] + t
            if g_held.size:
                for i in range(g_shares.size):
                    g_shares[i] += g_held[b, t + 1, i]
            p_aim, p_band, p_rate = aim[b, t], band[b, t] if band.size else zero, rate[b, t] if rate.size else one
            to_aim, to_band, to_rate = (
                g_aim[b, t],
                g_band[b, t] if g_band.size else unused,
                g_rate[b, t] if g_rate.size else unused,
            )
            if rules.maintenance > 0 and _called(market, row, equity[b, t], shares[b, t], rules):
                p_aim, p_band, p_rate = zero, zero, one
                to_aim, to_band, to_rate = unused, unused, unused  # the broker's plan, not ours
            g_cash = _advance_adjoint(
                market, row, cash[b, t], equity[b, t], shares[b, t], p_aim, p_band, p_rate, rules, work,
                g_equity[b, t + 1], g_cash, g_shares, to_aim, to_band, to_rate, held, room,
            )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- faces


class Paths(NamedTuple):
    """Accounts over time: equity, cash, cost and traded value (B, T), shares (B, T, A). Money; row 0 is the start.

    The cost and the traded value of the bar from t to t + 1 stand at t + 1. Where holdings were not asked for, shares are
    (B, 1, A), those of the end.
    """

    equity: np.ndarray
    cash: np.ndarray
    shares: np.ndarray
    cost: np.ndarray
    traded: np.ndarray


def run_paths(
    market: Market,
    rules: Rules,
    start: np.ndarray,
    aim: np.ndarray,
    band: np.ndarray,
    rate: np.ndarray,
    money: float,
    holdings: bool = True,
) -> Paths:
    """Simulate B plans of T bars by A symbols from rows `start` of the panel, in as many threads as numba has.

    Parameters
    ----------
    start : ndarray of int64, shape (B,)
        ``start[b] + T`` must not pass the panel's end.
    aim, band, rate : ndarray of shape (B, T, A)
        `band` and `rate` may have size 0, for all zeros and all ones.
    money : float
        Cash at the start.
    holdings : bool
        Whether to keep the shares of every bar, or of the last alone.
    """
    paths, bars, n = aim.shape
    start, aim, band, rate = (read_only(x) for x in (start, aim, band, rate))
    cash, equity = np.empty((paths, bars)), np.empty((paths, bars))
    cost, traded = np.empty((paths, bars)), np.empty((paths, bars))
    shares = np.empty((paths, bars if holdings else 1, n))
    cash[:, 0] = equity[:, 0] = money
    cost[:, 0] = traded[:, 0] = 0.0
    shares[:, 0] = 0.0

    def run(rows: slice) -> None:
        plan = (aim[rows], band[rows] if band.size else band, rate[rows] if rate.size else rate)
        out = (cash[rows], shares[rows], equity[rows], cost[rows], traded[rows])
        path_kernel(market, start[rows], *plan, *out, rules, np.empty(n), scratch(n))

    in_threads(run, paths, aim.size)
    return Paths(equity, cash, shares, cost, traded)


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to. To numba it is another type: kernels that are given but one compile once."""
    view = array.view()
    view.setflags(write=False)
    return view


def in_threads(run: Callable[[slice], None], paths: int, work: int) -> None:
    """Call `run` on slices that cover all paths, one a thread if there is `work` enough; kernels release the GIL."""
    count = min(get_num_threads(), paths) if work > LEAST_WORK else 1
    if count == 1:
        run(slice(0, paths))
        return
    edges = np.linspace(0, paths, count + 1).astype(int).tolist()
    others = [_pool(os.getpid(), count).submit(run, slice(a, b)) for a, b in itertools.pairwise(edges[1:])]
    run(slice(0, edges[1]))
    for other in others:
        other.result()


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that are kept; by process, since they do not survive a fork."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="regimeshift")


def simulate(
    bars: Bars,
    aim: np.ndarray,
    band: np.ndarray | None = None,
    rate: np.ndarray | None = None,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    holdings: bool = True,
) -> Paths:
    """Run one plan (T, A), or B plans (B, T, A), over the visible rows of `bars`.

    Parameters
    ----------
    bars : Bars of shape (T, A)
    aim, band, rate : ndarray of shape (T, A) or (B, T, A)
        Target weights, half-width of the no-trade zone (default 0) and share of the way to go each bar (default 1). Row
        t is decided at the close of bar t; the last row is never filled.
    costs : Costs or str
    execution : Execution, optional
    holdings : bool
        Whether to keep the shares of every bar, or of the last alone.

    Returns
    -------
    Paths
        With a leading axis of length 1 for a single plan.

    Raises
    ------
    ValueError
        A plan of another shape than the bars, or out of range (aims finite, bands at least 0, rates from 0 to 1), naming
        the row and the symbol.
    """
    costs, execution = Costs.parse(costs), execution or Execution()
    market, rules = make_market(bars, costs, execution)
    parts = {"aim": aim, "band": band, "rate": rate}
    aims, bands, rates = (np.zeros((0, 0, 0)) if p is None else _plan(p, bars, name) for name, p in parts.items())
    bands, rates = (np.ascontiguousarray(np.broadcast_to(p, aims.shape)) if p.size else p for p in (bands, rates))
    start = np.zeros(len(aims), dtype=np.int64)
    return run_paths(market, rules, start, aims, bands, rates, execution.cash, holdings)


# What each part of a plan may be.
_RANGES = {"aim": (-np.finfo(float).max, np.finfo(float).max), "band": (0.0, np.inf), "rate": (0.0, 1.0)}


def _plan(plan: np.ndarray, bars: Bars, name: str) -> np.ndarray:
    plan = np.asarray(plan, dtype=np.float64)
    if plan.shape[-2:] != bars.shape or plan.ndim > 3:
        raise ValueError(f"the plan's {name} has shape {plan.shape}, but the bars make {bars.shape}")
    lowest, highest = _RANGES[name]
    if not (plan.min() >= lowest and plan.max() <= highest):  # without a temporary; false for NaN, too
        row, column = (int(i) for i in np.argwhere(~((plan >= lowest) & (plan <= highest)))[0][-2:])
        value = plan.reshape(-1, *bars.shape)[:, row, column]
        raise ValueError(
            f"the plan's {name} for {bars.symbols[column]} at {bars.index[row]} (row {row}) is {value[0]:g}; "
            + {"aim": "it must be finite", "band": "it must be at least 0", "rate": "it must be from 0 to 1"}[name]
        )
    return np.ascontiguousarray(plan.reshape(-1, *bars.shape))
