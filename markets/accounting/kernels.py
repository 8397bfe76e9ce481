"""The account's numba kernels: `step`, `simulate` and their adjoint, all built on the same update.

One bar, from the decision at row t to the mark at row t + 1 (``_advance``; `markets.accounting.costs` lists the order of
events). For each symbol i, in the notation of the code::

    V   = cash + Σ q_i p_i                        equity at the fill price
    c_i = q_i p_i / V                             current weight
    w_i = c_i + rate_i (clip(c_i, aim_i ± band_i) − c_i), then limits
    d_i = w_i U − q_i p_i                         order, in money; U = V, or equity after costs (post_fee)
    q_i ← q_i + d_i / p_i,   cash ← cash − Σ (d_i + cost(d_i))
    cost(d) = k |d| + fixed + impact |d|^1.5 + quadratic d² / V      k is that of a buy or of a sell (`_sides`)

Limits and cash change the orders; `_targets` and `_cut_alike` state how. A stop-loss or take-profit closes a position inside a
bar, before or after the fill (`_stop`). The cost has a kink at d = 0. The adjoint takes the
mean of the slopes of a buy and of a sell there, as central differences would: a plan that asks for exactly what is held
must be able to learn, and the slope of one side would pull it to the other. At an edge of a no-trade zone it takes the
slope of the side that trades; that of the other side is zero.

All kernels are in this one module because numba's cache does not notice a changed callee in another file. They release
the GIL, so callers may run paths in threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from markets.accounting.market import GONE, OPEN, OUTLAY, POST_FEE, Market, Rules
from markets.accounting.stops import STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, Ranges

# Compiled without numba's reference counting (_nrt), which costs ten times as much as the arithmetic of a single symbol.
# So no kernel may allocate; callers own all arrays. Division by zero gives inf, as in numpy.
_kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
_inlined = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, inline="always")

# Rows of the workspace. First: inputs and results of a fill, which the adjoint reads. Second: used by the adjoint only.
VALUE, CURRENT, WANTED, TARGET, MOVES, FREE, ORDER, COVER, HEAP, ZERO, ONE = range(11)
G_TARGET, G_CURRENT, G_VALUE, HELD, G_SHARES, UNUSED = range(11, 17)
# Rows of the state of a plan's stops. First the plan's row; then what is remembered of each position; then the holdings before
# the fill, and the stops of the bar before and after it.
LOSS, GAIN, TRAIL, COOLDOWN, AIM, ENTRY, BEST, OUT, PRIOR, PRICE, PRICE_AFTER, KIND, KIND_AFTER = range(13)
# Rounding can put holdings slightly over a limit; that must not cause a trade. A price reaches a level within it.
TOLERANCE = 1e-9
# A change of weight below this is rounding, not an order, and must not be charged a fixed fee.
DUST = 1e-12


class PlanRows(NamedTuple):
    """A plan as arrays: (A,) for one decision, or (B, T, A) for B paths, where `band` and `rate` may have size 0."""

    aim: np.ndarray
    band: np.ndarray
    rate: np.ndarray


class Records(NamedTuple):
    """Output arrays of `path_kernel`; see `markets.accounting.simulate.Paths`."""

    cash: np.ndarray
    shares: np.ndarray
    equity: np.ndarray
    cost: np.ndarray
    traded: np.ndarray
    orders: np.ndarray
    filled: np.ndarray
    scaled: np.ndarray
    afforded: np.ndarray
    stop_price: np.ndarray
    stop_kind: np.ndarray


class BarEnd(NamedTuple):
    """The account at the end of a bar, with the cost and traded value of that bar."""

    cash: float
    equity: float
    cost: float
    traded: float
    limited: bool  # whether the plan exceeded the limits
    filled: bool  # whether there was a fill: false for an account that is closed, or ruined by the gap to the fill
    scaled: float  # gross weight that the limits left, as a fraction of the plan's; 1 if they left all
    afforded: float  # gross weight that the cash allowed, as a fraction of what the limits left


class Charge(NamedTuple):
    """What an order in one symbol at one bar costs, as the coefficients of `_cost`."""

    buy: float
    sell: float
    fixed: float
    impact: float
    quadratic: float  # over equity


class Limits(NamedTuple):
    """What the limits of `_targets` did to the plan's weights."""

    scale: float  # factor on the weights, so that the plan itself keeps to the gross and net limits
    by_net: bool  # whether the net limit was the binding one
    gross: float  # fraction made of the orders that add to the gross weight
    net: float  # fraction made of the orders that add to the net weight
    side: float  # sign of the net weight that is limited
    pace: float  # fraction made of all orders, from the turnover limit
    hit: bool  # whether the plan exceeded any limit
    left: float  # gross weight that they left, as a fraction of the plan's


class Notes(NamedTuple):
    """Scalars of one fill, read by the adjoint."""

    equity: float  # V
    base: float  # U
    limits: Limits
    share: float  # fraction of the buys that the cash allowed, when all are cut alike
    covering: bool  # whether the cash did not even allow all covers of short positions
    cut: int  # symbol whose buy took the last cash, when the smallest buys come first; or -1
    cost: float
    traded: float
    afforded: float  # as in `BarEnd`


# ---------------------------------------------------------------------------------------------------- forward


def workspace(symbols: int) -> np.ndarray:
    """Scratch array for a kernel; each thread needs its own."""
    work = np.zeros((UNUSED + 1, symbols))
    work[ONE] = 1.0
    return work


def stop_state(symbols: int) -> np.ndarray:
    """State of the stops of one account; each thread needs its own."""
    return np.zeros((KIND_AFTER + 1, symbols))


@_inlined
def _sides(market, t, i, rules):
    """Proportional cost of a buy and of a sell of symbol i, with the spread of row t."""
    if market.spread.size == 0:
        return rules.buy, rules.sell
    half = market.spread[t, i] / 2
    return (1 + half) * rules.buy_fee - 1, 1 - (1 - half) * rules.sell_fee


@_inlined
def _charge(market, t, i, quadratic, rules):
    """The `Charge` of symbol i at row t; `quadratic` is ``rules.quadratic / V``."""
    buy, sell = _sides(market, t, i, rules)
    return Charge(buy, sell, rules.fixed, market.impact[t, i] if market.impact.size else 0.0, quadratic)


@_inlined
def _cost(order, charge):
    """Cost in money of one order of value `order` (signed, at the fill price)."""
    size = abs(order)
    cost = (charge.buy if order > 0 else charge.sell) * size + charge.fixed
    if charge.impact > 0:
        cost += charge.impact * size * np.sqrt(size)
    return cost + charge.quadratic * size * size


@_inlined
def _cost_slope(order, charge):
    """Derivative of `_cost` with respect to the signed order; at 0 the mean of that of a buy and that of a sell."""
    if order == 0:
        return 0.5 * (charge.buy - charge.sell)
    slope = charge.buy if order > 0 else charge.sell
    if charge.impact > 0:
        slope += 1.5 * charge.impact * np.sqrt(abs(order))
    slope += 2 * charge.quadratic * abs(order)
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
def _targets(market, t, equity, plan, forced, rules, work):
    """Write target weights after band, rate and limits to `work`; returns `Limits`.

    Limits bind the plan's orders. What it leaves alone, inside a no-trade zone or at a rate of 0, keeps its weight even if
    prices carried it over a limit, as an untradable symbol does. The other weights are scaled until they keep to the limits
    by themselves. If the account exceeds a limit with what is kept, orders that add to the excess are cut alike, if need
    be to nothing. They do not bind a margin call (`forced`).
    """
    n, state = plan.aim.size, market.open
    gross, net, kept_gross, kept_net, change, planned = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    inverse, hit = 1.0 / equity, False
    for i in range(n):
        c = work[VALUE, i] * inverse
        w, moves, free = c, 0.0, 0.0
        if state[t, i] == OPEN:
            aim, band = plan.aim[i], plan.band[i]
            free = 0.0 if aim - band < c and c < aim + band else 1.0
            w = _edged(c, aim, band, plan.rate[i])
            moves = 1.0 if abs(w - c) > DUST else 0.0
        if moves != 0:
            planned += abs(w)
            edged = w
            w = _clipped(edged, rules.lowest, rules.highest)
            hit |= w != edged
            gross += abs(w)
            net += w
            change += abs(w - c)
        else:
            w = c
            kept_gross += abs(c)
            kept_net += c
        work[CURRENT, i] = c
        work[WANTED, i] = w
        work[TARGET, i] = w
        work[MOVES, i] = moves
        work[FREE, i] = free
    scale, by_net, by_gross_share, by_net_share, side, pace = 1.0, False, 1.0, 1.0, 1.0, 1.0
    if gross > rules.gross * (1 + TOLERANCE):
        scale = rules.gross / gross
    if scale * abs(net) > rules.net * (1 + TOLERANCE):
        scale, by_net = rules.net / abs(net), True
    if scale < 1:
        for i in range(n):
            if work[MOVES, i] != 0:
                work[TARGET, i] = work[WANTED, i] * scale
    if scale * gross + kept_gross > rules.gross * (1 + TOLERANCE):
        by_gross_share = _cut_increases(rules.gross, 0.0, work)
    if rules.net < np.inf and not forced and abs(_net(work)) > rules.net * (1 + TOLERANCE):
        side = 1.0 if _net(work) > 0 else -1.0
        by_net_share = _cut_increases(rules.net, side, work)
    if scale < 1 or by_gross_share < 1 or by_net_share < 1:
        hit, change = True, 0.0
        for i in range(n):
            change += abs(work[TARGET, i] - work[CURRENT, i])
    if change > rules.turnover * (1 + TOLERANCE):
        hit, pace = True, rules.turnover / change
        for i in range(n):
            if work[MOVES, i] != 0:
                work[TARGET, i] = work[CURRENT, i] + pace * (work[TARGET, i] - work[CURRENT, i])
    left = 1.0
    if hit and planned + kept_gross > 0:
        left = 0.0
        for i in range(n):
            left += abs(work[TARGET, i]) / (planned + kept_gross)
    return Limits(scale, by_net, by_gross_share, by_net_share, side, pace, hit, left)


@_inlined
def _net(work):
    net = 0.0
    for i in range(work.shape[1]):
        net += work[TARGET, i]
    return net


@_inlined
def _size(weight, side):
    """What a weight adds to the gross weight (`side` is 0), or to the net weight on one `side`."""
    return abs(weight) if side == 0 else side * weight


@_inlined
def _part_way(before, after, share, side):
    """The weight on the side of `after` whose `_size` is the fraction `share` of the way from that of `before`."""
    sign = side if side != 0 else np.sign(after)
    return sign * (_size(before, side) + share * (_size(after, side) - _size(before, side)))


@_kernel
def _cut_increases(limit, side, work):
    """Cut the orders that add to the total `_size` of the account by one fraction, to keep it within `limit`.

    Returns the fraction: (limit − Σ size of all, without these orders) / Σ size that they add, or 0 if that is negative.
    """
    headroom, added = limit, 0.0
    for i in range(work.shape[1]):
        before, after = _size(work[CURRENT, i], side), _size(work[TARGET, i], side)
        headroom -= min(before, after)
        added += max(after - before, 0.0)
    share = _clipped(headroom / added, 0.0, 1.0) if added > 0 else 1.0
    for i in range(work.shape[1]):
        if _size(work[TARGET, i], side) > _size(work[CURRENT, i], side):
            work[TARGET, i] = _part_way(work[CURRENT, i], work[TARGET, i], share, side)
    return share


@_inlined
def _edged(c, aim, band, rate):
    """Weight after moving the fraction `rate` of the way to the nearest edge of the no-trade zone."""
    # no branches: the direction of a trade is unpredictable, and a branch misprediction costs more than the arithmetic
    return c + rate * (_clipped(c, aim - band, aim + band) - c)


@_inlined
def _clipped(x, low, high):
    """min(max(x, low), high), without numba's slow handling of NaN."""
    x = low if x < low else x
    return high if x > high else x


@_inlined
def _sized(work, i):
    """Whether symbol i has an order; a smaller change of weight is rounding."""
    return abs(work[TARGET, i] - work[CURRENT, i]) > DUST


@_kernel
def _equity_after_costs(market, t, equity, rules, work):
    """U of ``post_fee``: the largest root of U + Σ cost(w_i U − q_i p_i) = V; 0 if costs exceed the equity.

    A sell that would raise less than its own cost is not made, so it has no part in the sum: neither one that does not pay
    at U = V, nor one that does not pay at the root of the others.
    """
    _drop_unpaid_sells(market, t, equity, equity, rules, work)
    base = _root_after_costs(market, t, equity, rules, work)
    while _drop_unpaid_sells(market, t, base, equity, rules, work):
        base = _root_after_costs(market, t, equity, rules, work)
    return base


@_kernel
def _drop_unpaid_sells(market, t, base, equity, rules, work):
    """Take the sells that would raise less than their own cost out of the targets; returns whether there were any."""
    dropped, quadratic = False, rules.quadratic / equity
    for i in range(work.shape[1]):
        if base > 0 and _sized(work, i):
            order = work[TARGET, i] * base - work[VALUE, i]
            if order < 0 and order + _cost(order, _charge(market, t, i, quadratic, rules)) >= 0:
                work[TARGET, i], work[FREE, i], dropped = work[CURRENT, i], 0.0, True
    return dropped


@_kernel
def _root_after_costs(market, t, equity, rules, work):
    """The largest root of `_equity_after_costs` for given orders, by Newton's method from U = V.

    The left side is convex in U and at least V at U = V, so the steps descend to the root without overshooting. If the
    slope stops being positive, there is no root.
    """
    base, quadratic = equity, rules.quadratic / equity
    for _ in range(50):
        value, slope = base - equity, 1.0
        for i in range(work.shape[1]):
            if _sized(work, i):
                order = work[TARGET, i] * base - work[VALUE, i]
                charge = _charge(market, t, i, quadratic, rules)
                value += _cost(order, charge)
                slope += _cost_slope(order, charge) * work[TARGET, i]
        if slope <= 0:
            return 0.0
        move = value / slope
        base -= move
        if abs(move) <= 1e-15 * equity:
            break
    return base if base > TOLERANCE * equity else 0.0


@_kernel
def _largest_buy(cash, charge):
    """The buy order whose value plus cost equals `cash`."""
    if cash <= charge.fixed * (1 + TOLERANCE):
        return 0.0
    order = (cash - charge.fixed) / (1 + charge.buy)
    if charge.impact > 0 or charge.quadratic > 0:
        for _ in range(50):
            excess = order + _cost(order, charge) - cash
            move = excess / (1 + _cost_slope(order, charge))
            order -= move
            if abs(move) <= 1e-15 * cash:
                break
    return order


@_kernel
def _outlay_order(change, value, charge):
    """The order whose value plus cost equals `change`, from a holding worth `value`.

    A sell must be larger than `change` to raise it after costs. Where that would go beyond the whole holding, or no sell
    raises so much, the order is `change` itself. (`make_rules` refuses quadratic costs here.)
    """
    if change > 0:
        return _largest_buy(change, charge)
    order = (change - charge.fixed) / (1 - charge.sell)
    if charge.impact > 0:
        for _ in range(50):  # from the smaller sells: what a sell raises is concave in its size, so no step overshoots
            slope = 1 + _cost_slope(order, charge)
            if slope <= 0 or order < -value:
                return change
            move = (order + _cost(order, charge) - change) / slope
            order -= move
            if abs(move) <= 1e-15 * abs(change):
                break
    return change if order < -value else order


@_kernel
def _whole_lots(order, price, shares, lot):
    """The order that leads to whole lots: the position that `order` leads to, rounded towards zero."""
    lots = (shares + order / price) / lot
    # a number of lots within rounding error of a whole number counts as whole
    lots = np.floor(lots + 1e-9) if lots > 0 else np.ceil(lots - 1e-9)
    return (lots * lot - shares) * price


@_inlined
def _moved(shares, order, price, target, lot):
    """Shares after an order, without rounding residue that would be traded later: zero if closed, else whole lots."""
    shares += order / price
    if lot > 0:
        return np.rint(shares / lot) * lot
    return 0.0 if target == 0.0 and abs(shares * price) <= DUST * abs(order) else shares


@_kernel
def _quoted_costs(market, t, sold, bought, rules, work):
    """Proportional costs of all sells and of all buys in row `ORDER`, with the spreads of row t.

    If these spreads are all the same, the totals are charged at once, as they are without quotes: so a constant quote costs
    what the same fixed spread does, to the bit.
    """
    selling, buying, first, same = 0.0, 0.0, -1, True
    for i in range(work.shape[1]):
        order = work[ORDER, i]
        if order != 0:
            first = i if first < 0 else first
            same &= market.spread[t, i] == market.spread[t, first]
            buy, sell = _sides(market, t, i, rules)
            selling -= order * sell if order < 0 else 0.0
            buying += order * buy if order > 0 else 0.0
    if same and first >= 0:
        buy, sell = _sides(market, t, first, rules)
        return sold * sell, bought * buy
    return selling, buying


@_inlined
def _plain_orders(market, t, cash, base, shares, forced, rules, work):
    """Short version of the rest of `_fill`, for proportional costs, unless the order of buys or covers matters.

    Which symbols are sold is unpredictable, and branch mispredictions would cost more than the arithmetic.
    Returns (whether it was done, cash, cost, traded value, share of the buys that the cash allowed).
    """
    sold, bought, covers = 0.0, 0.0, False
    for i in range(shares.size):
        ordered = _sized(work, i) and (base > 0 or work[TARGET, i] == 0)
        order = work[TARGET, i] * base - work[VALUE, i] if ordered else 0.0
        work[ORDER, i] = order
        work[FREE, i] = work[FREE, i] if base > 0 or work[TARGET, i] == 0 else 0.0
        sold -= order if order < 0 else 0.0
        bought += order if order > 0 else 0.0
        covers |= order > 0 and shares[i] < 0
    selling, buying = sold * rules.sell, bought * rules.buy
    if market.spread.size > 0:
        selling, buying = _quoted_costs(market, t, sold, bought, rules, work)
    raised = cash + sold - selling
    after, share = raised - bought - buying, 1.0
    if after < 0 and bought > 0 and not rules.borrowing and not forced:
        if covers or rules.smallest_first:
            return False, cash, 0.0, 0.0, 1.0
        share = max(raised, 0.0) / (bought + buying)
        after = min(raised, 0.0)
        bought, buying = share * bought, share * buying
        for i in range(shares.size):
            work[ORDER, i] *= share if work[ORDER, i] > 0 else 1.0
    for i in range(shares.size):
        if work[ORDER, i] != 0:
            shares[i] = _moved(shares[i], work[ORDER, i], market.fill[t, i], work[TARGET, i], 0.0)
    return True, after, selling + buying, sold + bought, share


@_inlined
def _fill(market, t, cash, shares, plan, forced, rules, work):
    """Trade `shares` (in place) towards the plan; returns (cash, Notes). With equity at or below zero, nothing is traded.

    `forced` orders, those of a margin call, are made whatever they cost, even if cash goes below zero.
    """
    n, price = shares.size, market.fill
    equity = cash
    for i in range(n):
        work[VALUE, i] = shares[i] * price[t, i]
        equity += work[VALUE, i]
    if equity <= 0:
        limits = Limits(1.0, False, 1.0, 1.0, 1.0, 1.0, False, 1.0)
        return cash, Notes(equity, equity, limits, 1.0, False, -1, 0.0, 0.0, 1.0)
    limits = _targets(market, t, equity, plan, forced, rules, work)
    base = equity
    if rules.sizing == POST_FEE and not forced:
        base = _equity_after_costs(market, t, equity, rules, work)

    if rules.fixed == 0 and market.impact.size == 0 and rules.quadratic == 0 and rules.sizing != OUTLAY:
        done, cash, cost, traded, share = _plain_orders(market, t, cash, base, shares, forced, rules, work)
        if done:
            afforded = _afforded(equity, work) if share < 1 else 1.0
            return cash, Notes(equity, base, limits, share, False, -1, cost, traded, afforded)
    cost, traded, wanted, quadratic = 0.0, 0.0, 0.0, rules.quadratic / equity
    for i in range(n):  # sells first
        order, target = 0.0, work[TARGET, i]
        charge = _charge(market, t, i, quadratic, rules)
        # if costs exceed the equity, positions can be closed, but no other weight can hold
        if base <= 0 and target != 0:
            work[FREE, i] = 0.0
        elif _sized(work, i):
            order = target * base - work[VALUE, i]
            if rules.sizing == OUTLAY and target != 0.0:
                order = _outlay_order(order, work[VALUE, i], charge)
                if rules.lot > 0:
                    order = _whole_lots(order, price[t, i], shares[i], rules.lot)
        paid = _cost(order, charge)
        if order < 0 and order + paid >= 0 and not forced:  # a sell that raises less than its own cost is not made
            order = 0.0
            work[FREE, i] = 0.0
        work[ORDER, i] = order
        if order > 0:
            wanted += order + paid
        elif order < 0:
            cash -= order + paid
            cost += paid
            traded -= order
            shares[i] = _moved(shares[i], order, price[t, i], target, rules.lot)
    share, covering, cut, afforded = 1.0, False, -1, 1.0
    if wanted > cash and not rules.borrowing and not forced:
        if rules.smallest_first or rules.lot > 0:
            cut = _cut_largest(market, t, cash, shares, quadratic, rules, work)
        else:
            share, covering = _cut_alike(market, t, cash, quadratic, rules, work)
        afforded = _afforded(equity, work)
    if wanted > 0:
        for i in range(n):
            order = work[ORDER, i]
            if order > 0:
                paid = _cost(order, _charge(market, t, i, quadratic, rules))
                cash -= order + paid
                cost += paid
                traded += order
                shares[i] = _moved(shares[i], order, price[t, i], work[TARGET, i], rules.lot)
    if cut >= 0 or 0 < share < 1:
        cash = 0.0  # removes the rounding error
    return cash, Notes(equity, base, limits, share, covering, cut, cost, traded, afforded)


@_kernel
def _afforded(equity, work):
    """Gross weight that the orders lead to, as a fraction of that of the targets."""
    reached, wanted = 0.0, 0.0
    for i in range(work.shape[1]):
        reached += abs(work[VALUE, i] + work[ORDER, i]) / equity
        wanted += abs(work[TARGET, i])
    return reached / wanted if wanted > 0 else 1.0


@_kernel
def _cut_alike(market, t, cash, quadratic, rules, work):
    """Cut buys to the available cash, all by the same fraction; returns (share f, whether only covers are bought).

    A buy b_i consists of a cover c_i, up to the value of a short position, and of the rest. Covers come first: if the cash
    does not allow them all, the orders are f c_i, else c_i + f (b_i − c_i). In both cases f is the root of
    Σ order_i + cost(order_i) = cash, or 0 if the fixed fees alone exceed the cash.
    """
    need = 0.0
    for i in range(work.shape[1]):
        cover = max(min(work[ORDER, i], -work[VALUE, i]), 0.0)
        work[COVER, i] = cover
        if cover > 0:
            need += cover + _cost(cover, _charge(market, t, i, quadratic, rules))
    covering, share = need > cash, 1.0
    for _ in range(50):  # Newton's method, from above: the left side is convex in f
        need, slope = 0.0, 0.0
        for i in range(work.shape[1]):
            if work[ORDER, i] > 0:
                first = 0.0 if covering else work[COVER, i]
                rest = (work[COVER, i] if covering else work[ORDER, i]) - first
                order = first + share * rest
                if order > 0:
                    charge = _charge(market, t, i, quadratic, rules)
                    need += order + _cost(order, charge)
                    slope += rest * (1 + _cost_slope(order, charge))
        move = (need - cash) / slope
        share -= move
        if share <= 0 or abs(move) <= 1e-15:
            break
    share = share if share > TOLERANCE else 0.0
    for i in range(work.shape[1]):
        if work[ORDER, i] > 0:
            first = 0.0 if covering else work[COVER, i]
            work[ORDER, i] = first + share * ((work[COVER, i] if covering else work[ORDER, i]) - first)
    return share, covering


@_inlined
def _comes_later(work, a, b):
    """Whether buy `a` comes after buy `b`: covers first, then by size; between equal buys, by symbol."""
    if work[COVER, a] != work[COVER, b]:
        return work[COVER, a] < work[COVER, b]
    return work[ORDER, a] > work[ORDER, b] or (work[ORDER, a] == work[ORDER, b] and a > b)


@_kernel
def _sift(work, top, size):
    """Sift the element at `top` down in the heap of symbols (smallest buy first) in row `HEAP`."""
    while 2 * top + 1 < size:
        child = 2 * top + 1
        if child + 1 < size and _comes_later(work, int(work[HEAP, child]), int(work[HEAP, child + 1])):
            child += 1
        if not _comes_later(work, int(work[HEAP, top]), int(work[HEAP, child])):
            break
        work[HEAP, top], work[HEAP, child] = work[HEAP, child], work[HEAP, top]
        top = child


@_kernel
def _cut_largest(market, t, cash, shares, quadratic, rules, work):
    """Cut buys to the available cash: fill them from the smallest to the largest until the cash is used up.

    Whole lots are cut so, since they cannot all be cut alike; there, covers of short positions come first.
    Returns the symbol whose buy was cut to the remaining cash, or -1 if there is none. (A heap, since sorting would
    allocate.)
    """
    cut, size, price = -1, 0, market.fill
    for i in range(work.shape[1]):
        if work[ORDER, i] > 0:
            work[COVER, i] = 1.0 if shares[i] < 0 and not rules.smallest_first else 0.0
            work[HEAP, size] = i
            size += 1
    for top in range(size // 2 - 1, -1, -1):
        _sift(work, top, size)
    while size > 0:
        i = int(work[HEAP, 0])
        size -= 1
        work[HEAP, 0] = work[HEAP, size]
        _sift(work, 0, size)
        order, charge = work[ORDER, i], _charge(market, t, i, quadratic, rules)
        if order + _cost(order, charge) > cash:
            work[FREE, i] = 0.0
            order = 0.0 if cut >= 0 else _largest_buy(cash, charge)
            if rules.lot > 0:
                order = np.floor(order / (price[t, i] * rules.lot) + 1e-9) * rules.lot * price[t, i]
            elif order > 0:
                cut = i
            work[ORDER, i] = order
        if order > 0:
            cash -= order + _cost(order, charge)
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
    return equity < rules.maintenance * gross * (1 - TOLERANCE)


@_kernel
def _arm(stops, b, t, aim, state):
    """Read the row of a plan's stops into `state`, and count down how long stopped symbols stay out."""
    for i in range(aim.size):
        state[AIM, i] = aim[i]
        state[LOSS, i] = stops.loss[b, t, i] if stops.loss.size else np.inf
        state[GAIN, i] = stops.gain[b, t, i] if stops.gain.size else np.inf
        state[TRAIL, i] = stops.trail[b, t, i] if stops.trail.size else np.inf
        state[COOLDOWN, i] = stops.cooldown[b, t, i] if stops.cooldown.size else np.inf
        left = abs(state[OUT, i]) - 1
        state[OUT, i] = left * np.sign(state[OUT, i]) if left >= 1 else 0.0
        state[PRICE, i] = state[PRICE_AFTER, i] = state[KIND, i] = state[KIND_AFTER, i] = 0.0


@_inlined
def _reached(side, stop, trail, take, low, high):
    """Which order a price range from `low` to `high` fills, and at what price: (0, 0.0) if none; the worst comes first."""
    level = max(side * stop, side * trail) * side
    worst, best = (low, high) if side > 0 else (high, low)
    if side * worst <= side * level * (1 + side * TOLERANCE):
        return STOP_LOSS if level == stop else TRAILING_STOP, _clipped(level, low, high)
    if side * best >= side * take * (1 - side * TOLERANCE):
        return TAKE_PROFIT, _clipped(take, low, high)
    return 0, 0.0


@_kernel
def _stop(market, t, cash, equity, shares, low, high, ranging, after, rules, state):
    """Close the positions whose stop or take prices from `low` to `high` of bar t + 1 reach; returns (cash, cost, traded value).

    These are the open, or the bar's range (`ranging`), which moves the trailing stops of what is kept. Costs are those of any
    order, with V the equity at bar t, and the spread of bar t + 1.
    """
    cost, traded, quadratic, at = 0.0, 0.0, rules.quadratic / equity, t if rules.lagged else t + 1
    for i in range(shares.size):
        if shares[i] == 0:
            continue
        side = 1.0 if shares[i] > 0 else -1.0
        entry, peak = state[ENTRY, i], state[BEST, i]
        stop, take = entry * (1 - side * state[LOSS, i]), entry * (1 + side * state[GAIN, i])
        trail = peak * (1 - side * state[TRAIL, i])
        kind, price = _reached(side, stop, trail, take, low[t + 1, i], high[t + 1, i])
        best = high[t + 1, i] if side > 0 else low[t + 1, i]
        if ranging and side * best > side * peak:  # only now: within a bar, the worst is taken to come first
            state[BEST, i] = best
        if kind == 0:
            continue
        order = -shares[i] * price
        buy, sell = _sides(market, at, i, rules)
        impact = market.impact[t, i] if market.impact.size else 0.0
        paid = _cost(order, Charge(buy, sell, rules.fixed, impact, quadratic))
        if order < 0 and order + paid >= 0:  # a sell that raises less than its own cost is not made
            continue
        cash -= order + paid
        cost += paid
        traded += abs(order)
        shares[i] = 0.0
        state[OUT, i] = side * (state[COOLDOWN, i] + 1)
        state[PRICE + after, i], state[KIND + after, i] = price, kind
    return cash, cost, traded


@_kernel
def _look(market, ranges, t, cash, equity, shares, opening, ranging, after, rules, state):
    """`_stop` at the open of bar t + 1, in its range, or both in this order."""
    cost, traded = 0.0, 0.0
    for look in range(2):  # one call for both, which is compiled once
        if (look == 0 and opening) or (look == 1 and ranging):
            low, high = (ranges.open, ranges.open) if look == 0 else (ranges.low, ranges.high)
            cash, paid, value = _stop(market, t, cash, equity, shares, low, high, look == 1, after, rules, state)
            cost, traded = cost + paid, traded + value
    return cash, cost, traded


@_kernel
def _stops_before_fill(market, ranges, t, cash, equity, shares, rules, state):
    """Stops that are reached before the fill; a symbol that stays out has an aim of 0 in it. Returns as `_stop`."""
    cost, traded = 0.0, 0.0
    if rules.lagged:
        cash, cost, traded = _look(market, ranges, t, cash, equity, shares, True, ranges.closing, 0, rules, state)
    for i in range(shares.size):
        if state[AIM, i] * state[OUT, i] > 0:
            state[AIM, i] = 0.0
        else:
            state[OUT, i] = 0.0
        state[PRIOR, i] = shares[i]
    return cash, cost, traded


@_kernel
def _stops_after_fill(market, ranges, t, cash, equity, shares, rules, state):
    """Average entry prices after the fill, then the stops that are reached after it. Returns as `_stop`."""
    for i in range(shares.size):
        before, now, price = state[PRIOR, i], shares[i], market.fill[t, i]
        if before * now <= 0:  # closed, opened, or turned
            state[ENTRY, i] = state[BEST, i] = price
        elif abs(now) > abs(before):
            state[ENTRY, i] += (price - state[ENTRY, i]) * (1 - before / now)
    opening, ranging = not rules.lagged, not ranges.closing
    return _look(market, ranges, t, cash, equity, shares, opening, ranging, 1, rules, state)


@_inlined
def _advance(market, ranges, t, cash, equity, shares, plan, rules, state, work):
    """Advance one bar from row t, trading towards the plan's row `plan`; changes `shares` in place. Returns a `BarEnd`.

    `state` holds the plan's stops (`stop_state`); without any it has size 0.
    """
    if equity <= 0:  # closed for good
        return BarEnd(cash, equity, 0.0, 0.0, False, False, 1.0, 1.0)
    called = rules.maintenance > 0 and _called(market, t, equity, shares, rules)
    if rules.lagged:
        cash = _accrue(market, t, cash, shares, rules)
    if rules.delistings:
        for i in range(shares.size):
            if market.open[t, i] == GONE:  # delisted: paid out at the last price less the haircut
                cash += shares[i] * market.fill[t, i]
                shares[i] = 0.0
    before, stopping, stop_cost, stopped = equity, state.size > 0, 0.0, 0.0
    if stopping:
        cash, stop_cost, stopped = _stops_before_fill(market, ranges, t, cash, before, shares, rules, state)
    if called:  # margin call: liquidate instead of following the plan
        cash, notes = _fill(market, t, cash, shares, PlanRows(work[ZERO], work[ZERO], work[ONE]), True, rules, work)
    else:
        cash, notes = _fill(market, t, cash, shares, plan, False, rules, work)
    equity = notes.equity
    filled = equity > 0
    if filled:
        if not rules.lagged:
            cash = _accrue(market, t, cash, shares, rules)
        if stopping:
            cash, later_cost, later = _stops_after_fill(market, ranges, t, cash, before, shares, rules, state)
            stop_cost, stopped = stop_cost + later_cost, stopped + later
        equity = _value(market.mark, t + 1, cash, shares)
    if equity <= 0:  # ruined at the mark or by the gap to the fill: the account closes with this equity
        cash = equity
        shares[:] = 0.0
    cost, traded = notes.cost + stop_cost, notes.traded + stopped
    return BarEnd(cash, equity, cost, traded, notes.limits.hit, filled, notes.limits.left, notes.afforded)


# Rows of the two tables of accounts of `step_kernel`: integers (first line) and money (second line).
ROW, END, SCALED = range(3)
CASH, EQUITY, COST, TRADED, BEFORE = range(5)
# Just before ruin, weights are unbounded; observations must be bounded.
LARGEST_WEIGHT = 100.0


@_kernel
def step_kernel(
    fill,
    open_,
    mark,
    gap,
    impact,
    spread,
    parameters,
    features,
    first,
    last,
    active,
    aim,
    counts,
    money,
    shares,
    seen,
    work,
):
    """Advance each active account in ``first:last`` by one bar towards its weights ``aim[b]``, then observe all of them.

    `Market` and `Rules` are passed as plain arrays: numba unpacks each field of a NamedTuple in Python on every call,
    which takes longer than the step itself.

    Parameters
    ----------
    fill, open_, mark, gap, impact, spread : see `Market`
    parameters : ndarray of shape (P,)
        The fields of `Rules`, in order.
    features : ndarray of float32, shape (N, F)
        Features of each row of the panel.
    first, last : int
        Range of accounts to process.
    active : ndarray of bool, shape (n,)
    aim : ndarray of shape (n, A)
    counts : ndarray of int64, shape (3, n)
        ``ROW`` of the panel, ``END`` of the episode (unused here), and number of bars on which the plan exceeded the
        limits (``SCALED``).
    money : ndarray of shape (5, n)
        ``CASH``, ``EQUITY``, ``COST`` and ``TRADED`` of the bar, and the equity ``BEFORE`` it.
    shares : ndarray of shape (n, A)
    seen : ndarray of float32, shape (n, F + A)
        Output: features of the row reached and the weights held there.
    work : ndarray
        See `workspace`.

    Returns
    -------
    int
        -1, or the first account whose weights are not all finite; in that case nothing is changed.
    """
    n, width = shares.shape[1], features.shape[1]
    for b in range(first, last):
        if active[b]:
            for i in range(n):
                if not np.isfinite(aim[b, i]):
                    return b
    market = Market(fill, open_, mark, gap, impact, spread)
    _step(market, _unpacked(parameters), first, last, active, aim, counts, money, shares, work)
    for b in range(first, last):
        _observe(features, mark, counts[ROW, b], money[EQUITY, b], shares[b], seen[b], width)
    return -1


@_kernel
def _step(market, rules, first, last, active, aim, counts, money, shares, work):
    """The trading part of `step_kernel`; a separate function, since inlined into it the code runs 1.5 times as long."""
    zero, one, none = work[ZERO], work[ONE], work[:0]
    unused = Ranges(none, none, none, False)
    for b in range(first, last):
        if active[b]:
            money[BEFORE, b] = money[EQUITY, b]
            row, cash, equity = PlanRows(aim[b], zero, one), money[CASH, b], money[EQUITY, b]
            end = _advance(market, unused, counts[ROW, b], cash, equity, shares[b], row, rules, none, work)
            money[CASH, b], money[EQUITY, b] = end.cash, end.equity
            money[COST, b], money[TRADED, b] = end.cost, end.traded
            counts[SCALED, b] += end.limited
            counts[ROW, b] += 1


@_kernel
def observe_kernel(features, mark, which, counts, money, shares, seen):
    """Write the observations of the accounts `which` (k,) to `seen` (k, F + A); other parameters as in `step_kernel`."""
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
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9] != 0, int(p[10]), p[11], p[12] != 0, p[13] != 0, p[14],
        p[15], p[16], p[17], p[18], p[19], p[20] != 0,
    )  # fmt: skip


@_kernel
def path_kernel(market, ranges, rules, start, plan, stops, out, held, state, work):
    """Run `_advance` over all bars, for each path b from row ``start[b]``.

    Parameters
    ----------
    market, ranges, rules : Market, Ranges, Rules
        Without stops, the arrays of `ranges` have size 0.
    start : ndarray of int64, shape (B,)
    plan : PlanRows
    stops : Levels
    out : Records
        Output. The caller sets the first column of ``cash`` and ``equity`` (B, T) and of ``shares``, which is (B, T, A), or
        (B, 1, A) to keep only the final holdings. Cost, traded value, orders, fills and stops of the bar from t to t + 1 are
        at index t + 1; these last three may have size 0.
    held : ndarray of shape (A,)
        Scratch array, as is `work`.
    state : ndarray
        See `stop_state`; size 0 without stops.
    """
    paths, bars = plan.aim.shape[:2]
    zero, one = work[ZERO], work[ONE]
    keep, orders, stopping = out.shares.shape[1] > 1, out.orders.size > 0, state.size > 0
    for b in range(paths):
        _copy(out.shares[b, 0], held)
        state[:] = 0.0
        for t in range(bars - 1):
            if orders:
                work[ORDER, :] = 0.0  # a bar without a fill writes no orders
            band = plan.band[b, t] if plan.band.size else zero
            rate = plan.rate[b, t] if plan.rate.size else one
            aim, cash, equity = plan.aim[b, t], out.cash[b, t], out.equity[b, t]
            if stopping:
                _arm(stops, b, t, aim, state)
                aim = state[AIM]
            row = PlanRows(aim, band, rate)
            end = _advance(market, ranges, start[b] + t, cash, equity, held, row, rules, state, work)
            out.cash[b, t + 1], out.equity[b, t + 1] = end.cash, end.equity
            out.cost[b, t + 1], out.traded[b, t + 1] = end.cost, end.traded
            out.scaled[b, t + 1], out.afforded[b, t + 1] = end.scaled, end.afforded
            if orders:
                _copy(work[ORDER], out.orders[b, t + 1])
                out.filled[b, t + 1] = end.filled
            if out.stop_price.size:
                for after in range(2):
                    for i in range(held.size):
                        out.stop_price[b, t + 1, after, i] = state[PRICE + after, i]
                        out.stop_kind[b, t + 1, after, i] = int(state[KIND + after, i])
            if keep:
                _copy(held, out.shares[b, t + 1])
        if not keep:
            _copy(held, out.shares[b, 0])


# ---------------------------------------------------------------------------------------------------- adjoint


@_kernel
def _accrue_adjoint(market, t, cash, shares, rules, g_cash, g_shares):
    """Adjoint of `_accrue`; adds to `g_shares` and returns the gradient with respect to the cash before it."""
    gap = market.gap[t]
    if rules.borrow_rate > 0:
        for i in range(shares.size):
            if shares[i] < 0:
                g_shares[i] += g_cash * market.mark[t, i] * rules.borrow_rate * gap
    return g_cash * (1 + (rules.cash_rate if cash > 0 else rules.financing_rate) * gap)


@_kernel
def _targets_adjoint(limits, plan, rules, work, g_target, g_current, g_plan):
    """Adjoint of `_targets`: from `g_target` to `g_plan` (`PlanRows`, added to) and `g_current`."""
    n = g_target.size
    if limits.pace < 1:  # target = current + pace (before - current), pace = turnover / Σ|before - current|
        pace = limits.pace
        g_pace, change = 0.0, rules.turnover / pace
        for i in range(n):
            if work[MOVES, i] != 0:
                g_pace += g_target[i] * (_limited_weight(limits, work, i, 2) - work[CURRENT, i])
        for i in range(n):
            if work[MOVES, i] != 0:
                side = np.sign(_limited_weight(limits, work, i, 2) - work[CURRENT, i])
                g_move = pace * g_target[i] - g_pace * pace / change * side
                g_current[i] += g_target[i] - g_move
                g_target[i] = g_move
    if limits.net < 1:
        _cut_increases_adjoint(limits, True, work, g_target, g_current)
    if limits.gross < 1:
        _cut_increases_adjoint(limits, False, work, g_target, g_current)
    if limits.scale < 1:  # scaled = scale · wanted, scale = limit / total
        g_scale, total = 0.0, 0.0
        for i in range(n):
            if work[MOVES, i] != 0:
                g_scale += g_target[i] * work[WANTED, i]
                total += work[WANTED, i] if limits.by_net else abs(work[WANTED, i])
        for i in range(n):
            if work[MOVES, i] != 0:
                side = 1.0 if limits.by_net else np.sign(work[WANTED, i])
                g_target[i] = limits.scale * g_target[i] - g_scale * limits.scale / total * side
    for i in range(n):
        if work[FREE, i] == 0 and work[MOVES, i] == 0:
            g_current[i] += g_target[i]
            continue
        g, c, rate = g_target[i], work[CURRENT, i], plan.rate[i]
        low, high = plan.aim[i] - plan.band[i], plan.aim[i] + plan.band[i]
        edged = _edged(c, plan.aim[i], plan.band[i], rate)
        if work[MOVES, i] != 0 and (edged < rules.lowest or edged > rules.highest):
            continue
        if c == low and c == high:  # the plan asks for exactly what is held, and both sides trade
            g_plan.aim[i] += g * rate
            g_current[i] += g * (1 - rate)
        elif c <= low:
            g_plan.rate[i] += g * (low - c)
            g_plan.aim[i] += g * rate
            g_plan.band[i] -= g * rate
            g_current[i] += g * (1 - rate)
        elif c >= high:
            g_plan.rate[i] += g * (high - c)
            g_plan.aim[i] += g * rate
            g_plan.band[i] += g * rate
            g_current[i] += g * (1 - rate)
        else:
            g_current[i] += g


@_inlined
def _limited_weight(limits, work, i, cuts):
    """Target weight of symbol i after the plan was scaled, and after none, one or both of the cuts by gross and net limit."""
    c = work[CURRENT, i]
    weight = work[WANTED, i] * limits.scale if work[MOVES, i] != 0 else c
    if cuts > 0 and abs(weight) > abs(c):
        weight = _part_way(c, weight, limits.gross, 0.0)
    if cuts > 1 and limits.side * weight > limits.side * c:
        weight = _part_way(c, weight, limits.net, limits.side)
    return weight


@_kernel
def _cut_increases_adjoint(limits, net, work, g_target, g_current):
    """Adjoint of `_cut_increases`: target = sign (size before + share (size after - size before)) for orders that add."""
    side, share = (limits.side, limits.net) if net else (0.0, limits.gross)
    g_share, added = 0.0, 0.0
    for i in range(g_target.size):
        c, w = work[CURRENT, i], _limited_weight(limits, work, i, 1 if net else 0)
        if _size(w, side) > _size(c, side):
            sign = side if net else np.sign(w)
            g_share += g_target[i] * sign * (_size(w, side) - _size(c, side))
            added += _size(w, side) - _size(c, side)
    g_headroom = g_share / added if share > 0 else 0.0  # at 0, the share does not depend on the weights
    for i in range(g_target.size):
        c, w = work[CURRENT, i], _limited_weight(limits, work, i, 1 if net else 0)
        slope_c, slope_w = (np.sign(c), np.sign(w)) if side == 0 else (side, side)
        if _size(w, side) > _size(c, side):
            g_current[i] += (1 - share) * slope_c * (g_target[i] * slope_w - g_headroom)
            g_target[i] = share * (g_target[i] - g_headroom * slope_w)
        else:
            g_target[i] -= g_headroom * slope_w


@_inlined
def _marginal(market, t, i, plan, quadratic, rules, work):
    """1 + derivative of the cost of symbol i's order. An order of 0 at an edge of a no-trade zone could only grow inwards."""
    order, charge = work[ORDER, i], _charge(market, t, i, quadratic, rules)
    if order == 0 and plan.band[i] > 0:
        return 1 + charge.buy if work[CURRENT, i] <= plan.aim[i] - plan.band[i] else 1 - charge.sell
    return 1 + _cost_slope(order, charge)


@_inlined
def _wanted(work, notes, i):
    """Symbol i's order before it was cut to the available cash, and the part of it that covers a short position."""
    order = work[TARGET, i] * notes.base - work[VALUE, i] if _sized(work, i) else 0.0
    return order, max(min(order, -work[VALUE, i]), 0.0)


@_kernel
def _fill_adjoint(market, t, notes, plan, rules, work, g_cash, g_shares, g_plan):
    """Adjoint of `_fill`; updates `g_shares` in place and returns the gradient with respect to the cash before it."""
    n, price = g_shares.size, market.fill
    g_target, g_current, g_value = work[G_TARGET], work[G_CURRENT], work[G_VALUE]
    quadratic = rules.quadratic / notes.equity
    if notes.cut >= 0:  # the cut buy took all remaining cash: its size changes by d(cash) / marginal
        i = notes.cut
        g_cash = g_shares[i] / price[t, i] / _marginal(market, t, i, plan, quadratic, rules, work)
    if 0 < notes.share < 1:  # the cut buys took all remaining cash: d(share) = d(cash) / Σ rest · marginal
        g_share, slope = 0.0, 0.0
        for i in range(n):
            if work[ORDER, i] > 0:
                order, cover = _wanted(work, notes, i)
                rest = cover if notes.covering else order - cover
                g_share += rest * g_shares[i] / price[t, i]
                slope += rest * _marginal(market, t, i, plan, quadratic, rules, work)
        g_cash = g_share / slope
    g_base, g_equity = 0.0, 0.0
    for i in range(n):
        g_target[i], g_current[i], g_value[i] = 0.0, 0.0, 0.0
        if work[FREE, i] != 0:  # order = target · base - value
            g_order = g_shares[i] / price[t, i] - g_cash * _marginal(market, t, i, plan, quadratic, rules, work)
            if notes.share < 1:
                order, cover = _wanted(work, notes, i)
                if order > 0:  # share · cover, or cover + share · (order - cover)
                    g_cover = g_order * (notes.share if notes.covering else 1 - notes.share)
                    g_order *= 0.0 if notes.covering else notes.share
                    if cover == order:
                        g_order += g_cover
                    elif cover > 0:  # the whole short position
                        g_value[i] -= g_cover
            g_value[i] -= g_order
            if _sized(work, i):
                g_target[i] = g_order * notes.base
                g_base += g_order * work[TARGET, i]
            else:  # the order is 0, before any cost
                g_target[i] = g_order * notes.equity
                g_equity += g_order * work[TARGET, i]
    if rules.sizing != POST_FEE:
        g_equity += g_base
    if quadratic > 0:  # quadratic costs are over V: more equity lowers them
        for i in range(n):
            g_equity += g_cash * quadratic * work[ORDER, i] * work[ORDER, i] / notes.equity
    if rules.sizing == POST_FEE and notes.base > 0:  # implicit: base + Σ cost(target · base - value) = equity
        slope, spared = 1.0, 0.0
        for i in range(n):
            if _sized(work, i):
                order, _ = _wanted(work, notes, i)
                slope += _cost_slope(order, _charge(market, t, i, quadratic, rules)) * work[TARGET, i]
                spared += quadratic * order * order
        g_root = g_base / slope
        g_equity += g_root * (1 + spared / notes.equity)
        for i in range(n):
            if _sized(work, i):
                order, _ = _wanted(work, notes, i)
                marginal = _cost_slope(order, _charge(market, t, i, quadratic, rules))
                g_target[i] -= g_root * marginal * notes.base
                g_value[i] += g_root * marginal
    _targets_adjoint(notes.limits, plan, rules, work, g_target, g_current, g_plan)
    inverse = 1.0 / notes.equity
    for i in range(n):  # current = value / equity, equity = cash + Σ value
        g_value[i] += g_current[i] * inverse
        g_equity -= g_current[i] * work[CURRENT, i] * inverse
    for i in range(n):
        g_shares[i] += (g_value[i] + g_equity) * price[t, i]
    return g_cash + g_equity


@_kernel
def _advance_adjoint(market, t, cash, equity, shares, plan, forced, rules, work, g_end, g_cash, g_shares, g_plan):
    """Adjoint of `_advance`; recomputes the bar from the state before it.

    Parameters
    ----------
    cash, equity : float
    shares : ndarray of shape (A,)
        The state before the bar.
    forced : bool
        Whether the bar's orders are those of a margin call, and `plan` closes all positions.
    g_end : float
        Gradient with respect to the equity after the bar.
    g_cash : float
        Gradient with respect to the cash after the bar.
    g_shares : ndarray of shape (A,)
        Gradient with respect to the shares after the bar; overwritten with that with respect to the shares before it.
    g_plan : PlanRows
        Added to.

    Returns
    -------
    float
        Gradient with respect to the cash before the bar.
    """
    if equity <= 0:  # closed: cash and equity did not change
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
    after, notes = _fill(market, t, money, held, plan, forced, rules, work)
    if notes.equity <= 0:  # the account closed at the fill
        g_cash += g_end
        for i in range(held.size):
            g_shares[i] = g_cash * market.fill[t, i]
    else:
        accrued = after if rules.lagged else _accrue(market, t, after, held, rules)
        if _value(market.mark, t + 1, accrued, held) <= 0:  # the account closed at the mark
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
    """Gradient of Σ g_equity · equity + Σ g_held · shares with respect to the plan, by one reverse sweep.

    Parameters
    ----------
    market, rules, start, plan
        As for `path_kernel`.
    states : Records
        ``cash``, ``equity`` (B, T) and ``shares`` (B, T, A) as recorded by `path_kernel`. Each bar is recomputed from its
        state, so nothing else needs to be stored.
    g_equity : ndarray of shape (B, T)
    g_held : ndarray of shape (B, T, A)
        Size 0 stands for all zeros.
    g_plan : PlanRows
        Output, of the same shapes as `plan` and set to zero by the caller; gradients are added to it.
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
            called = rules.maintenance > 0 and _called(market, row, equity, shares, rules)
            if called:  # margin call: the plan is ignored
                ours, g_ours = PlanRows(zero, zero, one), PlanRows(unused, unused, unused)
            g_cash = _advance_adjoint(
                market,
                row,
                cash,
                equity,
                shares,
                ours,
                called,
                rules,
                work,
                g_equity[b, t + 1],
                g_cash,
                g_shares,
                g_ours,
            )
