"""`Refitted`: the base class of rules that are fitted on a window of prices, on a calendar, and hold what they found until
the next fit.

The window is of the market: its last sessions (`Bars.sessions`), at each of which a symbol has its last known close. So
returns of all symbols are over the same times. Over a gap a symbol has one return, at its end. A fit sees the symbols that
are listed, had a close before the window, have closes on at least half of it, and moved. The fit depends on the window alone,
so a row of the plan is the same wherever the bars begin.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

import numpy as np

from markets import Bars, InputError, Plan
from strategies.rules.schedule import DAYS, Period, check_period, period_starts
from strategies.rules.simple import shared
from strategies.strategy import Strategy


class Refitted(Strategy):
    """Base class: `held` is called at the first bar of each period, with the prices of the window and of the period.

    Parameters
    ----------
    window : int
        Returns of the market in a fit; at least 2.
    every : {"day", "week", "month", "quarter", "year"}
        Calendar period between fits.

    Raises
    ------
    InputError
        When `window` or `every` is out of range.
    """

    def __init__(self, window: int, every: Period):
        if window < 2:
            raise InputError(f"{self.name}: window is {window}; it must be at least 2 bars")
        check_period(self.name, every)
        self.window, self.every = window, every
        self.warmup = window + DAYS[every]

    @abstractmethod
    def held(self, past: np.ndarray, period: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Weights of n symbols in one period.

        Parameters
        ----------
        past : ndarray of shape (window + 1, n)
            Prices up to the first bar of the period.
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
        aim = self.unfitted(listed)
        for first, last in pairwise([*starts, len(whole)]):
            rows = sessions[: sessions.searchsorted(first, side="right")][-self.window - 1 :]
            if len(rows) <= self.window:
                continue
            past = marks[rows]
            known = listed[first] & np.isfinite(past[0])
            known &= closes[rows[1:]].sum(axis=0) >= self.window / 2
            known &= np.ptp(past, axis=0) > 1e-8 * past[-1]
            if known.any():
                live = listed[first:last, known]
                aim[first:last] = 0.0
                aim[first:last, known] = self.held(past[:, known], marks[first:last, known], live) * live
        return Plan(aim[bars.past :])
