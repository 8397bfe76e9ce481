"""Drawdowns: from a maximum of equity down, and until it is reached again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from backtests.metrics.view import Account

DAY = 86400.0


def drawdowns(account: Account, worst: int = 5) -> pd.DataFrame:
    """The deepest drawdowns, deepest first.

    Parameters
    ----------
    account : Backtest
    worst : int
        How many at most.

    Returns
    -------
    DataFrame
        Columns ``depth`` (positive, as a fraction of the maximum), ``start`` (time of the maximum), ``bottom``, ``end`` (the
        first bar at or above the maximum; NaT if there is none yet) and ``days`` from start to end, or to the last bar.
    """
    index, equity = account.index, account.equity
    first, last = _stretches(equity)
    lowest = np.array([i + int(equity[i:j].argmin()) for i, j in zip(first, last, strict=True)], dtype=int)
    top = first - 1
    depth = 1 - equity[lowest] / equity[top]
    order = np.argsort(-depth, kind="stable")[:worst]
    ended = last < len(index)
    end = pd.Series(index[np.minimum(last, len(index) - 1)])
    days = (end - pd.Series(index[top])).dt.total_seconds() / DAY
    table = pd.DataFrame(
        {"depth": depth, "start": index[top], "bottom": index[lowest], "end": end.where(ended), "days": days}
    )
    return table.iloc[order].reset_index(drop=True)


def longest_drawdown(index: pd.DatetimeIndex, equity: np.ndarray) -> float:
    """Days from a maximum of equity until it is reached again, or to the last bar: the most there were; 0 if it never fell."""
    first, last = _stretches(equity)
    if not len(first):
        return 0.0
    times = index.as_unit("us").asi8
    return float((times[np.minimum(last, len(index) - 1)] - times[first - 1]).max() / (1e6 * DAY))


def _stretches(equity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First bar of each stretch below the maximum so far, and the first bar after it."""
    below = np.concatenate([[False], equity < np.maximum.accumulate(equity), [False]])
    change = np.flatnonzero(below[1:] != below[:-1])
    return change[::2], change[1::2]
