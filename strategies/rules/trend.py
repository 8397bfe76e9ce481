"""Trend following on closing prices: moving-average cross and channel breakout.

Windows count a symbol's own bars, on which it has a close. A gap is no signal: in it a symbol is held as before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from markets import Bars, InputError, Plan
from markets.bars.traded import TradedBars
from strategies.strategy import Strategy

# Averages closer than this fraction are equal: a price that stands still has no trend, however its sums are rounded.
_EQUAL = 1e-12


class MovingAverageCross(Strategy):
    """Long-only cross of two moving averages (Brock, Lakonishok and LeBaron, "Simple technical trading rules and the stochastic
    properties of stock returns", Journal of Finance 1992).

    Each listed symbol whose fast average is above its slow one gets the weight 1 / (number of listed symbols); the rest of the
    account stays in cash::

        held_t = mean of the last `fast` closes > mean of the last `slow` closes, both up to and including t

    Parameters
    ----------
    fast, slow : int
        Bars; at least 1, and `fast` is less than `slow`. A symbol with fewer than `slow` bars is not held.

    Raises
    ------
    InputError
        When a window is out of range.
    """

    def __init__(self, fast: int = 50, slow: int = 200):
        if not 1 <= fast < slow:
            raise InputError(f"fast is {fast} and slow is {slow}; they must be at least 1, and fast less than slow")
        self.fast, self.slow = int(fast), int(slow)
        self.name = f"moving average cross {self.fast}/{self.slow}"
        self.warmup = self.slow - 1

    def plan(self, bars: Bars) -> Plan:
        return next(self.plans(bars, [{"fast": self.fast, "slow": self.slow}]))

    @classmethod
    def plans(cls, bars: Bars, settings: Sequence[Mapping[str, int]]) -> Iterator[Plan]:
        rules = [cls(**setting) for setting in settings]
        held = bars.with_past()
        traded = TradedBars(held.close)
        averages = MovingAverages(traded.packed(held.close))
        share = bars.listed / np.maximum(bars.listed.sum(axis=1, keepdims=True), 1)
        for rule in rules:
            above = averages(rule.fast) > averages(rule.slow) * (1 + _EQUAL)  # false where one is not known
            yield Plan((traded.unpacked(above)[bars.past :] == 1) * share)


class Donchian(Strategy):
    """Channel breakout: long after a new high of `window` bars, until a new low of half as many.

    Richard Donchian's four-week rule in the long-only form of the "turtles", who left on the low of ten days what they had bought
    on the high of twenty (Faith, "Way of the Turtle", 2007)::

        buy    close_t > max(high_{t-n}, ..., high_{t-1}),          n = window
        sell   close_t < min(low_{t-m}, ..., low_{t-1}),            m = max(window // 2, 1)

    Each listed symbol that was bought and not yet sold has the weight 1 / (number of listed symbols). Where bars have no highs
    and lows, closes stand for them. What was bought before the first bar held is not known: until the next buy or sell a
    decision depends on where the bars begin, however long the warm-up.

    Parameters
    ----------
    window : int
        Bars; at least 1.

    Raises
    ------
    InputError
        When `window` is below 1.
    """

    reads = ("high", "low")
    endless = True

    def __init__(self, window: int = 20):
        if window < 1:
            raise InputError(f"window is {window}; it must be at least 1")
        self.window = int(window)
        self.name = f"Donchian {self.window}"
        self.warmup = self.window

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        traded = TradedBars(held.close)
        close, high, low = (traded.packed(_or_close(values, held.close)) for values in (None, held.high, held.low))
        bought = close > pd.DataFrame(high).rolling(self.window).max().shift().to_numpy()
        sold = close < pd.DataFrame(low).rolling(max(self.window // 2, 1)).min().shift().to_numpy()
        row = np.arange(1, len(close) + 1)[:, None]
        # long while the last buy is later than the last sell; no bar is both
        long = np.maximum.accumulate(bought * row, axis=0) > np.maximum.accumulate(sold * row, axis=0)
        long = (traded.unpacked(long)[bars.past :] > 0) & bars.listed
        return Plan(long / np.maximum(bars.listed.sum(axis=1, keepdims=True), 1))


def _or_close(values: np.ndarray | None, close: np.ndarray) -> np.ndarray:
    """The values where they are known, else the closes."""
    return close if values is None else np.where(np.isfinite(values), values, close)


class MovingAverages:
    """Means over the last w rows, for many windows w.

    A sum over w rows is put together from sums over powers of two, which all windows share::

        S_2k(t) = S_k(t) + S_k(t − k)

    So a mean takes log2(w) additions, and its rounding depends on the w rows alone, not on where the data begin, as that of a
    difference of cumulative sums does.

    Parameters
    ----------
    values : ndarray of shape (T, A)
    """

    _MEMORY = 2**28  # bytes of means that are kept, those asked for last; each is quick to compute again

    def __init__(self, values: np.ndarray):
        self._powers = [values]
        self._means: OrderedDict[int, np.ndarray] = OrderedDict()

    def __call__(self, window: int) -> np.ndarray:
        """Mean over the last `window` rows, shape (T, A); NaN in the first ``window − 1`` rows."""
        if window in self._means:
            self._means.move_to_end(window)
            return self._means[window]
        values = self._powers[0]
        mean, rows = np.full(values.shape, np.nan), len(values) - window + 1
        if rows > 0:
            total, begin = np.zeros((rows, *values.shape[1:])), 0
            for k in range(window.bit_length()):
                if window >> k & 1:
                    total += self._power(k)[begin : begin + rows]
                    begin += 1 << k
            np.divide(total, window, out=mean[window - 1 :])
        self._means[window] = mean
        if len(self._means) > max(self._MEMORY // values.nbytes, 2):
            self._means.popitem(last=False)
        return mean

    def _power(self, k: int) -> np.ndarray:
        """Sums over 2**k rows, of which the first begins at row 0."""
        while len(self._powers) <= k:
            half, last = 1 << (len(self._powers) - 1), self._powers[-1]
            self._powers.append(last[half:] + last[:-half])
        return self._powers[k]
