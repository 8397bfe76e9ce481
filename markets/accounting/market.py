"""What the kernels read: `Costs` and `Execution` as plain numbers (`Rules`), `Bars` as a panel of prices (`Market`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from markets.accounting.costs import Costs, Execution
from markets.bars.bars import Bars, carried
from markets.common.errors import InputError

SECONDS_PER_YEAR = 365.25 * 86400

PRE_FEE, POST_FEE, OUTLAY = 0, 1, 2
_SIZING = {"pre_fee": PRE_FEE, "post_fee": POST_FEE, "outlay": OUTLAY, "whole_lots": OUTLAY}
# Whether a symbol trades at a fill, is halted (keeps its last mark), or is delisted (is paid out).
HALTED, OPEN, GONE = 0, 1, 2


class Rules(NamedTuple):
    """`Costs` and `Execution` as plain numbers, for the kernels."""

    buy: float  # cost of a buy as a share of its value at the fill price
    sell: float
    fixed: float
    quadratic: float
    cash_rate: float
    financing_rate: float
    borrow_rate: float
    lagged: bool  # filled after the bar of the decision
    sizing: int
    lot: float  # 0 for fractions of shares
    borrowing: bool
    lowest: float  # weight of one symbol
    highest: float
    gross: float
    net: float
    turnover: float
    maintenance: float
    delistings: bool  # whether any symbol of the panel is delisted

    def packed(self) -> np.ndarray:
        """All of them in one array, for `markets.accounting.kernels.step_kernel`."""
        return np.array(self, dtype=np.float64)


class Market(NamedTuple):
    """Price panel of N rows by A symbols, as the kernels read it. Row t holds what a decision at bar t meets.

    fill : (N, A) price at which the decision is filled; where the symbol does not trade then, its last mark, less the
        haircut where it is delisted
    open : (N, A) int8, `HALTED`, `OPEN` or `GONE` then
    mark : (N, A) last known close at bar t; 0 before a symbol's first bar
    gap : (N,) years from bar t to bar t + 1
    impact : (N, A) cost coefficient of ``value**1.5``, or (0, 0)
    """

    fill: np.ndarray
    open: np.ndarray
    mark: np.ndarray
    gap: np.ndarray
    impact: np.ndarray


def make_rules(costs: Costs, execution: Execution, fill: str, delistings: bool = False) -> Rules:
    """The numbers of `costs` and `execution`; `fill` is resolved (not ``"auto"``).

    Raises
    ------
    InputError
        Quadratic costs with sizing ``outlay`` or ``whole_lots``.
    """
    if costs.quadratic > 0 and _SIZING[execution.sizing] == OUTLAY:
        # a sell brings no more than so much, however large it is: there may be no order for the wanted change
        raise InputError(f"costs: quadratic does not go with sizing {execution.sizing}; use pre_fee or post_fee")
    # Of one type whatever the user wrote: to numba a gross of 2 and one of 2.5 are two programs to compile.
    return Rules(
        buy=float(costs.buy_side),
        sell=float(costs.sell_side),
        fixed=float(costs.fixed),
        quadratic=float(costs.quadratic),
        cash_rate=float(costs.cash_rate),
        financing_rate=float(costs.financing_rate),
        borrow_rate=float(costs.borrow_rate),
        lagged=fill != "same_close",
        sizing=_SIZING[execution.sizing],
        lot=float(execution.lot) if execution.sizing == "whole_lots" else 0.0,
        borrowing=bool(execution.borrowing),
        lowest=0.0 if execution.long_only else -float(execution.max_weight),
        highest=float(execution.max_weight),
        gross=float(execution.gross),
        net=float(execution.net),
        turnover=float(execution.turnover),
        maintenance=float(execution.maintenance),
        delistings=delistings,
    )


def resolve_fill(bars: Bars, execution: Execution) -> str:
    """The fill time that `execution` means for these bars."""
    if execution.fill == "auto":
        return "next_open" if bars.open is not None else "next_close"
    if execution.fill == "next_open" and bars.open is None:
        raise InputError(f"fill next_open: {bars.name} has no opens; use next_close")
    return execution.fill


def make_market(bars: Bars, costs: Costs, execution: Execution) -> tuple[Market, Rules]:
    """Panel and rules for simulating on the visible rows of `bars`.

    Raises
    ------
    InputError
        Impact without volume, quadratic costs with a sizing that has none, or a fill at opens that are not there.
    """
    fill = resolve_fill(bars, execution)
    # Panels may be large: nothing here makes a temporary of more than a byte a value.
    held = bars.with_past().close
    if np.isfinite(held[: bars.past + 1]).any(axis=0).all():
        mark = bars.marks
    else:  # before a symbol's first bar the kernels want 0: a panel of their own, and `bars.marks` need not be made
        mark = np.nan_to_num(carried(held)[bars.past :], copy=False, nan=0.0)
    price, state = mark, np.empty(bars.shape, dtype=np.int8)
    if fill == "same_close":
        state[:] = bars.tradable
    else:
        source = bars.open if fill == "next_open" else bars.close
        assert source is not None
        # The decision of the last row has no next bar; it is never filled.
        state[:-1], state[-1] = bars.tradable[1:], HALTED
        price = np.empty(bars.shape)
        price[:-1] = source[1:]
        np.copyto(price, mark, where=state == HALTED)
    gone = bars.delisted
    if gone.any():
        gone = gone if fill == "same_close" else np.concatenate([gone[1:], gone[-1:]])
        price = price.copy() if price is mark else price
        price[gone] = mark[gone] * (1 - execution.delisting_haircut)
        state[gone] = GONE
    index = bars.index.as_unit("us").asi8
    gap = np.append(np.diff(index), 0) / (1e6 * SECONDS_PER_YEAR)
    impact = _impact(bars, costs) if costs.impact > 0 else np.zeros((0, 0))
    # All read-only: the marks may be the closes themselves, and the kernels are compiled for one kind of array.
    for panel in (price, state, mark):
        panel.setflags(write=False)
    return Market(price, state, mark, gap, impact), make_rules(costs, execution, fill, bool(gone.any()))


def _impact(bars: Bars, costs: Costs, window: int = 20) -> np.ndarray:
    """``k·σ / sqrt(ADV)`` from the `window` bars up to each."""
    held = bars.with_past()
    if held.volume is None:
        raise InputError(f"impact needs volume, and {bars.name} has none; use data with volume or set impact to 0")
    import pandas as pd

    returns = pd.DataFrame(held.marks).pct_change(fill_method=None)
    value = pd.DataFrame(held.marks * np.nan_to_num(held.volume))
    sigma = returns.rolling(window, min_periods=2).std().fillna(0.0)
    average = value.rolling(window, min_periods=1).mean()
    coefficient = pd.DataFrame(costs.impact * sigma / np.sqrt(average.where(average > 0)))
    # Without any trading there is nothing to scale by: the worst coefficient seen so far stands in.
    coefficient = coefficient.fillna(coefficient.cummax().ffill()).fillna(0.0)
    return np.ascontiguousarray(coefficient.to_numpy()[bars.past :])
