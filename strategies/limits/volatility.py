"""`VolatilityTarget`: weights scaled so that the book has a given volatility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from markets import Bars, InputError, Plan
from strategies.limits.limit import Limit, market_rows, scaled

_CUT = 6  # averages are truncated after this many halflives, so that each row depends on a fixed number of past bars
_YEAR = 365.25 * 86_400e6  # microseconds


@dataclass(eq=False)
class VolatilityTarget(Limit):
    """All weights of a bar times ``min(largest, target / σ_t)`` (Moreira and Muir, "Volatility-managed portfolios", Journal
    of Finance 2017; Harvey et al., "The impact of volatility targeting", Journal of Portfolio Management 2018).

    σ_t is the annual volatility that the wanted weights had on the last bars, with exponentially decaying weights
    (J. P. Morgan, "RiskMetrics technical document", 1996)::

        σ_t² = Σ_k λ^k (Σ_i w_{t,i} r_{t−k,i})² / Σ_k λ^k (τ_{t−k} − τ_{t−k−1}),   λ = 2^(−1 / halflife)

    with simple returns r, bar times τ in years, and k up to six halflives. Dividing by elapsed time makes it right for bars
    of any length. In a gap a symbol's return is 0, and all of it comes at the next close, as in the account. A symbol listed
    within the window counts from its listing. Before a halflife has passed, nothing is scaled up.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    target : float
        Volatility per year, above 0.
    halflife : int
        In bars, at least 1.
    largest : float
        Largest factor, above 0. With 1 the target is an upper limit; more than 1 needs an account that may borrow.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    target: float = 0.1
    halflife: int = 21
    largest: float = 1.0

    def check(self) -> None:
        if not (0 < self.target < np.inf and 0 < self.largest < np.inf) or self.halflife < 1:
            raise InputError(
                f"volatility target: target is {self.target}, largest {self.largest} and halflife {self.halflife}; the first two "
                "must be above 0 and finite, and the last at least 1 bar"
            )

    @property
    def label(self) -> str:
        return f"volatility {self.target:.3g}"

    @property
    def memory(self) -> int:
        return _CUT * self.halflife

    def plan(self, bars: Bars) -> Plan:
        wanted, held = self.wanted(bars), bars.with_past()
        rows, at = market_rows(bars)
        marks, times = held.marks[rows], held.index.as_unit("us").asi8[rows]
        returns = np.zeros(marks.shape)
        with np.errstate(invalid="ignore"):
            returns[1:] = np.nan_to_num(marks[1:] / marks[:-1] - 1)
        elapsed = np.diff(times, prepend=times[:1]) / _YEAR
        square, time = np.zeros(len(bars)), np.zeros(len(bars))
        for k in range(min(self.memory, len(rows) - 1)):
            there = at - k >= 1
            row, weight = (at - k)[there], 0.5 ** (k / self.halflife)
            square[there] += weight * (wanted.aim[there] * returns[row]).sum(axis=1) ** 2
            time[there] += weight * elapsed[row]
        volatility = np.sqrt(square / np.where(time > 0, time, 1.0))
        known = volatility * self.largest > self.target * 1e-9  # a book that does not move has no scale
        factor = np.where(known, np.minimum(self.largest, self.target / np.where(known, volatility, 1.0)), 1.0)
        factor = np.where(at >= self.halflife, factor, np.minimum(factor, 1.0))
        return scaled(wanted, np.minimum(factor, self.largest)[:, None])
