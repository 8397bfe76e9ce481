"""What a trade costs and how it is carried out: `Costs` and `Execution`.

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
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from markets.common.errors import InputError

SIZINGS = ("pre_fee", "post_fee", "outlay", "whole_lots")
# What is not a cost of trading but of holding.
_HOLDING = ("cash_rate", "financing_rate", "borrow_rate")


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

    def scaled(self, share: float) -> Costs:
        """The same with this share of what trading costs; holding costs what it costs."""
        trading = (f.name for f in fields(self) if f.name not in _HOLDING)
        return replace(self, **{name: getattr(self, name) * share for name in trading})

    def parts(self, value: np.ndarray, impact: np.ndarray | float, equity: np.ndarray) -> dict[str, np.ndarray]:
        """What each part of the cost of some orders comes to, in money; their sum is what the account is charged.

        Parameters
        ----------
        value : ndarray of shape (N,)
            Of the orders, at the price before costs; positive buys.
        impact : ndarray of shape (N,), or 0
            Coefficient of ``value**1.5``, see `markets.accounting.market.Market`.
        equity : ndarray of shape (N,)
            Of the account at each fill.

        Returns
        -------
        dict of ndarray of shape (N,)
            ``commission``, ``tax``, ``spread``, ``fixed``, and ``impact`` of either kind.
        """
        size, bought = np.abs(value), value > 0
        paid = np.where(bought, 1 + self.spread / 2, 1 - self.spread / 2)  # the price, as a share of the middle
        return {
            "commission": self.commission * size * paid,
            "tax": np.where(bought, self.buy_tax, self.sell_tax) * size * paid,
            "spread": self.spread / 2 * size,
            "fixed": np.full_like(size, self.fixed),
            "impact": impact * size**1.5 + self.quadratic * size**2 / equity,
        }

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
        if self.sizing not in SIZINGS:
            raise InputError(f"execution: sizing is {self.sizing!r}; use {', '.join(SIZINGS)}")
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
