"""The account: one accounting kernel, and its faces `step`, `simulate` and their adjoint.

One bar, from the decision at row t to the mark at row t + 1 (``_advance``; the order of events is told in
`markets.accounting`), in the notation of the code, for symbols i::

    V   = cash + Σ q_i p_i                        equity at the fill price
    c_i = q_i p_i / V                             current weight
    w_i = c_i + rate_i (clip(c_i, aim_i ± band_i) − c_i), then limits
    d_i = w_i U − q_i p_i                         order, in money; U = V, or equity after costs (post_fee)
    q_i ← q_i + d_i / p_i,   cash ← cash − Σ (d_i + cost(d_i))
    cost(d) = k |d| + fixed + impact |d|^1.5      k is `rules.buy` or `rules.sell`

All kernels stand in this one module: numba's cache does not see a change in a callee of another file. They release
the GIL, so callers may run paths in threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from markets.accounting import POST_FEE, WHOLE_LOTS, Costs, Execution, Market, Rules, make_market
from markets.bars import Bars

# Rows of the scratch array: what a fill found and did, kept for the adjoint.
CURRENT, EDGED, CLIPPED, SCALED, TARGET, ORDER, FREE = range(7)
SCRATCH = 7
# Holdings drift over a limit by rounding; trading on that would be noise.
TOLERANCE = 1e-9
# A change of weight below this is rounding, not an order: it must not be charged a fixed fee.
DUST = 1e-12


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


# ---------------------------------------------------------------------------------------------------- forward


@njit(cache=True, nogil=True)
def _cost(order, impact, rules):
    """Money lost to one order of value `order` (signed, at the fill price)."""
    size = abs(order)
    rate = rules.buy if order > 0 else rules.sell
    return rate * size + rules.fixed + impact * size * np.sqrt(size)


@njit(cache=True, nogil=True)
def _cost_slope(order, impact, rules):
    """Derivative of `_cost` in the signed order."""
    slope = rules.buy if order > 0 else rules.sell
    slope += 1.5 * impact * np.sqrt(abs(order))
    return slope if order > 0 else -slope


@njit(cache=True, nogil=True)
def _accrue(cash, shares, mark, gap, rules):
    """Cash after interest, financing and borrow fee over `gap` years."""
    rate = rules.cash_rate if cash > 0 else rules.financing_rate
    cash += cash * rate * gap
    if rules.borrow_rate > 0:
        for i in range(shares.size):
            if shares[i] < 0:
                cash += shares[i] * mark[i] * rules.borrow_rate * gap
    return cash


@njit(cache=True, nogil=True)
def _targets(equity, shares, price, open_, aim, band, rate, rules, work):
    """Weights wanted after band, rate and limits, into `work`; returns (scale, by_net, pace)."""
    n = shares.size
    gross, net, stuck_gross, stuck_net = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        c = shares[i] * price[i] / equity
        work[CURRENT, i] = c
        if not open_[i]:
            stuck_gross += abs(c)
            stuck_net += c
            continue
        w = c
        if c < aim[i] - band[i]:
            w = c + rate[i] * (aim[i] - band[i] - c)
        elif c > aim[i] + band[i]:
            w = c + rate[i] * (aim[i] + band[i] - c)
        work[EDGED, i] = w
        w = min(max(w, rules.lowest), rules.highest)
        work[CLIPPED, i] = w
        gross += abs(w)
        net += w
    scale, by_net = 1.0, False
    if gross + stuck_gross > rules.gross * (1 + TOLERANCE):
        scale = max(rules.gross - stuck_gross, 0.0) / gross if gross > 0 else 1.0
    if abs(scale * net + stuck_net) > rules.net * (1 + TOLERANCE):
        side = 1.0 if scale * net + stuck_net > 0 else -1.0
        room = (side * rules.net - stuck_net) / net if net != 0 else 1.0
        if 0 <= room < scale:
            scale, by_net = room, True
    change = 0.0
    for i in range(n):
        if open_[i]:
            work[SCALED, i] = work[CLIPPED, i] * scale if scale < 1 else work[CLIPPED, i]
            change += abs(work[SCALED, i] - work[CURRENT, i])
    pace = rules.turnover / change if change > rules.turnover * (1 + TOLERANCE) else 1.0
    for i in range(n):
        if not open_[i]:
            work[TARGET, i] = work[CURRENT, i]
        elif pace < 1:
            work[TARGET, i] = work[CURRENT, i] + pace * (work[SCALED, i] - work[CURRENT, i])
        else:
            work[TARGET, i] = work[SCALED, i]
        if abs(work[TARGET, i] - work[CURRENT, i]) <= DUST:
            work[TARGET, i] = work[CURRENT, i]
    return scale, by_net, pace


@njit(cache=True, nogil=True)
def _equity_after_costs(equity, shares, price, open_, impact, rules, work):
    """U of ``post_fee``: the root of U + Σ cost(w_i U − q_i p_i) = V, by Newton (convex in U, so it converges)."""
    base = equity
    for _ in range(50):
        value, slope = base - equity, 1.0
        for i in range(shares.size):
            if open_[i] and work[TARGET, i] != work[CURRENT, i]:
                order = work[TARGET, i] * base - shares[i] * price[i]
                k = impact[i] if impact.size else 0.0
                value += _cost(order, k, rules)
                slope += _cost_slope(order, k, rules) * work[TARGET, i]
        move = value / slope
        base -= move
        if abs(move) <= 1e-15 * equity:
            break
    return base


@njit(cache=True, nogil=True)
def _largest_buy(cash, impact, rules):
    """The order whose value and cost together use up `cash`."""
    if cash <= rules.fixed:
        return 0.0
    order = (cash - rules.fixed) / (1 + rules.buy)
    if impact > 0:
        for _ in range(50):
            move = (order + _cost(order, impact, rules) - cash) / (1 + _cost_slope(order, impact, rules))
            order -= move
            if abs(move) <= 1e-15 * cash:
                break
    return order


@njit(cache=True, nogil=True)
def _moved(shares, order, price, target):
    """Shares after an order; a position that is closed is exactly zero, so that no dust is left to trade."""
    shares += order / price
    return 0.0 if target == 0.0 and abs(shares * price) <= DUST * abs(order) else shares


@njit(cache=True, nogil=True)
def _fill(cash, shares, price, open_, impact, aim, band, rate, rules, work):
    """Trade `shares` (in place) towards the plan at `price`; returns (cash, Notes)."""
    n = shares.size
    equity = cash
    for i in range(n):
        equity += shares[i] * price[i]
    scale, by_net, pace = _targets(equity, shares, price, open_, aim, band, rate, rules, work)
    base = equity
    if rules.sizing == POST_FEE:
        base = _equity_after_costs(equity, shares, price, open_, impact, rules, work)

    cost, traded, wanted = 0.0, 0.0, 0.0
    for i in range(n):  # sells first
        work[ORDER, i] = 0.0
        work[FREE, i] = 0.0
        if not open_[i] or work[TARGET, i] == work[CURRENT, i]:
            continue
        order = work[TARGET, i] * base - shares[i] * price[i]
        if rules.sizing == WHOLE_LOTS:
            order = np.trunc(order / price[i] / rules.lot) * rules.lot * price[i]
        if order == 0.0:
            continue
        work[ORDER, i] = order
        work[FREE, i] = 1.0
        paid = _cost(order, impact[i] if impact.size else 0.0, rules)
        if order > 0:
            wanted += order + paid
        else:
            cash -= order + paid
            cost += paid
            traded -= order
            shares[i] = _moved(shares[i], order, price[i], work[TARGET, i])

    cut = -1
    if wanted <= cash or rules.borrowing:
        for i in range(n):
            if work[ORDER, i] > 0:
                paid = _cost(work[ORDER, i], impact[i] if impact.size else 0.0, rules)
                cash -= work[ORDER, i] + paid
                cost += paid
                traded += work[ORDER, i]
                shares[i] = _moved(shares[i], work[ORDER, i], price[i], work[TARGET, i])
    elif wanted > 0:  # too little cash: from the smallest buy to the largest, until it is used up
        for i in np.argsort(work[ORDER], kind="mergesort"):
            order = work[ORDER, i]
            if order <= 0:
                continue
            k = impact[i] if impact.size else 0.0
            if order + _cost(order, k, rules) > cash:
                work[FREE, i] = 0.0
                order = _largest_buy(cash, k, rules)
                if rules.sizing == WHOLE_LOTS:
                    order = np.floor(order / price[i] / rules.lot) * rules.lot * price[i]
                elif order > 0:
                    cut = i
                work[ORDER, i] = order
            if order > 0:
                paid = _cost(order, k, rules)
                cash = 0.0 if cut == i else cash - order - paid
                cost += paid
                traded += order
                shares[i] = _moved(shares[i], order, price[i], work[TARGET, i])
    return cash, Notes(equity, base, scale, by_net, pace, cut, cost, traded)


@njit(cache=True, nogil=True)
def _value(cash, shares, price):
    for i in range(shares.size):
        cash += shares[i] * price[i]
    return cash


@njit(cache=True, nogil=True)
def _advance(t, cash, shares, market, aim, band, rate, rules, work):
    """One bar; `shares` change in place. Returns (cash, equity at mark t + 1, cost, traded value)."""
    if _value(cash, shares, market.mark[t]) <= 0:  # closed: ruin is final
        return cash, cash, 0.0, 0.0
    if rules.lagged:
        cash = _accrue(cash, shares, market.mark[t], market.gap[t], rules)
    cost, traded = 0.0, 0.0
    if _value(cash, shares, market.fill[t]) > 0:
        impact = market.impact[t] if market.impact.size else market.gap[:0]
        cash, notes = _fill(cash, shares, market.fill[t], market.open[t], impact, aim, band, rate, rules, work)
        cost, traded = notes.cost, notes.traded
        if not rules.lagged:
            cash = _accrue(cash, shares, market.mark[t], market.gap[t], rules)
        equity = _value(cash, shares, market.mark[t + 1])
    else:  # the gap to the fill ruined the account: closed there
        equity = _value(cash, shares, market.fill[t])
    if equity <= 0:
        cash = equity
        shares[:] = 0.0
    return cash, equity, cost, traded


@njit(cache=True, nogil=True)
def step_kernel(market, active, at, aim, cash, shares, equity, cost, traded, rules):
    """Advance each active account b from row ``at[b]`` to the next, towards the weights ``aim[b]``; all in place."""
    n = shares.shape[1]
    work, zero, one = np.empty((SCRATCH, n)), np.zeros(n), np.ones(n)
    for b in range(at.size):
        if active[b]:
            cash[b], equity[b], cost[b], traded[b] = _advance(
                at[b], cash[b], shares[b], market, aim[b], zero, one, rules, work
            )
            at[b] += 1


@njit(cache=True, nogil=True)
def path_kernel(market, start, aim, band, rate, cash, shares, equity, cost, traded, rules):
    """Fold of `_advance` over time, for each path b from row ``start[b]``.

    `cash` (B, T) and `equity` (B, T) come with their first column set; `shares` is (B, T, A), or (B, 1, A) to keep only
    the last. Cost and traded value of the bar from t to t + 1 stand at t + 1.
    """
    paths, bars, n = aim.shape
    work = np.empty((SCRATCH, n))
    zero, one = np.zeros(n), np.ones(n)
    for b in range(paths):
        held = shares[b, 0].copy()
        for t in range(bars - 1):
            cash[b, t + 1], equity[b, t + 1], cost[b, t + 1], traded[b, t + 1] = _advance(
                start[b] + t,
                cash[b, t],
                held,
                market,
                aim[b, t],
                band[b, t] if band.size else zero,
                rate[b, t] if rate.size else one,
                rules,
                work,
            )
            shares[b, t + 1 if shares.shape[1] > 1 else 0] = held


# ---------------------------------------------------------------------------------------------------- adjoint


@njit(cache=True, nogil=True)
def _accrue_adjoint(cash, shares, mark, gap, rules, g_cash, g_shares):
    """Adjoint of `_accrue`; adds to `g_shares`, returns the gradient of the cash before."""
    if rules.borrow_rate > 0:
        for i in range(shares.size):
            if shares[i] < 0:
                g_shares[i] += g_cash * mark[i] * rules.borrow_rate * gap
    return g_cash * (1 + (rules.cash_rate if cash > 0 else rules.financing_rate) * gap)


@njit(cache=True, nogil=True)
def _targets_adjoint(notes, open_, aim, band, rate, rules, work, g_target, g_current, g_aim, g_band, g_rate):
    """From the gradient of the target weights to those of the plan and of the current weights."""
    n = g_target.size
    if notes.pace < 1:  # target = current + pace (scaled - current), pace = turnover / Σ|scaled - current|
        g_pace, change = 0.0, rules.turnover / notes.pace
        for i in range(n):
            if open_[i]:
                g_pace += g_target[i] * (work[SCALED, i] - work[CURRENT, i])
        for i in range(n):
            if open_[i]:
                side = np.sign(work[SCALED, i] - work[CURRENT, i])
                g_move = notes.pace * g_target[i] - g_pace * notes.pace / change * side
                g_current[i] += g_target[i] - g_move
                g_target[i] = g_move
    if notes.scale < 1:  # scaled = scale · clipped
        g_scale, total, stuck = 0.0, 0.0, 0.0
        for i in range(n):
            if open_[i]:
                g_scale += g_target[i] * work[CLIPPED, i]
                total += work[CLIPPED, i] if notes.by_net else abs(work[CLIPPED, i])
            elif not notes.by_net:
                stuck += abs(work[CURRENT, i])
        if not notes.by_net and stuck >= rules.gross:
            g_scale = 0.0  # nothing is left to scale to
        for i in range(n):
            if open_[i]:
                side = 1.0 if notes.by_net else np.sign(work[CLIPPED, i])
                g_target[i] = notes.scale * g_target[i] - g_scale * notes.scale / total * side
            else:
                side = 1.0 if notes.by_net else np.sign(work[CURRENT, i])
                g_current[i] -= g_scale / total * side
    for i in range(n):
        if not open_[i] or work[EDGED, i] < rules.lowest or work[EDGED, i] > rules.highest:
            continue
        g, c = g_target[i], work[CURRENT, i]
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


@njit(cache=True, nogil=True)
def _fill_adjoint(
    notes, shares, price, open_, impact, aim, band, rate, rules, work, g_cash, g_shares, g_aim, g_band, g_rate, room
):
    """Adjoint of `_fill`, given the shares before it; turns `g_shares` in place, returns the gradient of the cash."""
    n = shares.size
    g_target, g_current, g_value = room[0], room[1], room[2]
    if notes.cut >= 0:  # all cash went into the cut buy: its size is the cash there was, over 1 + marginal cost
        i = notes.cut
        k = impact[i] if impact.size else 0.0
        g_cash = g_shares[i] / price[i] / (1 + _cost_slope(work[ORDER, i], k, rules))
    g_base, slope = 0.0, 1.0
    for i in range(n):
        g_target[i], g_current[i], g_value[i] = 0.0, 0.0, 0.0
        if work[FREE, i] > 0:  # order = target · base - value
            marginal = _cost_slope(work[ORDER, i], impact[i] if impact.size else 0.0, rules)
            g_order = g_shares[i] / price[i] - g_cash * (1 + marginal)
            g_target[i] = g_order * notes.base
            g_base += g_order * work[TARGET, i]
            g_value[i] = -g_order
    g_equity = g_base
    if rules.sizing == POST_FEE:  # implicit: base + Σ cost(target · base - value) = equity
        for i in range(n):
            if work[TARGET, i] != work[CURRENT, i]:
                order = work[TARGET, i] * notes.base - shares[i] * price[i]
                slope += _cost_slope(order, impact[i] if impact.size else 0.0, rules) * work[TARGET, i]
        g_equity = g_base / slope
        for i in range(n):
            if work[TARGET, i] != work[CURRENT, i]:
                order = work[TARGET, i] * notes.base - shares[i] * price[i]
                marginal = _cost_slope(order, impact[i] if impact.size else 0.0, rules)
                g_target[i] -= g_equity * marginal * notes.base
                g_value[i] += g_equity * marginal
    _targets_adjoint(notes, open_, aim, band, rate, rules, work, g_target, g_current, g_aim, g_band, g_rate)
    for i in range(n):  # current = value / equity, equity = cash + Σ value
        g_value[i] += g_current[i] / notes.equity
        g_equity -= g_current[i] * work[CURRENT, i] / notes.equity
    for i in range(n):
        g_shares[i] += (g_value[i] + g_equity) * price[i]
    return g_cash + g_equity


@njit(cache=True, nogil=True)
def adjoint_kernel(market, start, aim, band, rate, cash, shares, g_equity, g_aim, g_band, g_rate, rules):
    """Gradients of Σ g_equity · equity in the plan, by one reverse sweep.

    `cash` (B, T) and `shares` (B, T, A) are the states that `path_kernel` recorded; each bar is done again from its
    state, so that nothing else need be stored. `g_aim`, `g_band`, `g_rate` (B, T, A) come zeroed and are added to.
    """
    paths, bars, n = aim.shape
    work, room = np.empty((SCRATCH, n)), np.empty((3, n))
    held, g_shares = np.empty(n), np.empty(n)
    zero, one, unused = np.zeros(n), np.ones(n), np.empty(n)
    for b in range(paths):
        g_cash = 0.0
        g_shares[:] = 0.0
        for t in range(bars - 2, -1, -1):
            row = start[b] + t
            mark, price = market.mark[row], market.fill[row]
            before = shares[b, t]
            if _value(cash[b, t], before, mark) <= 0:  # closed: equity and cash are what they were
                g_cash += g_equity[b, t + 1]
                continue
            held[:] = before
            money = cash[b, t]
            if rules.lagged:
                money = _accrue(money, held, mark, market.gap[row], rules)
            if _value(money, held, price) <= 0:  # closed at the fill
                g_cash += g_equity[b, t + 1]
                for i in range(n):
                    g_shares[i] = g_cash * price[i]
            else:
                impact = market.impact[row] if market.impact.size else market.gap[:0]
                plan_band = band[b, t] if band.size else zero
                plan_rate = rate[b, t] if rate.size else one
                after, notes = _fill(
                    money, held, price, market.open[row], impact, aim[b, t], plan_band, plan_rate, rules, work
                )
                accrued = after
                if not rules.lagged:
                    accrued = _accrue(after, held, mark, market.gap[row], rules)
                g_end = g_equity[b, t + 1]
                if _value(accrued, held, market.mark[row + 1]) <= 0:  # closed at the mark
                    g_end += g_cash
                    g_cash = 0.0
                    g_shares[:] = 0.0
                g_cash += g_end
                for i in range(n):
                    g_shares[i] += g_end * market.mark[row + 1, i]
                if not rules.lagged:
                    g_cash = _accrue_adjoint(after, held, mark, market.gap[row], rules, g_cash, g_shares)
                g_cash = _fill_adjoint(
                    notes, before, price, market.open[row], impact, aim[b, t], plan_band, plan_rate, rules, work,
                    g_cash, g_shares, g_aim[b, t],
                    g_band[b, t] if g_band.size else unused,
                    g_rate[b, t] if g_rate.size else unused,
                    room,
                )  # fmt: skip
            if rules.lagged:
                g_cash = _accrue_adjoint(cash[b, t], before, mark, market.gap[row], rules, g_cash, g_shares)


# ---------------------------------------------------------------------------------------------------- faces


class Paths(NamedTuple):
    """Accounts over time: equity, cash, cost and traded value (B, T), shares (B, T, A). Money; row 0 is the start.

    The cost and the traded value of the bar from t to t + 1 stand at t + 1.
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
) -> Paths:
    """Simulate B plans of T bars by A symbols from rows `start` of the panel.

    Parameters
    ----------
    start : ndarray of int64, shape (B,)
        ``start[b] + T`` must not pass the panel's end.
    aim, band, rate : ndarray of shape (B, T, A)
        `band` and `rate` may have size 0, for all zeros and all ones.
    money : float
        Cash at the start.
    """
    paths, bars, n = aim.shape
    cash, equity = np.empty((paths, bars)), np.empty((paths, bars))
    cash[:, 0] = equity[:, 0] = money
    cost, traded = np.zeros((paths, bars)), np.zeros((paths, bars))
    shares = np.empty((paths, bars, n))
    shares[:, 0] = 0.0
    path_kernel(market, start, aim, band, rate, cash, shares, equity, cost, traded, rules)
    return Paths(equity, cash, shares, cost, traded)


def simulate(
    bars: Bars,
    aim: np.ndarray,
    band: np.ndarray | None = None,
    rate: np.ndarray | None = None,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
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

    Returns
    -------
    Paths
        With a leading axis of length 1 for a single plan.
    """
    costs, execution = Costs.parse(costs), execution or Execution()
    market, rules = make_market(bars, costs, execution)
    aims, bands, rates = (
        np.zeros((0, 0, 0)) if p is None else np.array(p, dtype=np.float64, order="C", ndmin=3)
        for p in (aim, band, rate)
    )
    if aims.shape[1:] != bars.shape:
        raise ValueError(f"aim has shape {np.shape(aim)}, but the bars make {bars.shape}")
    bands, rates = (np.ascontiguousarray(np.broadcast_to(p, aims.shape)) if p.size else p for p in (bands, rates))
    return run_paths(market, rules, np.zeros(len(aims), dtype=np.int64), aims, bands, rates, execution.cash)
