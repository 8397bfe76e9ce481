"""What is listed, and when the market has a session, as far as the bars up to each row tell.

A symbol that does not trade for a night, a weekend or a quarter has not gone: whether it is still listed is a question of
time, measured on its own rhythm. It is *stale* when its last close is older than `MONTH` and older than `MISSED` times its
usual spacing, the median time between its last closes. And it is not listed before the first bar at which it can be traded:
until then it is a series to be read.

A *session* of the market is a bar by which at least half of the listed symbols have traded since the session before. So ten
stocks and a coin have their sessions on the stocks' days, and the coin's weekend is part of Monday.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numba import njit

_DAY = 86_400_000_000  # microseconds
MONTH = 30 * _DAY
# Closes that a symbol may miss before it is stale, and the number of spacings of which the usual one is the median.
MISSED, SPACINGS = 3, 5


class Listing:
    """Which symbols have been tradable and have closes that are not stale, as bars arrive; a state of fixed size.

    Parameters
    ----------
    symbols : int
        A.
    """

    def __init__(self, symbols: int):
        self._times = np.zeros((SPACINGS + 1, symbols), dtype=np.int64)  # ring of the last closes
        self._closes = np.zeros(symbols, dtype=np.int64)
        self.begun = np.zeros(symbols, dtype=np.bool_)  # whether it has been tradable

    def take(self, index: pd.DatetimeIndex, close: np.ndarray, tradable: np.ndarray) -> np.ndarray:
        """Go on by T bars; returns whether each symbol is listed, bool of shape (T, A)."""
        out = np.empty(close.shape, dtype=np.bool_)
        given = [array.view() for array in (index.as_unit("us").asi8, close, tradable)]
        for view in given:  # read-only arrays are a type of their own, for which numba would compile again
            view.setflags(write=False)
        _take(*given, self._times, self._closes, self.begun, out)
        return out


@njit(cache=True, nogil=True, error_model="numpy")
def _take(times, close, tradable, seen, closes, begun, out):
    for t in range(close.shape[0]):
        for i in range(close.shape[1]):
            begun[i] |= tradable[t, i]
            if not np.isnan(close[t, i]):
                seen[closes[i] % (SPACINGS + 1), i] = times[t]
                closes[i] += 1
                out[t, i] = begun[i]
            elif closes[i]:
                since = times[t] - seen[(closes[i] - 1) % (SPACINGS + 1), i]
                out[t, i] = begun[i] and (since <= MONTH or since <= MISSED * _usual(seen, closes[i], i))
            else:
                out[t, i] = False


@njit(cache=True, nogil=True, error_model="numpy")
def _usual(seen, closes, i):
    """Median (the upper of two) of a symbol's last spacings; 0 before its second close."""
    known, size = min(closes - 1, SPACINGS), SPACINGS + 1
    for k in range(1, known + 1):
        spacing = seen[(closes - k) % size, i] - seen[(closes - k - 1) % size, i]
        below, upto = 0, 0
        for j in range(1, known + 1):
            other = seen[(closes - j) % size, i] - seen[(closes - j - 1) % size, i]
            below += other < spacing
            upto += other <= spacing
        if below <= known // 2 < upto:
            return spacing
    return 0


@njit(cache=True, nogil=True)
def sessions(close, listed):
    """Whether each bar is a session of the market, bool of shape (T,), from closes (T, A) and what is listed."""
    out = np.zeros(close.shape[0], dtype=np.bool_)
    traded = np.zeros(close.shape[1], dtype=np.bool_)  # since the session before
    for t in range(close.shape[0]):
        news, count, all_listed = False, 0, 0
        for i in range(close.shape[1]):
            if not np.isnan(close[t, i]) and listed[t, i]:
                traded[i] = news = True
            count += traded[i] and listed[t, i]
            all_listed += listed[t, i]
        if news and 2 * count >= all_listed:
            out[t] = True
            traded[:] = False
    return out
