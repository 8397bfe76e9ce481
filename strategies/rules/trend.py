"""Trend following on closing prices: moving-average cross and channel breakout.

Windows count a symbol's own bars, on which it has a close. A gap is no signal: in it a symbol is held as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        """The plan of each of many settings; each average is computed once.

        Parameters
        ----------
        bars : Bars of shape (T, A)
        settings : sequence of mappings
            Arguments of the class, such as ``{"fast": 20, "slow": 100}``.

        Yields
        ------
        Plan
            Of shape (T, A), in the order of `settings`.
        """
        rules = [cls(**setting) for setting in settings]
        held = bars.with_past()
        traded = TradedBars(held.close)
        windows = {window for rule in rules for window in (rule.fast, rule.slow)}
        average = moving_averages(traded.packed(held.close), windows)
        share = bars.listed / np.maximum(bars.listed.sum(axis=1, keepdims=True), 1)
        for rule in rules:
            above = average[rule.fast] > average[rule.slow] * (1 + _EQUAL)  # false where one is not known
            yield Plan(np.where(traded.unpacked(above)[bars.past :] > 0, share, 0.0))


class Donchian(Strategy):
    """Channel breakout: long after a new high of `window` bars, until a new low of half as many.

    Richard Donchian's four-week rule in the long-only form of the "turtles", who left on the low of ten days what they had bought
    on the high of twenty (Faith, "Way of the Turtle", 2007)::

        buy    close_t > max(high_{t-n}, ..., high_{t-1}),          n = window
        sell   close_t < min(low_{t-m}, ..., low_{t-1}),            m = max(window // 2, 1)

    Each listed symbol that was bought and not yet sold has the weight 1 / (number of listed symbols). Where bars have no highs
    and lows, closes stand for them.

    Parameters
    ----------
    window : int
        Bars; at least 1.

    Raises
    ------
    InputError
        When `window` is below 1.
    """

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


def moving_averages(values: np.ndarray, windows: Iterable[int]) -> dict[int, np.ndarray]:
    """Means over the last w rows, for each of many windows w; NaN in the first w − 1 rows.

    A sum over w rows is put together from sums over powers of two, which all windows share::

        S_2k(t) = S_k(t) + S_k(t − k)

    So a mean takes log2(w) additions, and its rounding depends on the w rows alone, not on where the data begin, as that of a
    difference of cumulative sums does.

    Parameters
    ----------
    values : ndarray of shape (T, A)
    windows : iterable of int
        At least 1 each.

    Returns
    -------
    dict of int to ndarray of shape (T, A)
    """
    windows, powers = sorted(set(windows)), [values]
    while len(powers) < max(windows, default=1).bit_length():
        half = 1 << (len(powers) - 1)
        powers.append(powers[-1][half:] + powers[-1][:-half] if len(powers[-1]) > half else values[:0])
    found = {}
    for window in windows:
        mean, rows = np.full(values.shape, np.nan), len(values) - window + 1
        if rows > 0:
            total, begin = np.zeros((rows, *values.shape[1:])), 0
            for k, sums in enumerate(powers):
                if window >> k & 1:
                    total += sums[begin : begin + rows]
                    begin += 1 << k
            np.divide(total, window, out=mean[window - 1 :])
        found[window] = mean
    return found
