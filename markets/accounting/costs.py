"""Trading costs and order execution: `Costs` and `Execution`.

The order of events from one bar's close to the next is the same in training, environments, backtests and signals:

1. With a fill after the decision (``next_open``, ``next_close``), interest, financing and borrow fee accrue on the holdings
   before the fill.
2. Fill at price p: ``V = cash + Σ shares·p``, current weight ``c = shares·p / V``, target
   ``w = c + rate·(clip(c, aim − band, aim + band) − c)``. Then the limits apply. Untradable symbols keep their holdings.
3. Orders are sized. Sells are filled first, then covers of short positions, then other buys. Buys are cut alike to the available
   cash unless borrowing is allowed.
4. Each order pays commission and half the bid–ask spread, fixed or quoted (fractions of its value), a fixed fee, and square-root
   and quadratic impact. A sell that would raise less than its own cost is not made.
5. With ``same_close``, interest and fees accrue now. The account is then marked at the next close.
6. If equity is at or below zero, the account is closed for good with that equity.

A plan's stop-loss and take-profit are orders of their own inside the bar, before or after the fill.

`docs/execution.md` states every rule.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from markets.common.errors import InputError

SIZINGS = ("pre_fee", "post_fee", "outlay", "whole_lots")
SHORTFALLS = ("pro_rata", "smallest_first")
# Costs of holding, as opposed to costs of trading.
_HOLDING = ("cash_rate", "financing_rate", "borrow_rate")
QUOTED = "quoted"


@dataclass(frozen=True)
class Costs:
    """Costs of trading and of holding, as fractions of value (0.001 is 10 basis points) or rates per year.

    Attributes
    ----------
    commission : float
        Fraction of the traded value, per side.
    buy_tax, sell_tax : float
        Fraction of the traded value, on buys or sells only, such as stamp duty.
    fixed : float
        Money per order.
    spread : float or "quoted"
        Full bid–ask spread as a fraction of the price; each order pays half of it. ``"quoted"`` is short for ``quoted=1``.
    quoted : float
        Multiple of the spread that the bars quote (`Bars.spread`) at the bar of the fill, on top of `spread`: each order pays
        half of the two together, which are at most the price. See `markets.accounting.quotes` for bars without a quote.
    impact : float
        k of the square-root law: an order of value Q pays ``k·σ·sqrt(Q / ADV)·Q``, with σ the volatility per bar and ADV the
        average traded value per bar (for daily bars: daily volatility and average daily value), both over the 20 bars up to
        the decision. Needs volume.
    quadratic : float
        An order of value Q on an account worth V at the fill pays ``quadratic·Q²/V``, which is the fraction
        ``quadratic · turnover²`` of equity. This is linear price impact (Kyle, "Continuous Auctions and Insider Trading",
        Econometrica 1985), as in Gârleanu and Pedersen (Journal of Finance 2013), relative to the size of the account. Not
        available with sizing ``outlay`` or ``whole_lots``.
    cash_rate : float
        Simple interest per year earned on cash; may be negative.
    financing_rate : float
        Simple interest per year paid on borrowed cash.
    borrow_rate : float
        Fee per year on the value of short positions.

    Raises
    ------
    InputError
        When a value is not finite, is negative (other than `cash_rate`), or is a fraction of 1 or more.
    """

    commission: float = 0.0
    buy_tax: float = 0.0
    sell_tax: float = 0.0
    fixed: float = 0.0
    spread: float | Literal["quoted"] = 0.0
    quoted: float = 0.0
    impact: float = 0.0
    quadratic: float = 0.0
    cash_rate: float = 0.0
    financing_rate: float = 0.0
    borrow_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.spread == QUOTED:
            object.__setattr__(self, "spread", 0.0)
            object.__setattr__(self, "quoted", self.quoted or 1.0)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                raise InputError(
                    f"costs: {field.name} is {value!r}; give a number{', or quoted' * (field.name == 'spread')}"
                )
            signed = field.name == "cash_rate"  # deposits can bear negative interest
            if not np.isfinite(value) or (value < 0 and not signed):
                raise InputError(f"costs: {field.name} is {value}; it must be a finite number of at least 0")
        for name in ("commission", "buy_tax", "sell_tax", "spread"):
            if getattr(self, name) >= 1:
                raise InputError(f"costs: {name} is {getattr(self, name)}; it is a fraction: 10 basis points are 0.001")

    @property
    def buy_side(self) -> float:
        """Cost of a buy as a fraction of its value, without quoted spread, fixed fee and impact."""
        return (1 + float(self.spread) / 2) * (1 + self.commission + self.buy_tax) - 1

    @property
    def sell_side(self) -> float:
        """Cost of a sell as a fraction of its value, without quoted spread, fixed fee and impact."""
        return 1 - (1 - float(self.spread) / 2) * (1 - self.commission - self.sell_tax)

    def charged_spread(self, quotes: np.ndarray) -> np.ndarray:
        """Full spread that orders pay half of, where `quotes` are the spreads quoted; of the same shape."""
        return np.minimum(float(self.spread) + self.quoted * quotes, 1.0)

    def scaled(self, share: float) -> Costs:
        """Copy with all trading costs multiplied by `share`; costs of holding are unchanged."""
        trading = (f.name for f in fields(self) if f.name not in _HOLDING)
        return replace(self, **{name: getattr(self, name) * share for name in trading})

    def parts(
        self, value: np.ndarray, impact: np.ndarray | float, equity: np.ndarray, quotes: np.ndarray | float = 0.0
    ) -> dict[str, np.ndarray]:
        """Break the costs of N orders down by kind, in money; the parts sum to what the account is charged.

        Parameters
        ----------
        value : ndarray of shape (N,)
            Value of each order at the price before costs; positive for buys.
        impact : ndarray of shape (N,), or 0
            Coefficient of ``value**1.5``; see `markets.accounting.market.Market`.
        equity : ndarray of shape (N,)
            Equity of the account at each fill.
        quotes : ndarray of shape (N,), or 0
            Spread quoted at each fill, as a fraction of the price.

        Returns
        -------
        dict of ndarray of shape (N,)
            ``commission``, ``tax``, ``spread``, ``fixed`` and ``impact`` (square-root plus quadratic).
        """
        size, bought, half = np.abs(value), value > 0, self.charged_spread(np.asarray(quotes)) / 2
        paid = np.where(bought, 1 + half, 1 - half)  # price relative to the mid price
        return {
            "commission": self.commission * size * paid,
            "tax": np.where(bought, self.buy_tax, self.sell_tax) * size * paid,
            "spread": half * size,
            "fixed": np.full_like(size, self.fixed),
            "impact": impact * size**1.5 + self.quadratic * size**2 / equity,
        }

    @classmethod
    def parse(cls, text: str | float | Costs) -> Costs:
        """Make costs from a text such as ``"10bp"``, ``"0.1%"``, ``"0"``, ``"quoted"`` or ``"2bp+quoted"``.

        A fraction is a commission per side, and so is a number; ``quoted`` adds half of the spread that the bars quote. `Costs`
        are returned as they are.

        Raises
        ------
        InputError
            When the text cannot be read.
        """
        if isinstance(text, Costs):
            return text
        if isinstance(text, (int, float)):
            return cls(commission=float(text))
        parts = [part.strip() for part in text.split("+")]
        rest = [part for part in parts if part != QUOTED]
        if len(rest) > 1 or len(parts) - len(rest) > 1:
            raise InputError(f"costs {text!r}: write one commission, quoted, or both, as in 2bp+quoted")
        commission = fraction(rest[0], "costs") if rest else 0.0
        return cls(commission=commission, quoted=float(len(parts) > len(rest)))


def fraction(text: str, what: str) -> float:
    """A fraction written as ``"10bp"`` or ``"0.1%"``. Only ``"0"`` needs no unit: 0.1 could be a fraction or per cent.

    Raises
    ------
    InputError
        When the text cannot be read. `what` names the value in the message.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(bps?|%)?\s*", text, re.ASCII)
    if not found or (found[2] is None and float(found[1]) != 0):
        raise InputError(f"{what} {text!r}: write 10bp or 0.1%, with the unit")
    return float(found[1]) * (1e-2 if found[2] == "%" else 1e-4)


@dataclass(frozen=True)
class Execution:
    """When orders are filled, how they are sized, and the limits of the account.

    Attributes
    ----------
    fill : {"auto", "next_open", "next_close", "same_close"}
        When a decision at a bar's close is filled. ``auto`` is the next open if the bars have opens, else the next close.
        ``same_close`` fills at the price that the decision is based on, which is not possible in practice; it is for
        comparison with tools that do so.
    sizing : {"pre_fee", "post_fee", "outlay", "whole_lots"}
        ``pre_fee`` sizes orders on equity before costs. ``post_fee`` sizes them so that target weights hold exactly after
        costs. With ``outlay``, an order plus its own cost equals the wanted change of value. ``whole_lots`` is ``outlay``
        with orders in multiples of `lot` shares and positions rounded towards zero.
    lot : float
        Shares per lot, for ``whole_lots``.
    cash : float
        Initial cash.
    borrowing : bool
        Whether cash may go below zero. If not, buys are cut to the available cash.
    shortfall : {"pro_rata", "smallest_first"}
        How buys are cut when cash is short. ``pro_rata``: covers of short positions come first, then all other buys are cut by
        the same fraction; if the cash does not even allow the covers, these are cut by the same fraction.
        ``smallest_first`` fills all buys from the smallest to the largest until the cash is used up, and between equal ones
        in the order of the symbols, as vectorbt does. Whole lots cannot all be cut alike: with ``whole_lots``, ``pro_rata``
        fills covers, then other buys, from the smallest to the largest.
    long_only : bool
        Whether short positions are forbidden.
    max_weight : float
        Largest absolute weight of one symbol; targets beyond it are clipped.
    gross, net : float
        Largest sum of absolute weights, and largest absolute sum of weights. Targets are scaled down to them, and orders cut
        that would exceed them together with what the plan leaves alone; nothing is sold because prices carried it over.
    turnover : float
        Largest sum of absolute weight changes per bar; all trades are scaled down to it.
    maintenance : float
        Margin requirement: an account whose equity at a bar's close is below this fraction of its gross holdings is
        liquidated at the next fill, whatever the plan says, and bears any price gap until then. 0 turns margin calls off;
        0.25 is usual for US stocks.
    delisting_haircut : float
        Fraction of its last price that a delisted symbol loses when it is paid out. 0.3 is the mean found for US stocks
        delisted for cause (Shumway, "The delisting bias in CRSP data", Journal of Finance 1997).

    Raises
    ------
    InputError
        When a value is unknown or out of range, or both `maintenance` and `turnover` are set.
    """

    fill: Literal["auto", "next_open", "next_close", "same_close"] = "auto"
    sizing: Literal["pre_fee", "post_fee", "outlay", "whole_lots"] = "pre_fee"
    lot: float = 1.0
    cash: float = 1_000_000.0
    borrowing: bool = False
    shortfall: Literal["pro_rata", "smallest_first"] = "pro_rata"
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
        if self.shortfall not in SHORTFALLS:
            raise InputError(f"execution: shortfall is {self.shortfall!r}; use {' or '.join(SHORTFALLS)}")
        for name in ("lot", "cash", "max_weight", "gross", "net", "turnover"):
            if not getattr(self, name) > 0:
                raise InputError(f"execution: {name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.maintenance < 1 or not 0 <= self.delisting_haircut <= 1:
            raise InputError("execution: maintenance must be in [0, 1) and delisting_haircut in [0, 1]")
        if self.maintenance and self.turnover < np.inf:
            raise InputError(
                "execution: a margin call must be able to exceed a turnover limit; set maintenance or turnover, not both"
            )
        if self.fill == "same_close":
            warnings.warn(
                "same_close fills at the price that the decision is based on; no one can trade so", stacklevel=3
            )
