"""`Backtest`: the path of one account over one span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.metrics import metrics
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
