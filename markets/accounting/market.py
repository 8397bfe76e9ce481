"""Input of the kernels: `Costs` and `Execution` as plain numbers (`Rules`), `Bars` as a panel of prices (`Market`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from markets.accounting.costs import Costs, Execution
from markets.accounting.quotes import last_quotes
from markets.bars.bars import Bars, carried
from markets.bars.traded import TradedBars
from markets.common.errors import InputError

SECONDS_PER_YEAR = 365.25 * 86400

PRE_FEE, POST_FEE, OUTLAY = 0, 1, 2
_SIZING = {"pre_fee": PRE_FEE, "post_fee": POST_FEE, "outlay": OUTLAY, "whole_lots": OUTLAY}
# State of a symbol at a fill: halted (keeps its last mark), open for trading, or delisted (is paid out).
HALTED, OPEN, GONE = 0, 1, 2


class Rules(NamedTuple):
    """`Costs` and `Execution` as plain numbers, for the kernels."""

    buy: float  # cost of a buy as a fraction of its value at the fill price, where the market has no spreads
    sell: float  # the same for a sell
    buy_fee: float  # what a buy pays of the price with half of the spread, where the market has spreads: 1 + fees
    sell_fee: float  # what a sell raises of the price without half of the spread: 1 - fees
    fixed: float
    quadratic: float
    cash_rate: float
    financing_rate: float
    borrow_rate: float
    lagged: bool  # whether orders are filled after the bar of the decision
    sizing: int
    lot: float  # 0 if fractions of shares are allowed
    borrowing: bool
    smallest_first: bool  # whether the smallest buys come first when cash is short; else all are cut alike
    lowest: float  # smallest weight of one symbol
    highest: float  # largest weight of one symbol
    gross: float
    net: float
    turnover: float
    maintenance: float
    delistings: bool  # whether any symbol of the panel is delisted

    def packed(self) -> np.ndarray:
        """All fields in one array, for `markets.accounting.kernels.step_kernel`."""
        return np.array(self, dtype=np.float64)


class Market(NamedTuple):
    """Price panel of N rows by A symbols, as read by the kernels. Row t applies to the decision at bar t.

    Attributes
    ----------
    fill : ndarray of shape (N, A)
        Price at which the decision is filled. If the symbol does not trade then, its last mark; if it is delisted, its last
        mark less the haircut.
    open : ndarray of int8, shape (N, A)
        State at the fill: `HALTED`, `OPEN` or `GONE`.
    mark : ndarray of shape (N, A)
        Last known close at bar t; 0 before a symbol's first bar.
    gap : ndarray of shape (N,)
        Years from bar t to bar t + 1.
    impact : ndarray of shape (N, A) or (0, 0)
        Cost coefficient of ``value**1.5``; size 0 without impact.
    spread : ndarray of shape (N, A) or (0, 0)
        Bid–ask spread at the fill as a fraction of the price; size 0 where only a fixed one is charged, as part of `Rules`.
    """

    fill: np.ndarray
    open: np.ndarray
    mark: np.ndarray
    gap: np.ndarray
    impact: np.ndarray
    spread: np.ndarray

    def scaled(self, share: float) -> Market:
        """The market with a fraction of its costs of trading, as `Costs.scaled` has for `Rules`."""
        return self._replace(impact=self.impact * share, spread=self.spread * share)

    def sides(self, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
        """Proportional cost of a buy and of a sell as fractions of its value, each of shape (N, A)."""
        if not self.spread.size:
            return np.full(self.fill.shape, rules.buy), np.full(self.fill.shape, rules.sell)
        half = self.spread / 2
        return (1 + half) * rules.buy_fee - 1, 1 - (1 - half) * rules.sell_fee


def make_rules(costs: Costs, execution: Execution, fill: str, delistings: bool = False) -> Rules:
    """`Rules` from `costs` and `execution`; `fill` must be resolved (not ``"auto"``).

    Raises
    ------
    InputError
        For quadratic costs with sizing ``outlay`` or ``whole_lots``, and for quoted spreads with costs of a class that sums up
        its sides in another way.
    """
    sides = type(costs).buy_side, type(costs).sell_side
    if costs.quoted > 0 and sides != (Costs.buy_side, Costs.sell_side):
        raise InputError(
            f"costs: {type(costs).__name__} has a buy_side or sell_side of another kind, which a quoted spread cannot be added "
            "to; name a fixed spread instead"
        )
    if costs.quadratic > 0 and _SIZING[execution.sizing] == OUTLAY:
        # the proceeds of a sell are bounded, however large it is, so no order may give the wanted change of value
        raise InputError(f"costs: quadratic does not go with sizing {execution.sizing}; use pre_fee or post_fee")
    # Cast to fixed types: numba would compile the kernels again for an integer gross of 2.
    return Rules(
        buy=float(costs.buy_side),
        sell=float(costs.sell_side),
        buy_fee=float(1 + costs.commission + costs.buy_tax),
        sell_fee=float(1 - costs.commission - costs.sell_tax),
        fixed=float(costs.fixed),
        quadratic=float(costs.quadratic),
        cash_rate=float(costs.cash_rate),
        financing_rate=float(costs.financing_rate),
        borrow_rate=float(costs.borrow_rate),
        lagged=fill != "same_close",
        sizing=_SIZING[execution.sizing],
        lot=float(execution.lot) if execution.sizing == "whole_lots" else 0.0,
        borrowing=bool(execution.borrowing),
        smallest_first=execution.shortfall == "smallest_first",
        lowest=0.0 if execution.long_only else -float(execution.max_weight),
        highest=float(execution.max_weight),
        gross=float(execution.gross),
        net=float(execution.net),
        turnover=float(execution.turnover),
        maintenance=float(execution.maintenance),
        delistings=delistings,
    )


def resolve_fill(bars: Bars, execution: Execution) -> str:
    """Fill time of `execution` for these bars, with ``"auto"`` resolved."""
    if execution.fill == "auto":
        return "next_open" if bars.open is not None else "next_close"
    if execution.fill == "next_open" and bars.open is None:
        raise InputError(f"fill next_open: {bars.name} has no opens; use next_close")
    return execution.fill


def make_market(bars: Bars, costs: Costs, execution: Execution) -> tuple[Market, Rules]:
    """Price panel and rules for a simulation on the visible rows of `bars`.

    Raises
    ------
    InputError
        For impact without volume, quoted spreads without any, quadratic costs with sizing ``outlay`` or ``whole_lots``, or a fill
        at the open of bars without opens.
    """
    fill = resolve_fill(bars, execution)
    # Panels may be large: avoid temporaries of more than one byte per value.
    held = bars.with_past().close
    if np.isfinite(held[: bars.past + 1]).any(axis=0).all():
        mark = bars.marks
    else:  # the kernels need 0 before a symbol's first bar: build a separate panel, without computing `bars.marks`
        mark = np.nan_to_num(carried(held)[bars.past :], copy=False, nan=0.0)
    price, state = mark, np.empty(bars.shape, dtype=np.int8)
    tradable, spread = bars.tradable, np.zeros((0, 0))
    if costs.quoted > 0:
        quotes = last_quotes(bars)
        spread, tradable = costs.charged_spread(np.nan_to_num(quotes)), tradable & np.isfinite(quotes)
    if fill == "same_close":
        state[:] = tradable
    else:
        source = bars.open if fill == "next_open" else bars.close
        assert source is not None
        # The last row has no next bar, so its decision is never filled.
        state[:-1], state[-1] = tradable[1:], HALTED
        spread = np.concatenate([spread[1:], spread[-1:]])
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
    # Read-only, because `mark` may share memory with the closes and the kernels are compiled for read-only arrays.
    for panel in (price, state, mark):
        panel.setflags(write=False)
    return Market(price, state, mark, gap, impact, spread), make_rules(costs, execution, fill, bool(gone.any()))


def _impact(bars: Bars, costs: Costs, window: int = 20) -> np.ndarray:
    """``k·σ / sqrt(ADV)`` of each bar, over the symbol's own `window` bars up to it; in a gap as on the last of them."""
    held = bars.with_past()
    if held.volume is None:
        raise InputError(f"impact needs volume, and {bars.name} has none; use data with volume or set impact to 0")
    import pandas as pd

    traded = TradedBars(held.close)
    close, volume = traded.packed(held.close), traded.packed(held.volume)
    returns = pd.DataFrame(close).pct_change(fill_method=None)
    value = pd.DataFrame(close * np.nan_to_num(volume))
    sigma = returns.rolling(window, min_periods=2).std().fillna(0.0)
    average = value.rolling(window, min_periods=1).mean()
    coefficient = pd.DataFrame(costs.impact * sigma / np.sqrt(average.where(average > 0)))
    # Without any volume in the window the ratio is undefined: use the largest coefficient so far.
    coefficient = coefficient.fillna(coefficient.cummax().ffill()).fillna(0.0)
    return np.ascontiguousarray(np.nan_to_num(traded.unpacked(coefficient.to_numpy()))[bars.past :])
