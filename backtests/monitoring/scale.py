"""`Scale`: the volatility that is expected of the next bar, from the bars before it.

Exponentially weighted second moment, ``v ← d v + (1 − d) x²`` with ``d = ½^(1 / half-life)`` (RiskMetrics, technical document,
1996). It is known before the bar, and that is all that the validity of an e-process needs: where it forecasts badly, alarms
come later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HALF_LIFE = 21.0  # bars
CLIP = 4.0  # volatilities: what is further from 0 counts as this much

Numbers = float | np.ndarray  # one series, or many at once


@dataclass
class Scale:
    """Volatility of a series, one bar at a time.

    Attributes
    ----------
    variance : float or ndarray of shape (...)
        Expected square of the next value; of many series at once, an array.
    half_life : float
        Bars after which the weight of a value has halved.
    """

    variance: Numbers
    half_life: float = HALF_LIFE

    @property
    def value(self) -> Numbers:
        """Volatility expected of the next bar, in units of the series."""
        return np.sqrt(self.variance)

    def add(self, value: Numbers) -> None:
        """Learn from a bar. A value of exactly 0 says nothing of the volatility while something is held, and is left out."""
        kept = 0.5 ** (1 / self.half_life)
        learnt = kept * self.variance + (1 - kept) * value * value
        self.variance = np.where(value == 0, self.variance, learnt)[()]


def clipped(value: Numbers, bound: float) -> Numbers:
    """`value`, but no further from 0 than `bound`."""
    return np.clip(value, -bound, bound)
