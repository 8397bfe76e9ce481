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

from typing import NamedTuple

import numpy as np
from numba import njit

from markets.accounting.market import GONE, OPEN, OUTLAY, POST_FEE, Market, Rules

# Without numba's reference counts (_nrt), which cost ten times what the arithmetic does for a single symbol: nothing here
# may allocate, callers own all arrays. Division by zero gives inf, as in numpy.
_kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
_inlined = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, inline="always")

# Rows of the workspace: what a fill found and did, kept for the adjoint; then what the adjoint alone needs.
VALUE, CURRENT, WANTED, TARGET, ORDER, FREE, HEAP, ZERO, ONE = range(9)
G_TARGET, G_CURRENT, G_VALUE, HELD, G_SHARES, UNUSED = range(9, 15)
# Holdings drift over a limit by rounding; trading on that would be noise.
TOLERANCE = 1e-9
# A change of weight below this is rounding, not an order: it must not be charged a fixed fee.
DUST = 1e-12


class PlanRows(NamedTuple):
    """A plan as arrays: (A,) of one decision, or (B, T, A) of B paths, where `band` and `rate` may have size 0."""

    aim: np.ndarray
    band: np.ndarray
    rate: np.ndarray


class Records(NamedTuple):
    """What `path_kernel` writes: see `markets.accounting.simulate.Paths`."""

    cash: np.ndarray
    shares: np.ndarray
    equity: np.ndarray
    cost: np.ndarray
    traded: np.ndarray
    orders: np.ndarray
    filled: np.ndarray


class BarEnd(NamedTuple):
    """The account at the end of a bar, and what was done in it."""

    cash: float
    equity: float
    cost: float
    traded: float
    limited: bool  # whether the plan was beyond the limits
    filled: bool  # whether there was a fill: not in an account that is closed, or ruined by the gap


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


def workspace(symbols: int) -> np.ndarray:
    """An array for a kernel to work in, one per thread."""
    work = np.zeros((UNUSED + 1, symbols))
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
def _targets(market, t, equity, plan, rules, work):
    """Weights wanted after band, rate and limits, into `work`; returns (scale, by_net, pace, whether a limit was hit)."""
    n, state = plan.aim.size, market.open
    gross, net, stuck_gross, stuck_net, change = 0.0, 0.0, 0.0, 0.0, 0.0
    inverse, limited = 1.0 / equity, False
    for i in range(n):
        c = work[VALUE, i] * inverse
        work[CURRENT, i] = c
        w = c
        if state[t, i] == OPEN:
            edged = _edged(c, plan.aim[i], plan.band[i], plan.rate[i])
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
        headroom = max((side * rules.net - stuck_net) / net, 0.0) if net != 0 else 1.0
        if headroom < scale:
            scale, by_net = headroom, True
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
def _fill(market, t, cash, shares, plan, rules, work):
    """Trade `shares` (in place) towards the plan; returns (cash, Notes). Nothing is done with equity below zero."""
    n, price, impact = shares.size, market.fill, market.impact
    equity = cash
    for i in range(n):
        work[VALUE, i] = shares[i] * price[t, i]
        equity += work[VALUE, i]
    if equity <= 0:
        return cash, Notes(equity, equity, 1.0, False, 1.0, -1, 0.0, 0.0, False)
    scale, by_net, pace, limited = _targets(market, t, equity, plan, rules, work)
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
def _advance(market, t, cash, equity, shares, plan, rules, work):
    """One bar from row t, towards the row `plan` of a plan; `shares` change in place. Returns a `BarEnd`."""
    if equity <= 0:  # closed: ruin is final
        return BarEnd(cash, equity, 0.0, 0.0, False, False)
    called = rules.maintenance > 0 and _called(market, t, equity, shares, rules)
    if rules.lagged:
        cash = _accrue(market, t, cash, shares, rules)
    if rules.delistings:
        for i in range(shares.size):
            if market.open[t, i] == GONE:  # paid out at the last price less the haircut
                cash += shares[i] * market.fill[t, i]
                shares[i] = 0.0
    if called:  # the broker's plan, not ours
        cash, notes = _fill(market, t, cash, shares, PlanRows(work[ZERO], work[ZERO], work[ONE]), rules, work)
    else:
        cash, notes = _fill(market, t, cash, shares, plan, rules, work)
    equity = notes.equity
    filled = equity > 0
    if filled:
        if not rules.lagged:
            cash = _accrue(market, t, cash, shares, rules)
        equity = _value(market.mark, t + 1, cash, shares)
    if equity <= 0:  # at the mark, or by the gap to the fill: closed there, at what it is
        cash = equity
        shares[:] = 0.0
    return BarEnd(cash, equity, notes.cost, notes.traded, notes.limited, filled)


# Rows of the tables that `step_kernel` keeps accounts in: whole numbers, and money.
ROW, END, SCALED = range(3)
CASH, EQUITY, COST, TRADED, BEFORE = range(5)
# Just before ruin a weight has no bound; an observation needs one.
LARGEST_WEIGHT = 100.0


@_kernel
def step_kernel(
    fill, open_, mark, gap, impact, parameters, features, first, last, active, aim, counts, money, shares, seen, work
):
    """Advance each active account of ``first:last`` by a bar, towards its weights ``aim[b]``, and observe all of them.

    A `Market` and `Rules` come as plain arrays: numba looks at each field of a NamedTuple in Python whenever a kernel is
    called, which takes longer than a step does.

    Parameters
    ----------
    fill, open_, mark, gap, impact : see `Market`
    parameters : ndarray of shape (P,)
        `Rules` in order.
    features : ndarray of float32, shape (N, F)
        By row of the panel.
    first, last : int
    active : ndarray of bool, shape (n,)
    aim : ndarray of shape (n, A)
    counts : ndarray of int64, shape (3, n)
        ``ROW`` of the panel, ``END`` of the episode (unused here), and on how many bars an account wanted more than the
        limits allow (``SCALED``).
    money : ndarray of shape (5, n)
        ``CASH``, ``EQUITY``, ``COST`` and ``TRADED`` of the bar, and the equity ``BEFORE`` it.
    shares : ndarray of shape (n, A)
    seen : ndarray of float32, shape (n, F + A)
        Written: the features of the row then reached, and the weights held there.
    work : ndarray
        See `workspace`.

    Returns
    -------
    int
        -1, or the first account whose weights are not all finite; nothing is done then.
    """
    n, width = shares.shape[1], features.shape[1]
    for b in range(first, last):
        if active[b]:
            for i in range(n):
                if not np.isfinite(aim[b, i]):
                    return b
    market = Market(fill, open_, mark, gap, impact)
    _step(market, _unpacked(parameters), first, last, active, aim, counts, money, shares, work)
    for b in range(first, last):
        _observe(features, mark, counts[ROW, b], money[EQUITY, b], shares[b], seen[b], width)
    return -1


@_kernel
def _step(market, rules, first, last, active, aim, counts, money, shares, work):
    """The trading part of `step_kernel`; by itself, since compiled with the rest it takes half as long again."""
    zero, one = work[ZERO], work[ONE]
    for b in range(first, last):
        if active[b]:
            money[BEFORE, b] = money[EQUITY, b]
            row = PlanRows(aim[b], zero, one)
            end = _advance(market, counts[ROW, b], money[CASH, b], money[EQUITY, b], shares[b], row, rules, work)
            money[CASH, b], money[EQUITY, b] = end.cash, end.equity
            money[COST, b], money[TRADED, b] = end.cost, end.traded
            counts[SCALED, b] += end.limited
            counts[ROW, b] += 1


@_kernel
def observe_kernel(features, mark, which, counts, money, shares, seen):
    """What the accounts `which` (k,) see, into `seen` (k, F + A); the rest as for `step_kernel`."""
    for k in range(which.size):
        b = which[k]
        _observe(features, mark, counts[ROW, b], money[EQUITY, b], shares[b], seen[k], features.shape[1])


@_inlined
def _observe(features, mark, row, equity, shares, seen, width):
    for f in range(width):
        seen[f] = features[row, f]
    for i in range(shares.size):
        weight = shares[i] * mark[row, i] / equity if equity > 0 else 0.0
        seen[width + i] = min(max(weight, -LARGEST_WEIGHT), LARGEST_WEIGHT)


@_inlined
def _unpacked(p):
    """`Rules` from `Rules.packed`."""
    return Rules(
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7] != 0, int(p[8]), p[9], p[10] != 0, p[11], p[12], p[13], p[14], p[15],
        p[16], p[17] != 0,
    )  # fmt: skip


@_kernel
def path_kernel(market, rules, start, plan, out, held, work):
    """Fold of `_advance` over time, for each path b from row ``start[b]``.

    Parameters
    ----------
    market, rules : Market, Rules
    start : ndarray of int64, shape (B,)
    plan : PlanRows
    out : Records
        ``cash`` and ``equity`` (B, T) come with their first column set, as does ``shares``, which is (B, T, A), or
        (B, 1, A) to keep only the last. Cost, traded value, orders and fills of the bar from t to t + 1 stand at t + 1;
        ``orders`` and ``filled`` may have size 0.
    held : ndarray of shape (A,)
        To work in, as is `work`.
    """
    paths, bars = plan.aim.shape[:2]
    zero, one = work[ZERO], work[ONE]
    keep, orders = out.shares.shape[1] > 1, out.orders.size > 0
    for b in range(paths):
        _copy(out.shares[b, 0], held)
        for t in range(bars - 1):
            if orders:
                work[ORDER, :] = 0.0  # a fill that is not made writes none
            band = plan.band[b, t] if plan.band.size else zero
            rate = plan.rate[b, t] if plan.rate.size else one
            row = PlanRows(plan.aim[b, t], band, rate)
            end = _advance(market, start[b] + t, out.cash[b, t], out.equity[b, t], held, row, rules, work)
            out.cash[b, t + 1], out.equity[b, t + 1] = end.cash, end.equity
            out.cost[b, t + 1], out.traded[b, t + 1] = end.cost, end.traded
            if orders:
                _copy(work[ORDER], out.orders[b, t + 1])
                out.filled[b, t + 1] = end.filled
            if keep:
                _copy(held, out.shares[b, t + 1])
        if not keep:
            _copy(held, out.shares[b, 0])


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
def _targets_adjoint(market, t, notes, plan, rules, work, g_target, g_current, g_plan):
    """From the gradient of the target weights to those of the plan (`PlanRows`, added to) and of the current weights."""
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
        g, c, rate = g_target[i], work[CURRENT, i], plan.rate[i]
        low, high = plan.aim[i] - plan.band[i], plan.aim[i] + plan.band[i]
        edged = _edged(c, plan.aim[i], plan.band[i], rate)
        if edged < rules.lowest or edged > rules.highest:
            continue
        if c < low:
            g_plan.rate[i] += g * (low - c)
            g_plan.aim[i] += g * rate
            g_plan.band[i] -= g * rate
            g_current[i] += g * (1 - rate)
        elif c > high:
            g_plan.rate[i] += g * (high - c)
            g_plan.aim[i] += g * rate
            g_plan.band[i] += g * rate
            g_current[i] += g * (1 - rate)
        else:
            g_current[i] += g


@_kernel
def _fill_adjoint(market, t, notes, plan, rules, work, g_cash, g_shares, g_plan):
    """Adjoint of `_fill`; turns `g_shares` in place, returns the gradient of the cash before."""
    n, price, impact = g_shares.size, market.fill, market.impact
    g_target, g_current, g_value = work[G_TARGET], work[G_CURRENT], work[G_VALUE]
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
    _targets_adjoint(market, t, notes, plan, rules, work, g_target, g_current, g_plan)
    inverse = 1.0 / notes.equity
    for i in range(n):  # current = value / equity, equity = cash + Σ value
        g_value[i] += g_current[i] * inverse
        g_equity -= g_current[i] * work[CURRENT, i] * inverse
    for i in range(n):
        g_shares[i] += (g_value[i] + g_equity) * price[t, i]
    return g_cash + g_equity


@_kernel
def _advance_adjoint(market, t, cash, equity, shares, plan, rules, work, g_end, g_cash, g_shares, g_plan):
    """Adjoint of `_advance`, which is done again from the state before.

    Parameters
    ----------
    cash, equity : float
    shares : ndarray of shape (A,)
        The state before the bar.
    g_end : float
        Gradient of the equity after.
    g_cash : float
    g_shares : ndarray of shape (A,)
        Of the cash and the shares after; the latter are turned into those before, in place.
    g_plan : PlanRows
        Added to.

    Returns
    -------
    float
        Gradient of the cash before.
    """
    if equity <= 0:  # closed: equity and cash stayed what they were
        return g_cash + g_end
    held = work[HELD]
    _copy(shares, held)
    money = cash
    if rules.lagged:
        money = _accrue(market, t, money, held, rules)
    if rules.delistings:
        for i in range(held.size):
            if market.open[t, i] == GONE:
                money += held[i] * market.fill[t, i]
                held[i] = 0.0
    after, notes = _fill(market, t, money, held, plan, rules, work)
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
        g_cash = _fill_adjoint(market, t, notes, plan, rules, work, g_cash, g_shares, g_plan)
    if rules.delistings:
        for i in range(held.size):
            if market.open[t, i] == GONE:
                g_shares[i] = g_cash * market.fill[t, i]
    if rules.lagged:
        g_cash = _accrue_adjoint(market, t, cash, shares, rules, g_cash, g_shares)
    return g_cash


@_kernel
def adjoint_kernel(market, rules, start, plan, states, g_equity, g_held, g_plan, work):
    """Gradients of Σ g_equity · equity + Σ g_held · shares in the plan, by one reverse sweep.

    Parameters
    ----------
    market, rules, start, plan
        As for `path_kernel`.
    states : Records
        ``cash``, ``equity`` (B, T) and ``shares`` (B, T, A) that `path_kernel` recorded; each bar is done again from its
        state, so that nothing else need be stored.
    g_equity : ndarray of shape (B, T)
    g_held : ndarray of shape (B, T, A)
        Or of size 0, for all zeros.
    g_plan : PlanRows
        Zeroed, and of the sizes of `plan`; added to.
    work : ndarray
        See `workspace`.
    """
    paths, bars = plan.aim.shape[:2]
    zero, one, unused, g_shares = work[ZERO], work[ONE], work[UNUSED], work[G_SHARES]
    for b in range(paths):
        g_cash = 0.0
        g_shares[:] = 0.0
        for t in range(bars - 2, -1, -1):
            row = start[b] + t
            if g_held.size:
                for i in range(g_shares.size):
                    g_shares[i] += g_held[b, t + 1, i]
            cash, equity, shares = states.cash[b, t], states.equity[b, t], states.shares[b, t]
            ours = PlanRows(
                plan.aim[b, t],
                plan.band[b, t] if plan.band.size else zero,
                plan.rate[b, t] if plan.rate.size else one,
            )
            g_ours = PlanRows(
                g_plan.aim[b, t],
                g_plan.band[b, t] if g_plan.band.size else unused,
                g_plan.rate[b, t] if g_plan.rate.size else unused,
            )
            if rules.maintenance > 0 and _called(market, row, equity, shares, rules):  # the broker's plan, not ours
                ours, g_ours = PlanRows(zero, zero, one), PlanRows(unused, unused, unused)
            g_cash = _advance_adjoint(
                market, row, cash, equity, shares, ours, rules, work, g_equity[b, t + 1], g_cash, g_shares, g_ours
            )
