"""Fixed rules, without learning: the baselines of every comparison."""

from __future__ import annotations

import numpy as np

from markets import Bars, InputError, Plan
from strategies.strategy import Strategy


class EqualWeight(Strategy):
    """The same weight in every listed symbol, rebalanced every bar."""

    name = "equal weight"

    def plan(self, bars: Bars) -> Plan:
        return Plan(_shared(bars.listed.astype(np.float64)))


class BuyAndHold(Strategy):
    """Buys the symbols listed at the first bar in equal weights, each when it first trades, and never rebalances."""

    name = "buy and hold"

    def plan(self, bars: Bars) -> Plan:
        aim = np.broadcast_to(_shared(bars.listed[:1].astype(np.float64)), bars.shape).copy()
        traded = bars.tradable.copy()
        traded[0] = False  # the first decision fills at the next bar, so the first bar counts as not yet bought
        bought = np.logical_or.accumulate(traded, axis=0)
        return Plan(aim, np.where(bought, np.inf, 0.0))


class InverseVolatility(Strategy):
    """Weights inversely proportional to the volatility of the last `window` bars, fully invested.

    Parameters
    ----------
    window : int
        Bars; at least 2.
    band : float
        Half-width of the no-trade zone around each weight, as a fraction of the equal weight 1 / A. It avoids trading on
        small changes of volatility.

    Raises
    ------
    InputError
        When `window` is below 2.
    """

    def __init__(self, window: int = 63, band: float = 0.1):
        if window < 2:
            raise InputError(f"window is {window}; it must be at least 2")
        self.window, self.band = window, band
        self.name = "inverse volatility"
        self.warmup = window + 1

    def plan(self, bars: Bars) -> Plan:
        aim = inverse_volatility(bars, self.window)
        return Plan(aim, np.full(bars.shape, self.band / bars.shape[1]))


class Momentum(Strategy):
    """Long-only time-series momentum (Moskowitz, Ooi and Pedersen 2012).

    Each listed symbol that rose over the last `window` bars gets the weight 1 / (number of listed symbols); the rest of the
    account stays in cash.

    Parameters
    ----------
    window : int
        Bars; at least 1.

    Raises
    ------
    InputError
        When `window` is below 1.
    """

    def __init__(self, window: int = 252):
        if window < 1:
            raise InputError(f"window is {window}; it must be at least 1")
        self.window = window
        self.name = f"momentum {window}"
        self.warmup = window

    def plan(self, bars: Bars) -> Plan:
        marks = bars.with_past().marks
        rose = np.zeros(marks.shape)
        with np.errstate(invalid="ignore"):
            rose[self.window :] = marks[self.window :] > marks[: -self.window]
        rose = rose[bars.past :] * bars.listed
        return Plan(rose / np.maximum(bars.listed.sum(axis=1, keepdims=True), 1))


def inverse_volatility(bars: Bars, window: int = 63) -> np.ndarray:
    """Weights (T, A) inversely proportional to the volatility of the last `window` bars.

    Volatility is the root mean square log return. A symbol without enough history has weight zero; rows in which no symbol
    has enough are equally weighted.
    """
    held = bars.with_past()
    marks, there = held.marks, np.isfinite(held.close)
    squares = np.zeros(marks.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares[1:] = np.nan_to_num(np.diff(np.log(marks), axis=0)) ** 2
    # Bars without a close are left out: counted as zero returns, they would make a symbol that stopped trading look safe.
    total, count = (_over_window(x, window) for x in (squares, there.astype(np.float64)))
    volatility = np.sqrt(np.maximum(total, 0) / np.maximum(count, 1))
    known = held.listed & (count >= window / 2) & (np.arange(len(marks))[:, None] >= window) & (volatility > 1e-8)
    weight = np.where(known, 1 / np.maximum(volatility, 1e-8), 0.0)
    none = weight.sum(axis=1) == 0
    weight[none] = held.listed[none]
    return _shared(weight[bars.past :])


def _over_window(values: np.ndarray, window: int) -> np.ndarray:
    """Rolling sums over the last `window` rows."""
    total = np.cumsum(values, axis=0)
    total[window:] -= total[:-window].copy()
    return total


def _shared(weight: np.ndarray) -> np.ndarray:
    """Rows scaled to sum to one; rows of zeros are unchanged."""
    total = weight.sum(axis=1, keepdims=True)
    return np.where(total > 0, weight / np.where(total > 0, total, 1.0), 0.0)
