"""`TradedBars`: arrays on each symbol's own bars, without the gaps between them."""

from __future__ import annotations

import numpy as np


class TradedBars:
    """The bars on which each symbol has a close. Windows and returns are counted on these, since a gap is no return of 0.

    Without gaps, both methods return their argument.

    Parameters
    ----------
    close : ndarray of shape (T, A)
        NaN in gaps.
    """

    def __init__(self, close: np.ndarray):
        self._there = np.isfinite(close)
        self._dense = bool(self._there.all())
        self._last = np.zeros((0, 0), dtype=np.int64) if self._dense else self._there.cumsum(axis=0) - 1

    def spans(self, window: int) -> np.ndarray:
        """Bars of the market over which the last `window` own bars reach, shape (T, A), on own bars as in `packed`.

        A bar of the market is one on which any symbol has a close. Per such bar, variances of symbols that trade at different
        times are over the same time. Without gaps, `window` bars are `window` bars. At the start it is the bars since the first.
        """
        rows = np.broadcast_to(self._there.any(axis=1).cumsum()[:, None].astype(np.float64), self._there.shape)
        rows = self.packed(rows)
        return rows - np.concatenate([np.repeat(rows[:1], min(window, len(rows)), axis=0), rows[:-window]])

    def packed(self, values: np.ndarray) -> np.ndarray:
        """Row k of column i is the value on the (k + 1)-th own bar of symbol i; NaN in the rows left over."""
        if self._dense:
            return values
        out = np.full(values.shape, np.nan)
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
        out[self._last[self._there], columns[self._there]] = values[self._there]
        return out

    def unpacked(self, values: np.ndarray) -> np.ndarray:
        """Inverse of `packed`, with the value of the last own bar repeated in gaps; NaN before a symbol's first bar."""
        if self._dense:
            return values
        return np.where(self._last >= 0, np.take_along_axis(values, np.maximum(self._last, 0), axis=0), np.nan)
