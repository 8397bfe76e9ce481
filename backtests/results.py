"""`Backtest`: the path of one account over one span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.metrics import metrics
from markets import Execution
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
    kept : ndarray of shape (T,)
        Fraction of the wanted gross weight that the limits of the account leave; 1 where they do not bind. See
        `kept_by_limits`.
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
    kept: np.ndarray | None = None
    remark: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """Performance metrics; `backtests.metrics.METRICS` states the conventions."""
        return metrics(self.index, self.equity, self.cost, self.traded, self.weights)


def kept_by_limits(plan: Plan, execution: Execution) -> np.ndarray:
    """Fraction of the gross weight wanted at each bar that the limits on weights leave, shape (T,); 1 where none is wanted.

    The limits are those of `Execution` on one weight, on shorts, and on gross and net weight; without borrowing, the net weight
    is at most 1. The turnover limit, which only delays, is not one of them.
    """
    aim = plan.aim
    allowed = np.clip(aim, 0.0 if execution.long_only else -execution.max_weight, execution.max_weight)
    wanted, gross, net = np.abs(aim).sum(axis=1), np.abs(allowed).sum(axis=1), allowed.sum(axis=1)
    highest = execution.net if execution.borrowing else min(execution.net, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.minimum(execution.gross / gross, np.where(net > 0, highest, execution.net) / np.abs(net))
        kept = gross * np.minimum(scale, 1.0) / wanted
    kept = np.where(wanted > 0, np.where(gross > 0, kept, 0.0), 1.0)
    return np.where(kept > 1 - 1e-9, 1.0, kept)  # rounding
