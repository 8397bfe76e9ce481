"""Limits on when to trade: on the first bar of each month or another period, or once weights have drifted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from markets import Bars, InputError, Plan
from strategies.limits.limit import Limit, earlier, not_yet_traded
from strategies.rules.schedule import DAYS, Period, check_period, last_start, period_starts
from strategies.strategy import Strategy


@dataclass(eq=False)
class Rebalanced(Limit):
    """Trades are decided on the first bar of each calendar period alone; in between weights drift.

    A symbol that cannot trade when its order is due trades on its next bar. An account that starts within a period waits for
    the next one.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    every : {"day", "week", "month", "quarter", "year"}

    Raises
    ------
    InputError
        When `every` is no such period.
    """

    every: Period = "month"

    def check(self) -> None:
        check_period("rebalanced", self.every)

    @property
    def label(self) -> str:
        return f"each {self.every}"

    @property
    def memory(self) -> int:
        return DAYS[self.every]

    def trimmed(self, bars: Bars) -> Bars:
        if not isinstance(self.strategy, Strategy):
            return bars
        # of bars shorter than a day a period has more than the warm-up counts; and a symbol that could not trade then waits
        rows = max(bars.past - last_start(bars, self.every), bars.without_past(keep=self.memory).past)
        return earlier(self.strategy, bars, rows)

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        starts = period_starts(held, self.every)
        first = last_start(bars, self.every)  # the decision in force at the first row shown
        seen = held.rows(first, len(held))
        return _kept(self.wanted(seen), seen, starts[first:])[bars.past - first :]


@dataclass(eq=False)
class RebalancedOnDrift(Limit):
    """Trades are decided when a weight has drifted from its target by more than `drift`; then all are traded to their
    targets.

    Where a weight has drifted to follows from its last traded target and prices since, from close to close: ``w_{s,i} P_{t,i}
    / P_{s,i} / (1 + Σ_j w_{s,j} (P_{t,j} / P_{s,j} − 1))``. A bar on which a symbol enters or leaves the targets is one of
    trading too. The first bar held is one as well; an account that starts later waits for the next.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    drift : float
        Absolute weight, above 0.

    Raises
    ------
    InputError
        When `drift` is not above 0.
    """

    drift: float = 0.05
    endless = True

    def check(self) -> None:
        if not 0 < self.drift < np.inf:
            raise InputError(f"rebalanced on drift: drift is {self.drift}; it must be above 0 and finite")

    @property
    def label(self) -> str:
        return f"on drift {self.drift:.3g}"

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        wanted, marks = self.wanted(held), held.marks
        due = np.zeros(len(held), dtype=bool)
        weights, prices = np.zeros(held.shape[1]), marks[0]
        for t in range(len(held)):
            target = wanted.aim[t]
            with np.errstate(invalid="ignore", divide="ignore"):
                growth = np.where(weights != 0, marks[t] / prices, 1.0)
                weight = weights * growth / (1 + (weights * (growth - 1)).sum())
            entered = (weights != 0) != (target != 0)
            if entered.any() or not np.abs(weight - target).max() <= self.drift:
                due[t] = True
                weights, prices = target, marks[t]
        return _kept(wanted, held, due)[bars.past :]


def _kept(wanted: Plan, held: Bars, due: np.ndarray) -> Plan:
    """The plan of the rows in `due`, which stands until the next of them; a symbol that has traded since is left alone."""
    if not due.any():
        return replace(wanted, band=np.full(held.shape, np.inf))
    rows = np.maximum.accumulate(np.where(due, np.arange(len(due)), -1))
    before = rows < 0  # nothing was decided yet
    rows = np.maximum(rows, 0)
    band = np.zeros(held.shape) if wanted.band is None else wanted.band[rows]
    trading = not_yet_traded(due, held.tradable) & ~before[:, None]
    rate = None if wanted.rate is None else wanted.rate[rows]
    aim = np.where(before[:, None] | ~held.listed, 0.0, wanted.aim[rows])  # what was delisted since is no target
    return replace(wanted, aim=aim, band=np.where(trading, band, np.inf), rate=rate)
