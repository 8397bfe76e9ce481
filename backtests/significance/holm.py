"""Holm's correction of p-values for their number ("A simple sequentially rejective multiple test procedure", 1979)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from markets import InputError


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values: those of at most α are found at level α, however the tests hang together.

    The i-th smallest of n, counted from 0, is multiplied by ``n − i``; none is below one that was smaller, or above 1.

    Parameters
    ----------
    p_values : sequence of float, length n
        NaN is no test, stays NaN and is not counted.

    Returns
    -------
    ndarray of shape (n,)
        In the order given.

    Raises
    ------
    InputError
        When one is not between 0 and 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise InputError(f"p-values are {list(p_values)}; each must be between 0 and 1")
    adjusted, order = np.full(len(p), np.nan), np.argsort(p)[: int(np.isfinite(p).sum())]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted
