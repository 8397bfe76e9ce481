"""`folded`: an interval for a quantity that cannot be negative, from draws in which it has a sign.

Headroom grows with the square of how much two regimes differ. Where they do not differ, every draw of a posterior still says
that they do, now one way and now the other, so that the headroom of all draws is above 0. Given the sign of the difference, it is
an ordinary quantity around 0 again, and an interval of it that holds both signs holds 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Range:
    """An estimate with its interval."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: float) -> Range:
        return Range(self.value * factor, self.low * factor, self.high * factor)

    def __contains__(self, value: float) -> bool:
        slack = 1e-9 * max(abs(self.high), abs(self.low))
        return self.low - slack <= value <= self.high + slack


def folded(profile: np.ndarray, draws: np.ndarray, signs: np.ndarray, level: float = 0.9) -> Range:
    """Estimate and interval of a size that is the square of something estimated with an error.

    Parameters
    ----------
    profile : ndarray of shape (1 + R,)
        The size at the mode, and at points as far away as the profile likelihood allows.
    draws : ndarray of shape (K,)
        Draws of the size from the posterior, at least 0.
    signs : ndarray of shape (K,)
        1 or −1, the sign of what is squared.
    level : float
        Probability of the interval.

    Returns
    -------
    Range
        The estimate is the size at the mode. The ends are quantiles of ``sign · size``, without their signs; where these differ,
        the lower end is 0. A posterior gives little room to what few parameters can explain, and where regimes are weak its
        upper quantile is exceeded too often, so the upper end is at least the largest size of the profile.
    """
    tail = 0.5 * (1 - level)
    low, high = np.quantile(draws * signs, [tail, 1 - tail])
    ends = sorted((abs(float(low)), abs(float(high))))
    least, most = 0.0 if low <= 0 <= high else ends[0], max(ends[1], float(profile.max()))
    return Range(float(np.clip(profile[0], least, most)), least, most)
