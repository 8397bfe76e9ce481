"""`Backtest`, the path of one account over one span, and `Backtests`, several on the same bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.metrics import metrics
from markets import Bars, Costs, Execution, Ledger, RegimePath
from strategies import Plan


@dataclass(frozen=True)
class Fold:
    """A stretch of a backtest, and what the strategy that traded it had learnt from.

    Attributes
    ----------
    span : pair of Timestamp
        First and last bar of the stretch, at whose closes it decided.
    trained_until : Timestamp or None
        Last bar that the model was trained on; None for rules.
    adapted_until : Timestamp or None
        Last bar of the last adaptation within the stretch; None for strategies that do not adapt.
    """

    span: tuple[pd.Timestamp, pd.Timestamp]
    trained_until: pd.Timestamp | None = None
    adapted_until: pd.Timestamp | None = None


@dataclass(frozen=True)
class Event:
    """An adaptation, and what it changed: the aim at one bar before it, and on the same bar after it.

    Attributes
    ----------
    time : Timestamp
        Last bar that it was made from.
    kind : str
        ``trained`` for a new model, ``adapted`` for one that was adapted to later bars.
    change : float
        Sum over symbols of the absolute change of the aim, as a fraction of equity; NaN for the first.
    symbol : str
        Symbol whose aim changed most; empty if none did.
    before, after : float
        Its aim, as a fraction of equity.
    """

    time: pd.Timestamp
    kind: str
    change: float = np.nan
    symbol: str = ""
    before: float = np.nan
    after: float = np.nan

    @property
    def what(self) -> str:
        """What changed, in words."""
        if np.isnan(self.change):
            return f"{self.kind}, the first"
        if not self.symbol:
            return f"{self.kind}, and wants the same"
        return f"{self.kind}: {self.symbol} {self.before:.1%} → {self.after:.1%}, {self.change:.1%} of equity in all"


@dataclass(frozen=True, eq=False)
class Backtest:
    """The backtest of one strategy.

    Attributes
    ----------
    name : str
        Name of the strategy.
    index : DatetimeIndex of shape (T,)
    symbols : tuple of str, length A
    equity, cost, traded : ndarray of shape (T,)
        In money: equity at the mark of bar t, and the cost and traded value of the bar that ends at t.
    weights : ndarray of shape (T, A)
        Positions at the marks, as fractions of equity.
    plan : Plan of shape (T, A)
    fingerprint : str or None
        SHA-256 of the model; None for strategies without one.
    scaled : ndarray of shape (T,)
        Fraction of the wanted gross weight that the limits left; see `markets.accounting.simulate.Paths`.
    afforded : ndarray of shape (T,)
        Fraction of that which the cash allowed.
    remark : str
        What the strategy says of itself, such as why a policy holds its base; may be empty.
    known : ndarray of datetime64, shape (T,), or None
        Latest bar that the decision behind the positions at the mark of bar t was made from: the bar before, or the same one
        where orders are filled at the close that they were decided at. NaT at the first mark; in UTC if times have a zone.
    folds : tuple of Fold
        Stretches between trainings, in order; one for a strategy that is not trained within the backtest.
    events : tuple of Event
        Adaptations, in order.
    """

    name: str
    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    equity: np.ndarray
    cost: np.ndarray
    traded: np.ndarray
    weights: np.ndarray
    plan: Plan
    fingerprint: str | None = None
    scaled: np.ndarray | None = None
    afforded: np.ndarray | None = None
    remark: str = ""
    known: np.ndarray | None = None
    folds: tuple[Fold, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def returns(self) -> np.ndarray:
        """Simple returns from mark to mark, net of all costs, shape (T - 1,); 0 after ruin."""
        before = self.equity[:-1]
        alive = before > 0
        return np.where(alive, self.equity[1:] / np.where(alive, before, 1.0) - 1, 0.0)

    @property
    def metrics(self) -> dict[str, float]:
        """Performance metrics; `backtests.metrics.METRICS` states the conventions."""
        return metrics(self.index, self.equity, self.cost, self.traded, self.weights)


@dataclass(frozen=True, eq=False)
class Backtests:
    """Backtests of several strategies on the same bars, with the same costs and execution.

    Index it by name or position to get a `Backtest`.

    Attributes
    ----------
    backtests : tuple of Backtest
    bars : Bars
    costs : Costs
    execution : Execution
    every : int
        Bars between adaptations.
    regimes : RegimePath or None
        Shown in the report.
    """

    backtests: tuple[Backtest, ...]
    bars: Bars
    costs: Costs
    execution: Execution
    every: int
    regimes: RegimePath | None = None

    def __iter__(self) -> Iterator[Backtest]:
        return iter(self.backtests)

    def __len__(self) -> int:
        return len(self.backtests)

    def __getitem__(self, name: str | int) -> Backtest:
        if isinstance(name, int):
            return self.backtests[name]
        found = [b for b in self.backtests if b.name == name]
        if not found:
            raise KeyError(f"no backtest {name!r}; there are {', '.join(b.name for b in self)}")
        return found[0]

    @property
    def benchmark(self) -> str:
        """Name of the strategy that others are compared with: equal weight, or else the first rule, or else the first."""
        names = [b.name for b in self.backtests]
        rules = [b.name for b in self.backtests if b.fingerprint is None and not b.events]
        return "equal weight" if "equal weight" in names else (rules or names)[0]

    def table(self) -> pd.DataFrame:
        """Metrics, one row per strategy; see `backtests.metrics.METRICS`."""
        return pd.DataFrame({b.name: b.metrics for b in self.backtests}).T

    def ledger(self, name: str | int) -> Ledger:
        """The trades of one strategy, and the attribution of its equity."""
        return Ledger.of(self.bars, self[name].plan, costs=self.costs, execution=self.execution)
