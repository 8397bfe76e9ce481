"""Cross-sectional long–short rules computed from prices alone.

Each rule scores every symbol and holds positions proportional to the score, with net exposure zero and gross exposure one::

    z = score, standardised over the symbols that have one, then averaged over bars (weights halve every `halflife` bars)
    aim ∝ y − mean of y,   y = (z − mean of z) / σ

σ is the root mean square log return over `VOLATILITY` bars, per bar of the market, so that symbols carry about the same risk.
Bars are a symbol's own, on which it has a close. A gap is no signal: in it a symbol keeps its score, and is held by it. The rules
are weak on their own; they are meant as small tilts added to a base strategy (Brandt, Santa-Clara and Valkanov, "Parametric
portfolio policies: exploiting characteristics in the cross-section of equity returns", Review of Financial Studies 2009).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from markets import Bars, InputError, Plan
from markets.bars.traded import TradedBars
from markets.regimes import market_returns
from strategies.strategy import Strategy

VOLATILITY = 63  # bars
_CUT = 6  # averages are truncated after this many halflives, so that each row depends on a fixed number of past bars


class LongShort(Strategy):
    """Base class of the rules: dollar-neutral positions proportional to the standardised score of each symbol.

    Parameters
    ----------
    lookback : int
        Largest number of bars that `score` reads.
    halflife : int
        Halflife, in bars, of the exponential average of past scores. A longer one lowers turnover.

    Raises
    ------
    InputError
        When `halflife` is below 1.
    """

    def __init__(self, lookback: int, halflife: int):
        if halflife < 1:
            raise InputError(f"{self.name}: the halflife is {halflife}; it must be at least 1 bar")
        self.halflife = halflife
        self._scored, self._averaged = max(lookback, VOLATILITY), _CUT * halflife
        self.warmup = self._scored + self._averaged

    @abstractmethod
    def scores(self, returns: np.ndarray, there: np.ndarray, market: np.ndarray) -> list[np.ndarray]:
        """Scores of each symbol at each of its own bars, to be standardised and added; higher scores are held long.

        Column i of each array is on the bars of symbol i, without its gaps (`markets.bars.traded`).

        Parameters
        ----------
        returns : ndarray of shape (T, A)
            Log returns from bar to bar; 0 where unknown.
        there : ndarray of bool, shape (T, A)
            Where the return is known.
        market : ndarray of shape (T, A)
            Log return of the market over the same time; 0 where unknown.

        Returns
        -------
        list of ndarray of shape (T, A)
            NaN where there is no score.
        """

    def plan(self, bars: Bars) -> Plan:
        full = bars.with_past()
        # A score that is averaged was standardised across all symbols on its own row, so all have their own bars before it.
        first = bars.without_past(keep=self._averaged)
        held = full.rows(bars.past - first.past, len(full)).without_past(keep=self._scored + 1).with_past()
        traded = TradedBars(held.close)
        close = traded.packed(held.close)
        there = np.zeros(close.shape, dtype=bool)
        there[1:] = np.isfinite(close[:-1]) & np.isfinite(close[1:])
        returns = np.zeros(close.shape)
        returns[1:][there[1:]] = np.log(close[1:][there[1:]] / close[:-1][there[1:]])
        volatility = traded.unpacked(_volatility(returns, there, traded.spans(VOLATILITY)))
        live = full.listed[-len(held) :] & np.isfinite(volatility)
        # sessions, and what symbols missed since, go on from the first bar
        market = traded.packed(TradedBars(full.close).unpacked(_market(full))[-len(held) :])
        z = np.zeros(close.shape)
        for score in self.scores(returns, there, market):
            score = np.where(live, traded.unpacked(score), np.nan)
            live &= np.isfinite(score)
            z += standardised(score)
        z = traded.packed(standardised(np.where(live, z, np.nan)))
        smooth = np.zeros(z.shape)
        for lag in range(min(self._averaged, len(z))):
            smooth[lag:] += 0.5 ** (lag / self.halflife) * z[: len(z) - lag]
        aim = _centred(_centred(traded.unpacked(smooth), live) / np.where(live, volatility, 1.0), live)
        gross = np.abs(aim).sum(axis=1, keepdims=True)
        aim = np.divide(aim, gross, out=np.zeros_like(aim), where=gross > 1e-12)
        return Plan(aim[-len(bars) :])


class Reversal(LongShort):
    """Short-term reversal: long recent losers, short recent winners, by return per unit of volatility over several windows.

    The premium is a compensation for supplying liquidity (Lehmann, "Fads, martingales, and market efficiency", Quarterly
    Journal of Economics 1990), and is larger when volatility is high (Nagel, "Evaporating liquidity", Review of Financial
    Studies 2012).

    Parameters
    ----------
    windows : sequence of int
        Lengths, in bars, of the windows over which returns are summed; their standardised scores are added.
    halflife : int
        Halflife, in bars, of the average of past scores.

    Raises
    ------
    InputError
        When `windows` is empty or has a window below 1, or `halflife` is below 1.
    """

    def __init__(self, windows: Sequence[int] = (1, 2, 5, 10), halflife: int = 5):
        self.name = "reversal"
        if not windows or min(windows) < 1:
            raise InputError(f"{self.name}: windows are {windows}; give some, of at least 1 bar each")
        self.windows = tuple(windows)
        super().__init__(max(windows), halflife)

    def scores(self, returns: np.ndarray, there: np.ndarray, market: np.ndarray) -> list[np.ndarray]:
        volatility = _volatility(returns, there)
        return [np.where(there, -windowed(returns, window) / volatility, np.nan) for window in self.windows]


class ResidualMomentum(LongShort):
    """Residual momentum (Blitz, Huij and Martens, "Residual momentum", Journal of Empirical Finance 2011).

    Long the symbols with high market-adjusted returns over the last `window` bars, the most recent `skip` left out; short
    those with low ones. The market return is the mean log return over the symbols, from session to session (`market_returns`).

    Parameters
    ----------
    window : int
        Bars over which residual returns are summed and betas estimated.
    skip : int
        Most recent bars left out of the sum; at least 0 and less than `window`.
    halflife : int
        Halflife, in bars, of the average of past scores.

    Raises
    ------
    InputError
        When `skip` or `halflife` is out of range.
    """

    def __init__(self, window: int = 252, skip: int = 21, halflife: int = 10):
        self.name = f"residual momentum {window}"
        if not 0 <= skip < window:
            raise InputError(f"{self.name}: skip is {skip}; it must be at least 0 and less than the window")
        self.window, self.skip = window, skip
        super().__init__(window + max(window, VOLATILITY), halflife)

    def scores(self, returns: np.ndarray, there: np.ndarray, market: np.ndarray) -> list[np.ndarray]:
        known = windowed(there.astype(np.float64), self.window) >= self.window / 2
        known[: self.window] = False
        squares = windowed(np.where(there, market**2, 0.0), self.window)
        beta = np.ones(returns.shape)
        np.divide(windowed(returns * market, self.window), squares, out=beta, where=known & (squares > 0))
        rest = np.where(there, returns - beta * market, 0.0)
        total = windowed(rest, self.window) - windowed(rest, self.skip)
        return [np.where(known, total / _volatility(rest, there), np.nan)]


def _market(bars: Bars) -> np.ndarray:
    """Log return of the market between the closes of each symbol, shape (T, A), on the symbols' own bars."""
    sessions = np.flatnonzero(bars.sessions)
    market = np.append(np.nan_to_num(market_returns(bars, log=True)[sessions]), 0.0)
    out = np.zeros(bars.shape)
    for i, close in enumerate(bars.close.T):
        rows = np.flatnonzero(np.isfinite(close))
        upto = np.searchsorted(sessions, rows, side="right")  # sessions up to each bar
        if len(rows) > 1:
            out[1 : len(rows), i] = np.add.reduceat(market, upto)[:-1] * (upto[1:] > upto[:-1])
    return out


def windowed(values: np.ndarray, window: int) -> np.ndarray:
    """Rolling sums over the last `window` rows (fewer at the start).

    Each row is summed directly from its window. A difference of cumulative sums would be faster, but its rounding depends on
    all earlier rows.
    """
    total = np.zeros(values.shape)
    for lag in range(min(window, len(values))):
        total[lag:] += values[: len(values) - lag]
    return total


def _volatility(returns: np.ndarray, there: np.ndarray, span: np.ndarray | None = None) -> np.ndarray:
    """Root mean square over `VOLATILITY` bars; NaN while fewer than half of them are known, or when the price is constant.

    It is per own bar, to compare a symbol's returns with, or per bar of the market if `span` is their number, to compare symbols.
    """
    count = windowed(there.astype(np.float64), VOLATILITY)
    found = np.sqrt(windowed(returns**2, VOLATILITY) / np.maximum(count if span is None else span, 1))
    return np.where((count >= VOLATILITY / 2) & (found > 1e-8), found, np.nan)


def standardised(score: np.ndarray) -> np.ndarray:
    """Each row's known (finite) values, scaled to mean zero and variance one; zero elsewhere."""
    live = np.isfinite(score)
    centred = _centred(np.where(live, score, 0.0), live)
    std = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(live.sum(axis=1, keepdims=True), 1))
    return np.divide(centred, std, out=np.zeros_like(centred), where=std > 1e-12)


def _centred(values: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Each row's live values less their mean; zero elsewhere."""
    kept = np.where(live, values, 0.0)
    mean = kept.sum(axis=1, keepdims=True) / np.maximum(live.sum(axis=1, keepdims=True), 1)
    return np.where(live, kept - mean, 0.0)
