"""Positions: how long one stays open."""

from __future__ import annotations

import numpy as np
import pandas as pd

DAY_US = 86400e6


def holding_days(index: pd.DatetimeIndex, weights: np.ndarray) -> float:
    """Mean number of days that a position stays open on the same side.

    A position is open from the mark at which its weight is first not zero to the mark at which it is zero or has changed sides;
    one that is open at the last bar counts until then.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    weights : ndarray of shape (T, A)

    Returns
    -------
    float
        NaN if there was none.
    """
    side = np.zeros((len(weights) + 2, weights.shape[1]), dtype=np.int8)
    side[1:-1] = np.sign(weights)
    days = (index.as_unit("us").asi8 - index[:1].as_unit("us").asi8) / DAY_US
    days = np.append(days, days[-1])  # after the last bar all are closed
    changed = side[1:] != side[:-1]
    opened = np.count_nonzero(changed & (side[1:] != 0), axis=1)
    closed = np.count_nonzero(changed & (side[:-1] != 0), axis=1)
    return float(days @ (closed - opened) / opened.sum()) if opened.any() else np.nan
