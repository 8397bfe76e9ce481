"""`Backtest`, the path of one account over one span, and `Backtests`, several on the same bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.metrics import metrics
from markets import Bars, Costs, Execution, Ledger, RegimePath
from strategies import Plan


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

    def table(self) -> pd.DataFrame:
        """Metrics, one row per strategy; see `backtests.metrics.METRICS`."""
        return pd.DataFrame({b.name: b.metrics for b in self.backtests}).T

    def ledger(self, name: str | int) -> Ledger:
        """The trades of one strategy, and the attribution of its equity."""
        return Ledger.of(self.bars, self[name].plan, costs=self.costs, execution=self.execution)
