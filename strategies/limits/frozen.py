"""`Frozen`: what was wanted at one time, held from then on. The control of whatever adapts its estimates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC

import numpy as np

from markets import Bars, InputError, Plan
from markets.bars.time_spans import moment
from strategies.limits.limit import Limit


@dataclass(eq=False)
class Frozen(Limit):
    """The plan of the last bar before `since`, on each bar from then on: nothing is estimated anew.

    A portfolio that depends on estimates alone, such as `MinimumVariance`, is so the one of estimates that are frozen. Before
    `since` the strategy's plan is left as it is. The weight of a symbol that is no longer listed is shared by the others in
    proportion to theirs; what is listed later is not held.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    since : str
        Time, such as ``"2008"`` or ``"2008-01-31"``, in the time zone of the bars; usually where a test begins.

    Raises
    ------
    InputError
        When `since` is missing or no time; in `plan`, when no bar before it is held.
    """

    since: str = ""
    endless = True

    def check(self) -> None:
        if not self.since:
            raise InputError("frozen: since when? Give the time, as in since='2008-01-31'")
        moment("frozen: since", self.since, UTC)

    @property
    def label(self) -> str:
        return f"frozen {self.since}"

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        start = int(held.index.searchsorted(moment("frozen: since", self.since, held.index.tz)))
        if start == 0:
            raise InputError(
                f"{self.name}: the bars begin at {held.index[0]}, and it is frozen since {self.since}; give it bars from before"
            )
        first = min(bars.past, start - 1)
        wanted = self.wanted(held.rows(first, min(start, len(held))))
        rows = np.minimum(np.arange(bars.past, len(held)), start - 1) - first
        plan = wanted.map(lambda part: part[rows])
        later = (np.arange(bars.past, len(held)) >= start)[:, None]
        plan.aim[:] = np.where(later, _shared(plan.aim, bars.listed), plan.aim)
        return plan


def _shared(aim: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """The weights of what is listed, scaled to the gross weight of all."""
    kept = np.where(listed, aim, 0.0)
    gross, left = (np.abs(weights).sum(axis=1, keepdims=True) for weights in (aim, kept))
    return kept * np.divide(gross, left, out=np.ones_like(gross), where=left > 0)
