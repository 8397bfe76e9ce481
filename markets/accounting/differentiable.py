"""The account as a torch function of the plan, in two implementations.

`equity_paths` runs the numba kernel forward and its hand-written adjoint backward: fast, with exact first derivatives.
`equity_paths_reference` implements the same rules in plain torch: slow, differentiable any number of times, and the
reference that the kernel is tested against.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from markets.accounting.kernels import DUST, TOLERANCE, PlanRows, Records, adjoint_kernel, workspace
from markets.accounting.market import GONE, OPEN, OUTLAY, POST_FEE, Market, Rules
from markets.accounting.plan import Plan
from markets.accounting.simulate import in_threads, plan_rows, run_paths, some
from markets.common.errors import InputError


class TensorPlan(NamedTuple):
    """A plan as tensors of shape (B, T, A); see `markets.accounting.plan.Plan`."""

    aim: Tensor
    band: Tensor | None = None
    rate: Tensor | None = None


class TensorPaths(NamedTuple):
    """B accounts over T bars, differentiable with respect to the plan.

    Attributes
    ----------
    equity : Tensor of float64, shape (B, T)
        ``equity[:, 0]`` is the initial cash.
    shares : Tensor of float64, shape (B, T, A)
        Holdings at each bar's close; ``shares[:, 0]`` is 0. The decision at bar t leads to ``shares[:, t + 1]``; the position
        exposed to the risk of the bar that follows is worth its value at ``market.fill`` of row t.
    """

    equity: Tensor
    shares: Tensor


def equity_paths(
    market: Market, rules: Rules, start: np.ndarray, plan: TensorPlan | Plan, *, money: float
) -> TensorPaths:
    """Simulate B plans of T bars by A symbols, differentiable once with respect to the plan.

    Parameters
    ----------
    market, rules : Market, Rules
        From `markets.accounting.market.make_market`.
    start : ndarray of int64, shape (B,)
        Row of the panel at which each path begins.
    plan : TensorPlan or Plan of shape (B, T, A)
        Converted to float64.
    money : float
        Initial cash; the effect of fixed fees and impact depends on it.

    Returns
    -------
    TensorPaths

    Raises
    ------
    ValueError
        For sizing ``outlay`` and ``whole_lots``.
    InputError
        For a plan with stops.
    """
    plan = _differentiable(rules, plan)
    return TensorPaths(*_EquityPaths.apply(market, rules, start, money, *plan))


def _differentiable(rules: Rules, plan: TensorPlan | Plan) -> TensorPlan:
    """The plan as tensors; refuses what has no derivative."""
    if rules.sizing == OUTLAY:
        raise ValueError("sizing outlay and whole_lots have no derivative; use pre_fee or post_fee for learning")
    if not isinstance(plan, Plan):
        return TensorPlan(*plan)
    if plan.stops:
        raise InputError(
            "a stop has no derivative: learn from the plan without its stops, and trade the result with them"
        )
    return TensorPlan(*(None if p is None else torch.from_numpy(p) for p in (plan.aim, plan.band, plan.rate)))  # type: ignore[arg-type]


class _EquityPaths(torch.autograd.Function):
    @staticmethod
    def forward(ctx, market, rules, start, money, aim, band, rate):
        plan = plan_rows(*(None if part is None else _as_array(part) for part in (aim, band, rate)))
        start = np.ascontiguousarray(start)  # of a strided one the kernel would be compiled anew
        paths = run_paths(market, rules, start, plan, money)
        ctx.work = (market, rules, start, plan, paths)
        ctx.like = (aim, band, rate)
        ctx.set_materialize_grads(False)  # most callers use equity only: do not allocate zeros for the shares
        return torch.from_numpy(paths.equity).to(aim.device), torch.from_numpy(paths.shares).to(aim.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_equity, g_held):
        market, rules, start, plan, paths = ctx.work
        grads = PlanRows(*(np.zeros_like(part) for part in plan))
        g_equity = np.zeros_like(paths.equity) if g_equity is None else _as_array(g_equity)
        g_held = np.zeros((0, 0, 0)) if g_held is None else _as_array(g_held)
        states = Records(**paths._asdict())

        def run(rows):
            part, g_part, before = (type(x)(*(some(array, rows) for array in x)) for x in (plan, grads, states))
            work = workspace(plan.aim.shape[-1])
            adjoint_kernel(market, rules, start[rows], part, before, g_equity[rows], some(g_held, rows), g_part, work)

        in_threads(run, len(start), plan.aim.size)
        out = [None if like is None else torch.from_numpy(g).to(like) for g, like in zip(grads, ctx.like, strict=True)]
        return None, None, None, None, *out


def _as_array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().to(torch.float64).numpy())


def equity_paths_reference(
    market: Market, rules: Rules, start: np.ndarray, plan: TensorPlan | Plan, *, money: float
) -> TensorPaths:
    """The same as `equity_paths`, in plain torch and bar by bar; differentiable any number of times."""
    plan = _differentiable(rules, plan)
    paths, bars, n = plan.aim.shape
    device = plan.aim.device
    aim = plan.aim.to(torch.float64)
    band = torch.zeros_like(aim) if plan.band is None else plan.band.to(torch.float64)
    rate = torch.ones_like(aim) if plan.rate is None else plan.rate.to(torch.float64)
    panel = [torch.from_numpy(np.array(x)).to(device) for x in market]
    sides = [torch.from_numpy(x).to(device) for x in market.sides(rules)]
    rows = torch.from_numpy(np.asarray(start)).to(device)
    cash = torch.full((paths,), money, dtype=torch.float64, device=device)
    shares = torch.zeros((paths, n), dtype=torch.float64, device=device)
    equity, held = [cash], [shares]
    for t in range(bars - 1):
        at = rows + t
        fill, state, mark, gap = (x[at] for x in panel[:4])
        impact = panel[4][at] if panel[4].numel() else torch.zeros_like(fill)
        buy, sell = (side[at] for side in sides)
        alive = equity[-1] > 0
        called = (equity[-1] < rules.maintenance * (shares.abs() * mark).sum(1) * (1 - TOLERANCE))[:, None]
        money_now = _accrue(cash, shares, mark, gap, rules) if rules.lagged else cash
        money_now = money_now + torch.where(state == GONE, shares * fill, 0.0).sum(1)
        shares = torch.where(state == GONE, 0.0, shares)
        value = money_now + (shares * fill).sum(1)
        solvent = value > 0
        row = (
            torch.where(called, 0.0, aim[:, t]),
            torch.where(called, 0.0, band[:, t]),
            torch.where(called, 1.0, rate[:, t]),
        )
        new_cash, new_shares = _fill(
            money_now, shares, torch.where(solvent, value, 1.0), fill, state == OPEN, impact, buy, sell, *row, called, rules
        )  # fmt: skip
        if not rules.lagged:
            new_cash = _accrue(new_cash, new_shares, mark, gap, rules)
        marked = new_cash + (new_shares * panel[2][at + 1]).sum(1)
        marked = torch.where(solvent, marked, value)
        marked = torch.where(alive, marked, cash)
        closed = marked <= 0
        cash = torch.where(closed, marked, new_cash)
        shares = torch.where(closed[:, None], 0.0, new_shares)
        equity.append(marked)
        held.append(shares)
    return TensorPaths(torch.stack(equity, 1), torch.stack(held, 1))


def _accrue(cash, shares, mark, gap, rules):
    rate = _choose(cash > 0, rules.cash_rate, rules.financing_rate)
    return cash * (1 + rate * gap) + (torch.where(shares < 0, shares, 0.0) * mark).sum(1) * rules.borrow_rate * gap


def _fill(cash, shares, equity, price, is_open, impact, buy, sell, aim, band, rate, forced, rules):
    value = shares * price
    current = value / equity[:, None]
    low, high = aim - band, aim + band
    inside = (low < current) & (current < high)
    tie = (low == current) & (current == high)  # the plan asks for exactly what is held, and both sides trade
    edge = torch.where(tie, aim, torch.where(current <= low, low, high))
    wanted = torch.where(inside, current, current + rate * (edge - current))
    moves = is_open & ((wanted - current).abs() > DUST)
    kept = wanted - (wanted - current).detach()  # equal to current; what moves it has a derivative
    wanted = torch.where(moves, wanted.clamp(rules.lowest, rules.highest), torch.where(is_open, kept, current))
    target = torch.where(moves, wanted * _scale(torch.where(moves, wanted, 0.0), rules), wanted)
    if rules.gross < np.inf:
        target = _cut_increases(target, current, rules.gross, torch.abs, target.sign())
    if rules.net < np.inf:
        side = torch.where(target.sum(1, keepdim=True) > 0, 1.0, -1.0)
        cut = _cut_increases(target, current, rules.net, lambda weight: side * weight, side)
        target = torch.where(forced, target, cut)
    if rules.turnover < np.inf:
        change = torch.where(moves, (target - current).abs(), 0.0).sum(1, keepdim=True)
        slow = change > rules.turnover * (1 + TOLERANCE)
        pace = rules.turnover / torch.where(slow, change, rules.turnover)
        target = torch.where(moves & slow, current + pace * (target - current), target)
    quadratic = rules.quadratic / equity[:, None]
    kink = torch.where(band > 0, torch.where(current <= low, buy, -sell), (buy - sell) / 2)  # slope of the cost at 0
    ordered = (target - current).abs() > DUST
    free = is_open & ~inside  # whether the order follows the target; if it is 0, its derivative does

    def cost(order):
        size = order.abs()
        # the slope of sqrt is infinite at 0: replace orders of 0 by 1 so that no NaN enters the gradient
        root = torch.where(size > 0, torch.where(size > 0, size, 1.0).sqrt(), 0.0)
        share = torch.where(order > 0, buy, sell) + impact * root + quadratic * size
        return torch.where(order != 0, share * size + rules.fixed, kink * order)

    def slope(order):
        """Of the cost."""
        size = order.abs()
        rising = (
            1.5 * impact * torch.where(size > 0, torch.where(size > 0, size, 1.0).sqrt(), 0.0) + 2 * quadratic * size
        )
        return torch.where(order > 0, buy + rising, torch.where(order < 0, -sell - rising, kink))

    def orders(base):
        zero = target * equity[:, None] - value  # for its derivative alone
        return torch.where(ordered, target * base[:, None] - value, torch.where(free, zero - zero.detach(), 0.0))

    def newton(base):
        """A step towards base + Σ cost = equity, and the slope of the left side."""
        order = orders(base)
        rise = 1 + torch.where(ordered, slope(order) * target, 0.0).sum(1)
        return (base + torch.where(ordered, cost(order), 0.0).sum(1) - equity) / rise, rise

    base = equity
    if rules.sizing == POST_FEE:
        with (
            torch.no_grad()
        ):  # a sell that raises less than its own cost is not made, so it has no part in the equation
            beyond = forced[:, 0].clone()
            while True:
                order = orders(base)
                unpaid = (order < 0) & (order + cost(order) >= 0) & ~beyond[:, None]
                if base is not equity and not unpaid.any():
                    break
                ordered, free = ordered & ~unpaid, free & ~unpaid
                base, beyond = equity.clone(), forced[:, 0].clone()
                for _ in range(50):
                    step, rise = newton(base)
                    beyond |= rise <= 0
                    base = torch.where(beyond, equity, base - step)
                beyond |= base <= TOLERANCE * equity  # costs exceed the equity
        base = base.detach()
        for _ in range(2):  # two more Newton steps, with gradient, give the first and second derivatives
            base = base - newton(base)[0]
        base = torch.where(forced[:, 0], equity, torch.where(beyond, 0.0, base))
    possible = (base[:, None] > 0) | (target == 0)  # if costs exceed the equity, positions can still be closed
    ordered, free = ordered & possible, free & possible
    order = orders(base)
    paid = torch.where(order != 0, cost(order), 0.0)
    unmade = (order < 0) & (order + paid >= 0) & ~forced
    order = torch.where(unmade, 0.0, order)
    sells, buys, zeros = (torch.where(side, order, 0.0) for side in (order < 0, order > 0, order == 0))
    cash = cash - torch.where(order <= 0, order + cost(order), 0.0).sum(1)
    need = torch.where(buys > 0, buys + cost(buys), 0.0)
    if not rules.borrowing:
        short = (need.sum(1) > cash)[:, None] & ~forced
        if rules.smallest_first:
            cut = _cut_largest(cash, buys, need, impact, buy, quadratic, rules)
        else:
            cut = _cut_alike(cash, buys, value, cost, slope)
        buys = torch.where(short, cut, buys)
        need = torch.where(buys > 0, buys + cost(buys), 0.0)
    cash = cash - need.sum(1)
    order = sells + buys + zeros
    held = shares + torch.where(price > 0, order / torch.where(price > 0, price, 1.0), 0.0)
    dust = ordered & (target == 0) & ((held * price).abs() <= DUST * order.abs())
    return cash, torch.where(dust, held - held.detach(), held)


def _scale(weight, rules):
    """Factor (B, 1) that makes weights keep to the gross and net limits by themselves."""
    gross, net = weight.abs().sum(1, keepdim=True), weight.sum(1, keepdim=True).abs()
    over = gross > rules.gross * (1 + TOLERANCE)
    scale = torch.where(over, rules.gross / torch.where(over, gross, 1.0), 1.0)
    over = scale * net > rules.net * (1 + TOLERANCE)
    return torch.where(over, rules.net / torch.where(over, net, 1.0), scale)


def _cut_increases(target, current, limit, size, sign):
    """Cut the orders that add to Σ size by one fraction, to keep it within `limit`; see the kernel of the same name."""
    before, after = size(current), size(target)
    adds = after > before
    headroom = limit - torch.where(adds, before, after).sum(1, keepdim=True)
    added = torch.where(adds, after - before, 0.0).sum(1, keepdim=True)
    share = torch.where(headroom > 0, headroom / torch.where(added > 0, added, 1.0), 0.0).clamp(max=1)
    over = after.sum(1, keepdim=True) > limit * (1 + TOLERANCE)
    return torch.where(over & adds, sign * (before + share * (after - before)), target)


def _choose(condition, yes, no):
    """`yes` or `no` as float64; torch.where with two Python numbers would give float32."""
    return torch.full(condition.shape, no, dtype=torch.float64, device=condition.device).masked_fill(condition, yes)


def _cut_alike(cash, buys, value, cost, slope):
    """Buys cut to `cash` by one fraction f, after covers of short positions; see the kernel of the same name."""
    cover = torch.where(buys <= -value, buys, torch.where(value < 0, -value, 0.0))
    covering = (torch.where(cover > 0, cover + cost(cover), 0.0).sum(1) > cash)[:, None]
    first = torch.where(covering, 0.0, cover)
    rest = torch.where(covering, cover, buys) - first

    def newton(share):
        order = first + share[:, None] * rest
        need = torch.where(order > 0, order + cost(order), 0.0).sum(1)
        rise = torch.where(order > 0, rest * (1 + slope(order)), 0.0).sum(1)
        return share - (need - cash) / torch.where(rise > 0, rise, 1.0)

    with torch.no_grad():
        share = torch.ones_like(cash)
        for _ in range(50):
            share = torch.where(share > 0, newton(share), share)
    share = torch.where(share > TOLERANCE, share, 0.0)
    for _ in range(2):  # with gradient, as above
        share = torch.where(share > 0, newton(share), 0.0)
    return first + share[:, None] * rest


def _cut_largest(cash, buys, need, impact, rate, quadratic, rules):
    """Buys cut to `cash` from the smallest to the largest: the first that does not fit takes what is left, the others nothing."""
    index = buys.argsort(dim=1, stable=True)
    sorted_need, sorted_buys, k, rate = (x.gather(1, index) for x in (need, buys, impact, rate))
    total = sorted_need.cumsum(1)
    fits = total <= cash[:, None]
    left = cash[:, None] - (total - sorted_need)
    partial = torch.where(left > rules.fixed * (1 + TOLERANCE), (left - rules.fixed) / (1 + rate), 0.0)
    for _ in range(12):  # Newton's method, for square-root and quadratic impact
        root = torch.where(partial > 0, torch.where(partial > 0, partial, 1.0).sqrt(), 0.0)
        excess = partial * (1 + rate) + (k * root + quadratic * partial) * partial + rules.fixed - left
        marginal = rate + 1.5 * k * root + 2 * quadratic * partial
        partial = torch.where(partial > 0, partial - excess / (1 + marginal), 0.0)
    first = (~fits).cumsum(1) == 1
    filled = torch.where(fits, sorted_buys, torch.where(first & (sorted_buys > 0), partial, 0.0))
    return torch.zeros_like(buys).scatter(1, index, filled)
