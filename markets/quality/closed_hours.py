"""The hours and days at which a symbol is closed while others of the panel trade, such as a stock beside a coin.

They are not declared, so they are read from the bars: a bar is absent because the symbol is closed if bars at the same time
of the day, or at the same time of the week, are absent more often than not in the `WINDOW` days or weeks around it. The
window follows changes of daylight saving time; days and weeks without any close tell nothing of hours, and are left out.
Bars that are absent at random are told from closed hours by the closes that are then at such times.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

WINDOW = 4  # days or weeks on either side
KEPT = 0.1  # largest fraction of the bars at closed times that may have a close
DAY = 86_400_000_000  # in microseconds
MONDAY = 4 * DAY  # 1970-01-05


def closed_bars(index: pd.DatetimeIndex, absent: np.ndarray) -> np.ndarray:
    """Whether each bar of a panel is outside a symbol's own hours and days.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    absent : ndarray of bool, shape (T,)
        Whether the symbol has no close.

    Returns
    -------
    ndarray of bool, shape (T,)
    """
    if not absent.any() or absent.all():
        return np.zeros(len(index), dtype=bool)
    times = index.tz_localize(None).as_unit("us").asi8
    return absent & (_recurring(times, DAY, absent) | _recurring(times - MONDAY, 7 * DAY, absent))


def _recurring(times: np.ndarray, period: int, absent: np.ndarray) -> np.ndarray:
    """Whether most bars at the same time of nearby periods are absent, shape (T,)."""
    number = np.unique(times // period, return_inverse=True)[1]
    clocks, clock = np.unique(times % period, return_inverse=True)
    periods = int(number[-1]) + 1
    if periods * len(clocks) > 10 * len(times):  # times that do not recur
        return np.zeros(len(times), dtype=bool)
    there, gone = np.zeros((2, periods, len(clocks)), dtype=np.int64)
    np.add.at(there, (number, clock), ~absent)
    np.add.at(gone, (number, clock), absent)
    traded = np.flatnonzero(there.any(axis=1))
    there, gone = _around(there[traded]), _around(gone[traded])
    nearest = np.clip(traded.searchsorted(number, side="right") - 1, 0, None)
    closed = ((gone > there) & (gone > 1))[nearest, clock]
    return closed & (np.count_nonzero(closed & ~absent) <= KEPT * np.count_nonzero(closed))


def _around(counts: np.ndarray) -> np.ndarray:
    """Sums of the rows up to `WINDOW` before and after each row."""
    sums = np.concatenate([np.zeros((1, counts.shape[1]), dtype=np.int64), np.cumsum(counts, axis=0)])
    rows = np.arange(len(counts))
    return sums[np.minimum(rows + WINDOW + 1, len(counts))] - sums[np.maximum(rows - WINDOW, 0)]
