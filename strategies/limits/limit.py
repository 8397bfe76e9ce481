"""`Limit`: the base class of wrappers that bound what any strategy wants.

A limit is itself a strategy, so limits are composed by wrapping: ``WeightLimit(VolatilityTarget(Momentum(252), 0.1), 0.2)``
first sets the volatility, then cuts weights. What adapts, a meta-policy too, can be wrapped: `adapt` wraps what adapted.

Limits bound the *targets* of a plan. Between trades prices move the weights of an account past them; the limits of
`markets.Execution` hold at each fill instead. Where a limit binds, a no-trade zone without end would keep it from being
traded, so it becomes none there. A limit that remembers does so from the first bar held, whatever bars are shown.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from markets import Bars, InputError, Plan
from strategies.strategy import Strategy, planned


class Adaptive(Protocol):
    """Anything with `adapt`: a `Strategy`, or a meta-policy returned by a meta-learner."""

    name: str

    def adapt(self, bars: Bars) -> Strategy: ...


@dataclass(eq=False)
class Limit(Strategy):
    """Base class: a subclass states its settings as fields, its `label`, and what it makes of a plan.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
        What is limited.
    """

    strategy: Strategy | Adaptive

    def __post_init__(self) -> None:
        self.check()
        self.name = f"{self.strategy.name}, {self.label}"
        self.warmup = getattr(self.strategy, "warmup", 0) + self.memory
        self.adapts = getattr(self.strategy, "adapts", True)

    def check(self) -> None:
        """Raise `InputError` when a setting is out of range."""

    @property
    def label(self) -> str:
        """The limit in a few words, for the name."""
        raise NotImplementedError

    @property
    def memory(self) -> int:
        """Bars that the limit reads before those that the strategy reads."""
        return 0

    def trimmed(self, bars: Bars) -> Bars:
        """`bars` with the history that what is limited reads at the first row that the limit does; see `Strategy.trimmed`."""
        if not isinstance(self.strategy, Strategy):
            return bars
        return earlier(self.strategy, bars, bars.without_past(keep=self.memory).past)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, without the strategy, as JSON can hold them."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "strategy"}

    @property
    def seen_until(self) -> pd.Timestamp | None:
        """Last bar used to train, select or adapt what is limited."""
        return getattr(self.strategy, "seen_until", None)

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the strategy's fingerprint and the settings; None if it has none."""
        inner = getattr(self.strategy, "fingerprint", None)
        text = json.dumps([type(self).__name__, self.settings, inner], sort_keys=True)
        return None if inner is None else hashlib.sha256(text.encode()).hexdigest()

    @property
    def remark(self) -> str:
        return getattr(self.strategy, "remark", "")

    def adapt(self, bars: Bars) -> Strategy:
        """The same limit on the adapted strategy; itself if that does not adapt."""
        return self.on(self.strategy.adapt(bars)) if self.adapts else self

    def on(self, strategy: Strategy) -> Self:
        """The same limit on another strategy."""
        other = copy.copy(self)
        other.strategy = strategy
        other.__post_init__()
        return other

    def wanted(self, bars: Bars) -> Plan:
        """The plan of what is limited.

        Raises
        ------
        InputError
            When it has to adapt first.
        """
        if not isinstance(self.strategy, Strategy):
            raise InputError(f"{self.name}: adapt it to bars first, as in limit.adapt(bars).plan(bars)")
        return planned(self.strategy, bars)


def earlier(strategy: Strategy, bars: Bars, rows: int) -> Bars:
    """`bars` with the history that a strategy reads at the row `rows` before the first visible one."""
    held = bars.with_past()
    window = strategy.trimmed(held.rows(bars.past - rows, len(held))).with_past()
    return window.rows(len(window) - len(bars), len(window))


def scaled(plan: Plan, factor: np.ndarray) -> Plan:
    """A plan whose aims and no-trade zones are multiplied by `factor`, of a shape that broadcasts to (T, A).

    A zone without end stays where the factor is 1 or more, and becomes none where it is less.
    """
    band = plan.band
    if band is not None:
        endless = np.isinf(band)
        band = np.where(endless & (factor >= 1), np.inf, np.where(endless, 0.0, band) * factor)
    return replace(plan, aim=plan.aim * factor, band=band)


def market_rows(bars: Bars) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``with_past()`` on which any symbol has a close, since others are no bars to a limit that counts bars.

    Returns
    -------
    rows : ndarray of int
    last : ndarray of int, shape (T,)
        For each visible row the place in `rows` of the last of them; −1 before the first.
    """
    rows = np.flatnonzero(np.isfinite(bars.with_past().close).any(axis=1))
    return rows, rows.searchsorted(np.arange(bars.past, bars.past + len(bars)), side="right") - 1


def not_yet_traded(at: np.ndarray, tradable: np.ndarray) -> np.ndarray:
    """Whether each symbol could not trade since the last decision in `at`, bool of shape (T, A).

    A decision of row s is filled at the next bar on which the symbol is tradable, so the rows from s to before that bar are
    such.

    Parameters
    ----------
    at : ndarray of bool, shape (T,)
        Rows of decisions.
    tradable : ndarray of bool, shape (T, A)
    """
    rows = np.arange(len(at))
    decided = np.maximum.accumulate(np.where(at, rows, -1))
    traded = np.maximum.accumulate(np.where(tradable, rows[:, None], -1), axis=0)
    return (decided >= 0)[:, None] & (traded <= decided[:, None])
