"""What a trade costs and how it is carried out: `Costs`, `Execution`, and the numbers the kernels read.

The order of events from one bar's close to the next, the same in training, environments, backtests and signals:

1. With a fill after the decision (``next_open``, ``next_close``), interest, financing and borrow fee accrue on what was
   held over the gap.
2. The fill at price p: ``V = cash + Σ shares·p``, current weight ``c = shares·p / V``, target
   ``w = c + rate·(clip(c, aim − band, aim + band) − c)``; then limits; untradable symbols stay as they are.
3. Sizing, sells first, then buys from the smallest to the largest, cut to the cash there is unless borrowing is allowed.
4. Costs of each order: commission and half the spread (shares of its value), a fixed fee, square-root and quadratic
   impact. A sell that would not bring its own costs is not made.
5. With ``same_close``, interest and fees accrue now. Then the account is marked at the next close.
6. Equity at or below zero closes the account for good, at what it is then.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np

from markets.bars.bars import Bars, carried
from markets.common.errors import InputError

SECONDS_PER_YEAR = 365.25 * 86400

PRE_FEE, POST_FEE, OUTLAY = 0, 1, 2
_SIZING = {"pre_fee": PRE_FEE, "post_fee": POST_FEE, "outlay": OUTLAY, "whole_lots": OUTLAY}
# Whether a symbol trades at a fill, is halted (keeps its last mark), or is delisted (is paid out).
HALTED, OPEN, GONE = 0, 1, 2


@dataclass(frozen=True)
class Costs:
    """What trading and holding cost; every figure is a share (0.001 is 10 basis points) or a yearly rate.

    Attributes
    ----------
    commission : float
        Share of the traded value, each side.
    buy_tax, sell_tax : float
        Share of the traded value, on buys or sells only: stamp duties and the like.
    fixed : float
        Money per order.
    spread : float
        Full bid-ask spread as a share of the price; each order pays half.
    impact : float
        k of the square-root law: an order of value Q pays ``k·σ·sqrt(Q / ADV)·Q``, with σ the daily volatility and ADV the
        average daily value, both over the 20 bars up to the decision. Needs volume.
    quadratic : float
        An order of value Q on an account worth V at the fill pays ``quadratic·Q²/V``: a share quadratic × turnover² of
        equity. This is a price that moves in proportion to the order (Kyle, "Continuous Auctions and Insider Trading",
        Econometrica 1985), as in Gârleanu and Pedersen (Journal of Finance 2013), in units of the account. Not for sizing
        ``outlay`` or ``whole_lots``.
    cash_rate : float
        Yearly simple interest earned on cash.
    financing_rate : float
        Yearly simple interest paid on borrowed cash.
    borrow_rate : float
        Yearly fee on the value of shorts.
    """

    commission: float = 0.0
    buy_tax: float = 0.0
    sell_tax: float = 0.0
    fixed: float = 0.0
    spread: float = 0.0
    impact: float = 0.0
    quadratic: float = 0.0
    cash_rate: float = 0.0
    financing_rate: float = 0.0
    borrow_rate: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            signed = field.name == "cash_rate"  # deposits can bear negative interest
            if not np.isfinite(value) or (value < 0 and not signed):
                raise InputError(f"costs: {field.name} is {value}; it must be a number of at least 0")
        for name in ("commission", "buy_tax", "sell_tax", "spread"):
            if getattr(self, name) >= 1:
                raise InputError(f"costs: {name} is {getattr(self, name)}; it is a share: 10 basis points are 0.001")

    @property
    def buy_side(self) -> float:
        """Cost of a buy as a share of its value, without fixed fee and impact of either kind."""
        return (1 + self.spread / 2) * (1 + self.commission + self.buy_tax) - 1

    @property
    def sell_side(self) -> float:
        """Cost of a sell as a share of its value, without fixed fee and impact of either kind."""
        return 1 - (1 - self.spread / 2) * (1 - self.commission - self.sell_tax)

    @classmethod
    def parse(cls, text: str | float | Costs) -> Costs:
        """Costs from ``"10bp"`` or ``"0.1%"`` a side, a plain share, or `Costs` itself."""
        if isinstance(text, Costs):
            return text
        if isinstance(text, (int, float)):
            return cls(commission=float(text))
        found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(bps?|%)\s*", text, re.ASCII)
        if not found:
            raise InputError(f"costs {text!r}: write 10bp or 0.1% (a side), or pass markets.Costs(...)")
        return cls(commission=float(found[1]) * (1e-2 if found[2] == "%" else 1e-4))


@dataclass(frozen=True)
class Execution:
    """When and how much is filled, and what a book may hold.

    Attributes
    ----------
    fill : {"auto", "next_open", "next_close", "same_close"}
        When a decision at a bar's close is filled. ``auto`` is the next open where opens exist, else the next close.
        ``same_close`` trades at the price that was just observed, which nobody can: for comparing with tools that do.
    sizing : {"pre_fee", "post_fee", "outlay", "whole_lots"}
        ``pre_fee`` sizes on equity before costs, ``post_fee`` so that weights hold exactly after costs. With ``outlay`` an
        order and its own cost together are the wanted change of value; ``whole_lots`` is that, rounded to whole multiples
        of `lot` shares so that positions are rounded towards zero.
    lot : float
        Shares, for ``whole_lots``.
    cash : float
        Money at the start.
    borrowing : bool
        Whether cash may go below zero. Where not, buys are cut to the cash there is.
    long_only : bool
    max_weight, gross, net, turnover : float
        Largest weight of one symbol, of all in absolute value, of all in sum, and largest change of weights a bar.
        Targets beyond are cut to the first, scaled to the next two, and trades are scaled to the last.
    maintenance : float
        Margin call: an account whose equity at a bar's close is below this share of its gross holdings is liquidated at the
        next fill, whatever the plan says, and a gap until then counts. 0 is none; 0.25 is usual for US stocks.
    delisting_haircut : float
        What a delisted symbol loses of its last price when it is paid out. 0.3 is the mean found for US stocks delisted for
        cause (Shumway, "The delisting bias in CRSP data", Journal of Finance 1997).
    """

    fill: Literal["auto", "next_open", "next_close", "same_close"] = "auto"
    sizing: Literal["pre_fee", "post_fee", "outlay", "whole_lots"] = "pre_fee"
    lot: float = 1.0
    cash: float = 1_000_000.0
    borrowing: bool = False
    long_only: bool = False
    max_weight: float = np.inf
    gross: float = 1.0
    net: float = np.inf
    turnover: float = np.inf
    maintenance: float = 0.0
    delisting_haircut: float = 0.3

    def __post_init__(self) -> None:
        if self.fill not in ("auto", "next_open", "next_close", "same_close"):
            raise InputError(f"execution: fill is {self.fill!r}; use auto, next_open, next_close or same_close")
        if self.sizing not in _SIZING:
            raise InputError(f"execution: sizing is {self.sizing!r}; use {', '.join(_SIZING)}")
        for name in ("lot", "cash", "max_weight", "gross", "net", "turnover"):
            if not getattr(self, name) > 0:
                raise InputError(f"execution: {name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.maintenance < 1 or not 0 <= self.delisting_haircut <= 1:
            raise InputError("execution: maintenance must be in [0, 1) and delisting_haircut in [0, 1]")
        if self.maintenance and self.turnover < np.inf:
            raise InputError(
                "execution: a margin call cannot wait for a turnover limit; set maintenance or turnover, not both"
            )
        if self.fill == "same_close":
            warnings.warn("same_close fills at a price the decision has already seen: no one can", stacklevel=3)


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
