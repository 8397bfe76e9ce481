"""Fixed rules, without learning: the baselines of every comparison.

Windows count a symbol's own bars, on which it has a close. A gap is no signal: in it a symbol is held as before.
"""

from __future__ import annotations

import numpy as np

from markets import Bars, InputError, Plan
from markets.bars.traded import TradedBars
from strategies.strategy import Strategy


class EqualWeight(Strategy):
    """The same weight in every listed symbol, rebalanced every bar."""

    name = "equal weight"

    def plan(self, bars: Bars) -> Plan:
        return Plan(shared(bars.listed.astype(np.float64)))


class BuyAndHold(Strategy):
    """Buys the symbols listed at the first bar that has any, in equal weights, each when it next trades; never rebalances."""

    name = "buy and hold"
    endless = True

    def plan(self, bars: Bars) -> Plan:
        first = int(bars.listed.any(axis=1).argmax())
        aim, traded = np.zeros(bars.shape), bars.tradable.copy()
        aim[first:] = shared(bars.listed[first : first + 1].astype(np.float64))
        traded[: first + 1] = False  # the first decision fills at the next bar, so nothing counts as bought before
        bought = np.logical_or.accumulate(traded, axis=0)
        return Plan(np.where(bars.listed, aim, 0.0), np.where(bought, np.inf, 0.0))


class InverseVolatility(Strategy):
    """Weights inversely proportional to the volatility of the last `window` bars, fully invested; see `inverse_volatility`.

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
        held = bars.with_past()
        traded = TradedBars(held.close)
        close, rose = traded.packed(held.close), np.zeros(held.shape)
        with np.errstate(invalid="ignore"):
            rose[self.window :] = close[self.window :] > close[: -self.window]
        rose = np.where(bars.listed, traded.unpacked(rose)[bars.past :], 0.0)
        return Plan(rose / np.maximum(bars.listed.sum(axis=1, keepdims=True), 1))


def inverse_volatility(bars: Bars, window: int = 63) -> np.ndarray:
    """Weights (T, A) inversely proportional to the volatility of the last `window` bars.

    Volatility is the root mean square log return of a symbol's own bars, per bar of the market: one that trades less often does
    not look riskier. In a gap it is that of the last own bar: one that stops does not look safe. A symbol without enough history
    has weight zero; rows in which no symbol has enough are equally weighted.
    """
    held = bars.with_past()
    traded = TradedBars(held.close)
    close = traded.packed(held.close)
    squares = np.zeros(close.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        squares[1:] = np.nan_to_num(np.diff(np.log(close), axis=0)) ** 2
    span = traded.spans(window)
    span[:window] += 1  # the first bar has a return of 0
    closes = _over_window(np.isfinite(close).astype(np.float64), window)
    total, count, span = (traded.unpacked(x) for x in (_over_window(squares, window), closes, span))
    volatility = np.sqrt(np.maximum(total, 0) / np.maximum(span, 1))
    begun = np.isfinite(held.close).any(axis=1).cumsum() > window  # bars of the market, whoever trades in them
    known = held.listed & (count >= window / 2) & begun[:, None] & (volatility > 1e-8)
    weight = np.zeros(held.shape)
    weight[known] = 1 / volatility[known]
    none = ~known.any(axis=1)
    weight[none] = held.listed[none]
    return shared(weight[bars.past :])


def _over_window(values: np.ndarray, window: int) -> np.ndarray:
    """Rolling sums over the last `window` rows."""
    total = np.cumsum(values, axis=0)
    total[window:] -= total[:-window].copy()
    return total


def shared(weight: np.ndarray) -> np.ndarray:
    """Rows scaled to sum to one; rows of zeros are unchanged."""
    total = weight.sum(axis=1, keepdims=True)
    return np.where(total > 0, weight / np.where(total > 0, total, 1.0), 0.0)
