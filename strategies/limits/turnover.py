"""`TurnoverLimit`: targets that move no further than a given distance per bar."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from markets import Bars, InputError, Plan
from strategies.limits.limit import Limit, market_rows


@dataclass(eq=False)
class TurnoverLimit(Limit):
    """Targets move towards the wanted ones by at most `largest` per bar, in the sum of absolute changes of weight::

        w_t = w_{t−1} + min(1, largest / Σ_i |a_{t,i} − w_{t−1,i}|) (a_t − w_{t−1})

    for wanted targets a, from nothing at the first bar held. Of a symbol that is no longer listed the target goes to 0 at
    once, and changes that prices make are not counted. An account that starts later buys its first positions in one go;
    `markets.Execution.turnover` limits that too.

    The warm-up counts the bars in which a book of gross weight 1 is built up. From then on targets are the same wherever the
    bars begin if they have caught up with the wanted ones since; if these move faster than the limit allows, that can take
    much longer.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    largest : float
        Per bar, above 0; 0.02 allows about two and a half times the equity to be bought and as much sold in a year of daily
        bars.

    Raises
    ------
    InputError
        When `largest` is not above 0.
    """

    largest: float = 0.02
    endless = True

    def check(self) -> None:
        if not 0 < self.largest < np.inf:
            raise InputError(f"turnover limit: largest is {self.largest}; it must be above 0 and finite")

    @property
    def label(self) -> str:
        return f"turnover to {self.largest:.3g}"

    @property
    def memory(self) -> int:
        return math.ceil(1 / self.largest)

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        wanted, listed = self.wanted(held), held.listed
        aim, last = wanted.aim.copy(), np.zeros(held.shape[1])
        rows, at = market_rows(held)
        if not len(rows):
            return wanted
        for t in rows:
            last = np.where(listed[t], last, 0.0)
            change = wanted.aim[t] - last
            distance = np.abs(change).sum()
            if distance > self.largest:
                aim[t] = last + self.largest / distance * change
            last = aim[t]
        aim = np.where((at >= 0)[:, None], aim[rows[at]], 0.0)
        # where a target lags behind, it is a step on the way and to be traded to
        band = None if wanted.band is None else np.where(aim == wanted.aim, wanted.band, 0.0)
        return replace(wanted, aim=aim, band=band)[bars.past :]
