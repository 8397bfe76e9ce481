"""`Refitted`: the base class of rules that are fitted on a window of prices, on a calendar, and hold what they found until
the next fit.

The window is of the market: its last sessions (`Bars.sessions`), at each of which a symbol has its last known close. So
returns of all symbols are over the same times. Over a gap a symbol has one return, at its end. A fit sees the symbols that
are listed, had a close before the window, have closes on at least half of it, and moved. The fit depends on the window alone,
so a row of the plan is the same wherever the bars begin. A rule may read more sessions than those of the window, as many as its
memory; a symbol that was listed within them has no prices before.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from itertools import pairwise

import numpy as np

from markets import Bars, InputError, Plan
from strategies.rules.schedule import DAYS, Period, check_period, period_starts, since_start
from strategies.rules.simple import shared
from strategies.strategy import Strategy

_PEGGED = 0.01  # of the median volatility


class Refitted(Strategy):
    """Base class: `held` is called at the first bar of each period, with the prices of the window and of the period.

    Parameters
    ----------
    window : int
        Returns of the market in a fit; at least 2.
    every : {"day", "week", "month", "quarter", "year"}
        Calendar period between fits.
    memory : float
        Returns of the market that a fit reads if there are as many, if that is more than `window`; infinite for all.

    Raises
    ------
    InputError
        When `window` or `every` is out of range.
    """

    def __init__(self, window: int, every: Period, memory: float = 0):
        if window < 2:
            raise InputError(f"{self.name}: window is {window}; it must be at least 2 bars")
        check_period(self.name, every)
        self.window, self.every = window, every
        self.memory = max(window, memory)
        self.warmup = (window if self.endless else int(self.memory)) + DAYS[every]

    @property
    def endless(self) -> bool:  # type: ignore[override]  # by its settings
        """Whether its memory goes back to the first bar held, after which no warm-up counts."""
        return not np.isfinite(self.memory)

    def trimmed(self, bars: Bars) -> Bars:
        return since_start(bars, self.every, self.warmup + 1)

    @abstractmethod
    def held(self, past: np.ndarray, period: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Weights of n symbols in one period.

        Parameters
        ----------
        past : ndarray of shape (K + 1, n)
            Prices up to the first bar of the period, with K from `window` to the memory; NaN before a symbol's first close,
            which is before the last `window` returns.
        period : ndarray of shape (R, n)
            Prices of the period, from its first bar on. Row r of the weights may use rows up to r.
        live : ndarray of bool, shape (R, n)
            Whether each symbol is listed.

        Returns
        -------
        ndarray of shape (R, n) or (n,)
        """

    def unfitted(self, listed: np.ndarray) -> np.ndarray:
        """Weights (R, A) where there is nothing to fit on yet, by what is listed: equal ones."""
        return shared(listed.astype(np.float64))

    def plan(self, bars: Bars) -> Plan:
        whole = bars.with_past()
        marks, listed = whole.marks, whole.listed
        closes, sessions = np.isfinite(whole.close), np.flatnonzero(whole.sessions)
        starts = np.flatnonzero(period_starts(whole, self.every))
        starts = starts[max(int(starts.searchsorted(bars.past, side="right")) - 1, 0) :]
        aim, prices = self.unfitted(listed), marks[sessions]
        for first, last in pairwise([*starts, len(whole)]):
            until = int(sessions.searchsorted(first, side="right"))
            if until <= self.window:
                continue
            recent = prices[until - self.window - 1 : until]
            known = listed[first] & np.isfinite(recent[0])
            known &= closes[sessions[until - self.window : until]].sum(axis=0) >= self.window / 2
            known &= np.ptp(recent, axis=0) > 1e-8 * recent[-1]
            if known.any():
                past = prices[until - int(min(self.memory, until - 1)) - 1 : until, known]
                live = listed[first:last, known]
                aim[first:last] = 0.0
                aim[first:last, known] = self.held(past, marks[first:last, known], live) * live
        return Plan(aim[bars.past :])


def moving(std: np.ndarray, least: float = _PEGGED) -> np.ndarray:
    """Symbols that move, by their standard deviations (..., n): those of at least `least` of the median of those above zero.

    A price that is fixed, or fixed to another but for rounding, has next to no variance, and would be all of a portfolio that
    weighs by risk. Of the futures the least volatile, on short rates, has a thirtieth of the median. What is not known (NaN)
    does not move.
    """
    above = std > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows in which nothing moves
        median = np.nanmedian(np.where(above, std, np.nan), axis=-1, keepdims=True)
    return above & (std >= least * median)
