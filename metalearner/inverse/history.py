"""What a trader held, beside prices, as decisions: positions on a grid, and what he could expect of the next bar in levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from markets import Bars, InputError
from metalearner.inverse.entropy import Decisions
from metalearner.inverse.soft import SignalMarket

LEVELS, PLACES = 9, 21
FEWEST = 250  # decisions of a symbol, below which levels of the signal and their transitions say little
TREND, RISK = 21, 63  # half-lives of the trend and of the volatility by which it is divided, in bars


@dataclass(frozen=True, eq=False)
class History:
    """A trader's decisions.

    Attributes
    ----------
    decisions : tuple of Decisions
        One for each symbol, each in its market.
    grid : ndarray of shape (P,)
        Positions as fractions of equity.
    symbols : tuple of str
    forecast : str
        What he is taken to have expected, in a sentence.
    t : float
        t-statistic of that expectation for the next bar's return; about 2 or less says that it tells nothing.
    """

    decisions: tuple[Decisions, ...]
    grid: np.ndarray
    symbols: tuple[str, ...]
    forecast: str
    t: float


def history(
    bars: Bars,
    positions: pd.DataFrame,
    forecast: pd.DataFrame | None = None,
    *,
    levels: int = LEVELS,
    places: int = PLACES,
) -> History:
    """A trader's decisions from his positions.

    Parameters
    ----------
    bars : Bars
    positions : DataFrame
        By time and symbol: fractions of equity held after the close of a bar. Each time is one of the bars'; symbols are some of
        theirs. Of the bars in between that are left out, nothing is learnt.
    forecast : DataFrame, optional
        By time and symbol: the return of the next bar that he expected. By default the trend: the exponentially weighted mean
        of past returns over their volatility, times what a regression on all these bars says it is worth.
    levels : int
        Levels of the forecast, equally frequent.
    places : int
        Positions of the grid, from the smallest to the largest that he held.

    Raises
    ------
    InputError
        When times or symbols are not the bars', values are missing, or there are too few.
    """
    _check(bars, positions, "positions")
    symbols = tuple(str(symbol) for symbol in positions.columns)
    returns = _next_returns(bars.select(symbols))
    if forecast is None:
        expected, t, what = _trend(bars.select(symbols), returns)
    else:
        _check(bars, forecast, "the forecast")
        if missing := [symbol for symbol in symbols if symbol not in forecast.columns]:
            raise InputError(f"the forecast is without {missing[0]}; give a column for each symbol of the positions")
        expected = forecast.reindex(bars.index)[list(symbols)].to_numpy(dtype=np.float64)
        t, what = _t_statistic(expected, returns), "the forecast that was given"
    held = positions.reindex(bars.index).to_numpy(dtype=np.float64)
    low, high = float(np.nanmin(held)), float(np.nanmax(held))
    grid = np.linspace(low, high, places) if high > low else low + np.linspace(-0.5, 0.5, places)
    found = []
    for column, symbol in enumerate(symbols):
        known = np.isfinite(held[:, column]) & np.isfinite(expected[:, column])
        if known.sum() < FEWEST:
            raise InputError(
                f"{symbol}: {int(known.sum())} bars have both a position and a forecast; {FEWEST} or more are needed"
            )
        found.append(_decisions(held[:, column], expected[:, column], returns[:, column], known, grid, levels))
    return History(tuple(found), grid, symbols, what, t)


def _decisions(
    held: np.ndarray, expected: np.ndarray, returns: np.ndarray, known: np.ndarray, grid: np.ndarray, levels: int
) -> Decisions:
    values = np.unique(expected[known])
    if len(values) > levels:
        edges = np.unique(np.quantile(expected[known], np.arange(1, levels) / levels))
    else:  # they are levels already
        edges = (values[1:] + values[:-1]) / 2
    level, count = np.searchsorted(edges, expected, side="right"), len(edges) + 1
    mean = np.array(
        [expected[known & (level == k)].mean() if (known & (level == k)).any() else 0.0 for k in range(count)]
    )
    variance = float(np.nanvar(returns[known]))
    if not variance > 0:
        raise InputError("prices do not move while the positions were held")
    pairs = known[:-1] & known[1:]
    transition = np.eye(count)  # one bar more at each level, so that each row is a probability
    np.add.at(transition, (level[:-1][pairs], level[1:][pairs]), 1)
    transition /= transition.sum(axis=1, keepdims=True)
    market = SignalMarket(mean, np.full(count, variance), transition)
    place = np.abs(np.nan_to_num(held)[:, None] - grid).argmin(axis=1)
    counts = np.zeros((count, len(grid), len(grid)))
    np.add.at(counts, (level[1:][pairs], place[:-1][pairs], place[1:][pairs]), 1)
    return Decisions(market, counts)


def _check(bars: Bars, table: pd.DataFrame, what: str) -> None:
    unknown = [symbol for symbol in table.columns if symbol not in bars.symbols]
    if unknown or not len(table.columns):
        raise InputError(
            f"{what} {'have ' + str(unknown[0]) if unknown else 'have no column'}; {bars.name} has {', '.join(bars.symbols[:8])}"
        )
    strange = table.index.difference(bars.index)
    if len(strange):
        raise InputError(
            f"{what} have a row at {strange[0]}, which is no bar of {bars.name}; give the times of its bars"
        )
    if not table.index.is_monotonic_increasing or not table.index.is_unique:
        raise InputError(f"{what}: give each time once, in ascending order")


def _next_returns(bars: Bars) -> np.ndarray:
    """Return of the bar after each, shape (T, A); NaN at the last."""
    marks = bars.marks
    return np.vstack([marks[1:] / marks[:-1] - 1, np.full(marks.shape[1], np.nan)])


def _trend(bars: Bars, returns: np.ndarray) -> tuple[np.ndarray, float, str]:
    """Expected returns (T, A) by the trend, their t-statistic, and what they are."""
    past = pd.DataFrame(np.vstack([np.full(returns.shape[1], np.nan), returns[:-1]]))
    risk = (past**2).ewm(halflife=RISK, min_periods=RISK).mean() ** 0.5
    signal = (past / risk.shift()).ewm(halflife=TREND, min_periods=TREND).mean().to_numpy()
    scaled = returns / risk.to_numpy()
    known = np.isfinite(signal) & np.isfinite(scaled)
    slope = float((signal[known] * scaled[known]).sum() / (signal[known] ** 2).sum())
    expected = slope * signal * risk.to_numpy()
    what = f"the trend: {slope:+.3f} volatilities of the next bar per unit of the mean scaled return"
    return expected, _t_statistic(expected, returns), what


def _t_statistic(expected: np.ndarray, returns: np.ndarray) -> float:
    """Of the mean over symbols of forecast times return, bar by bar: symbols of one bar are not independent."""
    gains = expected * returns
    there = np.isfinite(gains).any(axis=1)
    gains = np.nanmean(gains[there], axis=1)
    std = float(gains.std())
    return float(gains.mean() / std * np.sqrt(len(gains))) if std > 0 else 0.0
