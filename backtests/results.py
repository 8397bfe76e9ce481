"""`Backtest`: what one account did over one span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.metrics import metrics
from strategies import Plan


@dataclass(frozen=True, eq=False)
class Backtest:
    """One account over one span.

    Attributes
    ----------
    name : str
    index : DatetimeIndex of shape (T,)
    symbols : tuple of str, length A
    equity, cost, traded : ndarray of shape (T,)
        Money; cost and traded value of the bar that ends at t.
    weights : ndarray of shape (T, A)
        Held at the marks.
    plan : Plan of shape (T, A)
    fingerprint : str or None
        Of the model, where it has one.
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

    @property
    def metrics(self) -> dict[str, float]:
        """See `backtests.metrics.METRICS` for the conventions."""
        return metrics(self.index, self.equity, self.cost, self.traded, self.weights)
