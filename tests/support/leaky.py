"""Strategies with common kinds of lookahead, and two without. Examples for the lookahead check."""

import numpy as np
import pandas as pd

from markets import Bars
from strategies import Plan, Strategy


class Leaky(Strategy):
    """Weights are a signal clipped to [−1, 1], computed with pandas as in typical user code."""

    def signal(self, close: pd.DataFrame) -> pd.DataFrame:
        raise NotImplementedError

    def plan(self, bars: Bars) -> Plan:
        close = pd.DataFrame(bars.with_past().close)
        signal = self.signal(close).to_numpy()[bars.past :]
        return Plan(np.nan_to_num(np.clip(signal, -1, 1)) / len(bars.symbols))


class OneBarLeak(Leaky):
    """Trades at a close on the *next* return: a shift in the wrong direction."""

    name = "one-bar leak"

    def signal(self, close):
        return close.pct_change(fill_method=None).shift(-1) * 10


class BackFill(Leaky):
    """Fills gaps backwards, with the next price."""

    name = "back-fill"

    def signal(self, close):
        filled = close.bfill()
        return (filled / filled.shift(20) - 1) * 5


class CentredWindow(Leaky):
    """Smooths with a centred window, which includes future bars."""

    name = "centred window"

    def signal(self, close):
        return (close / close.rolling(11, center=True, min_periods=1).mean() - 1) * 5


class WholeSampleScore(Leaky):
    """Normalises by the mean and standard deviation of the whole sample."""

    name = "whole-sample z-score"

    def signal(self, close):
        returns = close.pct_change(20, fill_method=None)
        return (returns - returns.mean()) / returns.std()


class SmoothedLabel(Leaky):
    """Trades on a label that is smoothed forwards and backwards, like offline regime labels."""

    name = "smoothed label"

    def signal(self, close):
        market = close.pct_change(fill_method=None).mean(axis=1)
        forwards = market.ewm(span=20).mean()
        both_ways = forwards[::-1].ewm(span=20).mean()[::-1]
        return pd.DataFrame(np.sign(both_ways).to_numpy()[:, None] * np.ones(close.shape))


class MonthlyLeak(Leaky):
    """Uses the next return, but only at every 21st bar."""

    name = "monthly leak"

    def signal(self, close):
        signal = np.sign(close.pct_change(fill_method=None).shift(-1))
        return signal.iloc[::21].reindex(signal.index).ffill()


class Remembers(Leaky):
    """Stores the mean of the first sample it gets, so that its output does not change when later bars are cut off."""

    name = "remembers"
    mean = None

    def signal(self, close):
        if self.mean is None:
            self.mean = close.mean()
        return close / self.mean - 1


remembers = Remembers()


class CleanTrend(Leaky):
    """No lookahead: forward fill and a trailing window."""

    name = "clean trend"

    def signal(self, close):
        return (close.ffill() / close.ffill().rolling(50, min_periods=1).mean() - 1) * 5


class CleanScore(Leaky):
    """No lookahead: normalised by expanding statistics."""

    name = "clean score"

    def signal(self, close):
        returns = close.pct_change(20, fill_method=None)
        return (returns - returns.expanding(20).mean()) / returns.expanding(20).std()
