"""How far a trader looks ahead, as far as his decisions tell.

For each horizon h, with the discount ``β = 1 − 1/h``, the other preferences are those that make the decisions most likely. The
most likely horizon, and all that are not much less so, are found from this profile of the likelihood ℓ (Murphy and van der
Vaart, "On profile likelihood", JASA 2000)::

    interval = { h :  2 (max_h ℓ(h) − ℓ(h)) ≤ χ²₁ }

Who looks far ahead acts nearly like one who looks farther still, so the interval often has no upper end. It mostly tells whether
he looks ahead at all: a far horizon and a small cost, or a near one and a larger cost, make him trade alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.progress import track
from scipy.stats import chi2

from markets import InputError
from markets.common.progress import visible
from metalearner.inverse.entropy import Decisions, MaximumEntropy, infer

HORIZONS = (1, 2, 3, 5, 8, 12, 20, 35, 60, 100, 200, 500)


@dataclass(frozen=True, eq=False)
class Horizon:
    """What decisions tell of the horizon.

    Attributes
    ----------
    bars : float
        The most likely one of those that were tried.
    low, high : float
        Ends of the confidence interval; `high` is infinite if the farthest one tried is not excluded, and `low` is 1, which is
        not to look ahead at all, if the nearest is not.
    horizons, log_likelihood : ndarray of shape (H,)
        Those tried, and the largest log-likelihood with each.
    """

    bars: float
    low: float
    high: float
    horizons: np.ndarray
    log_likelihood: np.ndarray

    def holds(self, bars: float) -> bool:
        """Whether the interval holds this horizon."""
        return self.low <= bars <= self.high

    @property
    def unknown(self) -> bool:
        """Whether nothing is excluded."""
        return self.low <= 1 and self.high == np.inf

    def __str__(self) -> str:
        if self.unknown:
            return "these decisions do not tell"
        if self.high == np.inf:
            return f"{self.low:.1f} bars or more"
        if self.low <= 1:
            return f"{self.high:.1f} bars or less"
        return f"{self.low:.1f} to {self.high:.1f} bars"


def horizon(
    decisions: Sequence[Decisions],
    grid: np.ndarray,
    *,
    horizons: Sequence[float] = HORIZONS,
    level: float = 0.95,
    progress: bool = False,
) -> Horizon:
    """How far a trader looks ahead.

    Parameters
    ----------
    decisions : sequence of Decisions
        In one market or several. Markets whose signals last differently long tell more than one.
    grid : ndarray of shape (P,)
        Positions, in ascending order.
    horizons : sequence of float
        To try, in ascending order, in bars, from 1 on. The ends of the interval are interpolated between them.
    level : float
        Of the interval.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Raises
    ------
    InputError
        When horizons do not ascend from 1 on; and as `infer` does.
    """
    tried = np.asarray(horizons, dtype=np.float64)
    if len(tried) < 2 or tried[0] < 1 or not (np.diff(tried) > 0).all():
        raise InputError("horizons must be two or more numbers of bars, ascending from 1 on")
    fits: list[MaximumEntropy] = []
    start = None
    for bars in track(tried.tolist(), "horizon", transient=True, disable=not visible(progress)):
        fits.append(infer(decisions, grid, discount=1 - 1 / bars, start=start))
        start = np.exp(fits[-1].log) if fits[-1].identified else None  # near that of the next horizon
    likelihood = np.array([fit.log_likelihood for fit in fits])
    best = int(likelihood.argmax())
    if not fits[best].identified:  # then the likelihood has no maximum, as of who never trades
        return Horizon(float(tried[best]), 1.0, np.inf, tried, likelihood)
    excess = likelihood - likelihood[best] + chi2.ppf(level, 1) / 2  # below 0: excluded
    low = _crossing(tried, excess, range(best, 0, -1), -1)
    high = _crossing(tried, excess, range(best, len(tried) - 1), 1)
    return Horizon(float(tried[best]), 1.0 if low is None else low, np.inf if high is None else high, tried, likelihood)


def _crossing(horizons: np.ndarray, excess: np.ndarray, places: range, step: int) -> float | None:
    """Where the profile first falls below the interval's edge, going by `step` from the maximum; linear in β."""
    for k in places:
        if excess[k + step] < 0:
            share = excess[k] / (excess[k] - excess[k + step])
            beta = 1 - 1 / horizons
            return float(1 / (1 - (beta[k] + share * (beta[k + step] - beta[k]))))
    return None
