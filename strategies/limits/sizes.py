"""Limits on the size of positions: of one symbol, of a group of symbols, and of the whole book.

They bound targets. The account is within them after a fill, and beyond them when prices have moved since, when the plan's rate
lets it trade only part of the way, and, for groups and the book, by as much as no-trade zones allow: what `BuyAndHold` bought
within a limit on groups is not sold when it has grown beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from markets import Bars, InputError, Plan
from strategies.limits.limit import Limit, scaled


@dataclass(eq=False)
class WeightLimit(Limit):
    """No target beyond ±`largest`, no-trade zone included: the zone ``aim ± band`` is cut to ``[−largest, largest]``.

    What is cut is not given to other symbols: it stays in cash.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    largest : float
        Absolute weight, above 0.

    Raises
    ------
    InputError
        When `largest` is not above 0.
    """

    largest: float = 0.1

    def check(self) -> None:
        _above_zero("weight limit", self.largest)

    @property
    def label(self) -> str:
        return f"weights to {self.largest:.3g}"

    def plan(self, bars: Bars) -> Plan:
        wanted = self.wanted(bars)
        if wanted.band is None:
            return replace(wanted, aim=np.clip(wanted.aim, -self.largest, self.largest))
        low, high = (np.clip(wanted.aim + side * wanted.band, -self.largest, self.largest) for side in (-1, 1))
        cut = (low > wanted.aim - wanted.band) | (high < wanted.aim + wanted.band)
        aim, band = np.where(cut, (low + high) / 2, wanted.aim), np.where(cut, (high - low) / 2, wanted.band)
        return replace(wanted, aim=aim, band=band)


@dataclass(eq=False)
class LeverageLimit(Limit):
    """Gross weight, the sum of absolute weights, scaled down to `largest` where it is more.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    largest : float
        Above 0; 1 is all of the equity.

    Raises
    ------
    InputError
        When `largest` is not above 0.
    """

    largest: float = 1.0

    def check(self) -> None:
        _above_zero("leverage limit", self.largest)

    @property
    def label(self) -> str:
        return f"leverage to {self.largest:.3g}"

    def plan(self, bars: Bars) -> Plan:
        wanted = self.wanted(bars)
        return scaled(wanted, _factor(np.abs(wanted.aim).sum(axis=1, keepdims=True), self.largest))


@dataclass(eq=False)
class GroupLimit(Limit):
    """The gross weight of each group of symbols, such as a sector, scaled down to `largest` where it is more.

    What is cut is not given to other groups: it stays in cash. A symbol without a group is not limited.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    groups : mapping of str to str
        The group of each symbol.
    largest : float
        Above 0.

    Raises
    ------
    InputError
        When `largest` is not above 0, there are no groups, or, in `plan`, a symbol of theirs is not in the bars.
    """

    groups: Mapping[str, str] = field(default_factory=dict)
    largest: float = 0.3

    def check(self) -> None:
        _above_zero("group limit", self.largest)
        if not self.groups:
            raise InputError("group limit: there are no groups; give some, as in groups={'AAPL': 'technology'}")
        self.groups = dict(self.groups)

    @property
    def label(self) -> str:
        return f"groups to {self.largest:.3g}"

    def plan(self, bars: Bars) -> Plan:
        unknown = [symbol for symbol in self.groups if symbol not in bars.symbols]
        if unknown:
            raise InputError(
                f"{self.name}: {unknown[0]!r} has a group, but {bars.name} has no such symbol; it has {', '.join(bars.symbols)}"
            )
        wanted = self.wanted(bars)
        factor = np.ones(bars.shape)
        for group in dict.fromkeys(self.groups.values()):
            members = [self.groups.get(symbol) == group for symbol in bars.symbols]
            gross = np.abs(wanted.aim[:, members]).sum(axis=1, keepdims=True)
            factor[:, members] = _factor(gross, self.largest)
        return scaled(wanted, factor)


def _factor(gross: np.ndarray, largest: float) -> np.ndarray:
    return largest / np.maximum(gross, largest)


def _above_zero(name: str, largest: float) -> None:
    if not 0 < largest < np.inf:
        raise InputError(f"{name}: largest is {largest}; it must be above 0 and finite")
