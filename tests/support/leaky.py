"""Strategies that look ahead, each in a way that happens, and two that do not. Shipped as examples for the check."""

import numpy as np
import pandas as pd

from markets import Bars
from strategies import Plan, Strategy


class Leaky(Strategy):
    """Weights are the clipped signs of a signal made by pandas, as user code often is."""

    def signal(self, close: pd.DataFrame) -> pd.DataFrame:
        raise NotImplementedError

    def plan(self, bars: Bars) -> Plan:
        close = pd.DataFrame(bars.with_past().close)
        signal = self.signal(close).to_numpy()[bars.past :]
        return Plan(np.nan_to_num(np.clip(signal, -1, 1)) / len(bars.symbols))


class OneBarLeak(Leaky):
    """Trades at a close on that close's *next* return: shifted the wrong way."""

    name = "one-bar leak"

    def signal(self, close):
        return close.pct_change(fill_method=None).shift(-1) * 10


class BackFill(Leaky):
    """Fills holes from behind, where the price that comes next stands."""

    name = "back-fill"

    def signal(self, close):
        filled = close.bfill()
        return (filled / filled.shift(20) - 1) * 5


class CentredWindow(Leaky):
    """Smooths by a window that is centred, half of it in the future."""

    name = "centred window"

    def signal(self, close):
        return (close / close.rolling(11, center=True, min_periods=1).mean() - 1) * 5


class WholeSampleScore(Leaky):
    """Normalises by the mean and the deviation of the whole sample."""

    name = "whole-sample z-score"

    def signal(self, close):
        returns = close.pct_change(20, fill_method=None)
        return (returns - returns.mean()) / returns.std()


class SmoothedLabel(Leaky):
    """Holds what a label says that was smoothed forwards and backwards, as offline regime labels are."""

    name = "smoothed label"

    def signal(self, close):
        market = close.pct_change(fill_method=None).mean(axis=1)
        forwards = market.ewm(span=20).mean()
        both_ways = forwards[::-1].ewm(span=20).mean()[::-1]
        return pd.DataFrame(np.sign(both_ways).to_numpy()[:, None] * np.ones(close.shape))


class MonthlyLeak(Leaky):
    """Looks at the next return too, but trades on it every 21st bar only."""

    name = "monthly leak"

    def signal(self, close):
        signal = np.sign(close.pct_change(fill_method=None).shift(-1))
        return signal.iloc[::21].reindex(signal.index).ffill()


class Remembers(Leaky):
    """Keeps the mean of the first sample that it is shown, and seems the same whatever is cut off after."""

    name = "remembers"
    mean = None

    def signal(self, close):
        if self.mean is None:
            self.mean = close.mean()
        return close / self.mean - 1


remembers = Remembers()


class CleanTrend(Leaky):
    """The same tools, used forwards only."""

    name = "clean trend"

    def signal(self, close):
        return (close.ffill() / close.ffill().rolling(50, min_periods=1).mean() - 1) * 5


class CleanScore(Leaky):
    """Normalised by what was known."""

    name = "clean score"

    def signal(self, close):
        returns = close.pct_change(20, fill_method=None)
        return (returns - returns.expanding(20).mean()) / returns.expanding(20).std()
