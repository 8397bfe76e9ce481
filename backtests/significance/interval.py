"""`Interval`, and the studentised stationary bootstrap that gives it: of one account, the difference of two, or a pool.

Observations are resampled in blocks, at the same times for all accounts (`backtests.significance.resampling`). Each
resample gives a value θ* and its standard error s*, and so a t-statistic ``(θ* − θ) / s*``. The interval is ``θ ± c·s``,
where c is the level's quantile of |t| (symmetric studentised bootstrap: Ledoit and Wolf, "Robust performance hypothesis
testing with the Sharpe ratio", Journal of Empirical Finance 2008). Quantiles of θ* itself give intervals that are too short
where volatility clusters or tails are fat. `benchmarks/significance.py` measures how often the truth lies inside.

s is the bootstrap's standard deviation of the mean of the influence (`backtests.significance.statistic`), in closed form;
s* is that of independent blocks. Block lengths are geometric, and their mean is the optimal one for the influence, or
T^(1/3) observations if that is longer: returns whose volatility clusters look independent to the rule, and blocks of one
bar then give intervals that are a few per cent too short. Statistics of squared returns take blocks three times as long
(`Statistic.stretch`), since the rule sees too little of what lasts.

**Pools.** Universes share calendar time, and their luck. So times are resampled, not universes: on the union of all their
times, D of them, universe u has T_u observations, and the pooled value ``Σ w_u θ_u`` has the influence
``Ψ_d = Σ_u w_u ψ_u,d D / T_u``, where ψ is 0 at times that the universe does not have. What moves several universes on one
day, or within one block, is added up before it is squared, so that the error is right however they are correlated. The block
is the mean of the universes' blocks, weighted by what each adds to the variance: the rule itself, on a series that is 0 for
years, errs widely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from backtests.significance.resampling import (
    error_of_mean,
    optimal_block,
    resampled_errors,
    resampled_means,
    shortest_block,
)
from backtests.significance.statistic import Statistic
from markets import InputError
from markets.common.statistics import RESOLUTION

RESAMPLES = 5000
FEWEST = 30  # smallest number of observations for which bootstrap quantiles are meaningful
NORMAL = float(ndtri(0.975))  # what the 95 % quantile of |t| is with many independent observations
POWER = float(ndtri(0.8))  # standard errors beyond it at which four of five are found


@dataclass(frozen=True)
class Interval:
    """A figure, or a difference of two, with its confidence interval.

    Attributes
    ----------
    value, low, high : float
        The figure or difference, and the ends of its interval. All NaN if a figure is not defined; the ends alone if there
        are fewer than `FEWEST` observations.
    block : float
        Mean block length of the bootstrap, in observations.
    error : float
        Standard error.
    p : float
        Two-sided p-value of a true value of 0: the share of resamples, with the sample itself, whose \\|t\\| is as large.
    critical : float
        95 % quantile of \\|t\\|: 1.96 with much data, and more where a few long episodes are all there is.
    """

    value: float
    low: float
    high: float
    block: float
    error: float = np.nan
    p: float = np.nan
    critical: float = NORMAL

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"

    def __mul__(self, factor: float) -> Interval:
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.value * factor, low, high, self.block, self.error * abs(factor), self.p, self.critical)

    @property
    def detectable(self) -> float:
        """Smallest true value that this much data finds with power .8, at 5 % on both sides: ``critical`` + .84 errors."""
        return (self.critical + POWER) * self.error


class Sample:
    """The observations of one account, or of two to be compared, on one universe.

    Parameters
    ----------
    accounts : sequence of ndarray of shape (N,)
        What is observed of the account, and of the other, if there is one.
    times : ndarray of shape (N,)
        When; ascending and distinct.
    statistic : Statistic
    scale : float
        Factor of the statistic, such as to annualise it.

    Attributes
    ----------
    value : float
        The statistic, or the difference of the two; NaN if one is not defined.
    influence : ndarray of shape (N,)
    columns : ndarray of shape (N, C)
        Moments of each account, and ones.
    differs : bool
        Whether the influence is more than rounding; of an account and a multiple of it, the Sharpe ratio's is not.
    """

    def __init__(self, accounts: Sequence[np.ndarray], times: np.ndarray, statistic: Statistic, scale: float = 1.0):
        self.times, self.statistic, self.scale, self._signs = times, statistic, scale, (1.0, -1.0)[: len(accounts)]
        alike = len(accounts) > 1 and np.array_equal(accounts[0], accounts[1])
        self.value, self.influence, self.differs = 0.0 if alike else np.nan, np.zeros(len(times)), False
        if alike or len(times) < 2:
            return
        moments = [statistic.moments(observed) for observed in accounts]
        self.columns = np.column_stack([*moments, np.ones(len(times))])
        self._ends = np.cumsum([m.shape[1] for m in moments])
        pairs = list(zip(self._signs, accounts, strict=True))
        self.value = float(sum(sign * statistic.value(observed) for sign, observed in pairs)) * scale
        with np.errstate(divide="ignore", invalid="ignore"):
            effects = [scale * sign * statistic.influence(observed) for sign, observed in pairs]
            rounding = sum(
                e.std() * RESOLUTION / max(observed.std(), RESOLUTION)
                for e, observed in zip(effects, accounts, strict=True)
            )
        self.influence = np.sum(effects, axis=0)
        self.differs = bool(self.influence.std() > rounding)
        if not self.differs and abs(self.value) <= rounding:
            self.value = 0.0

    @cached_property
    def block(self) -> float:
        """Mean block length that suits the influence, in observations."""
        count = len(self.influence)
        block = min(self.statistic.stretch * optimal_block(self.influence), count / 3)
        return max(block, shortest_block(count))

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return float(error_of_mean(self.influence, self.block))

    def at(self, means: np.ndarray, bars: int) -> tuple[np.ndarray, np.ndarray]:
        """Value, and its slope in the means of the columns over all `bars` times; shapes (...) and (..., C)."""
        share = means[..., -1]  # of the times that are this sample's
        value, slopes, levels = np.zeros(share.shape), np.empty_like(means), np.zeros(share.shape)
        first = 0
        for sign, last in zip(self._signs, self._ends, strict=True):
            one, slope, level = self.statistic.at(means[..., first:last] / share[..., None], share * bars)
            value, levels = value + sign * one, levels + sign * level
            slopes[..., first:last] = sign * slope
            first = last
        slopes[..., -1] = -levels
        return value * self.scale, slopes * (self.scale / share)[..., None]


def interval(
    samples: Sequence[Sample],
    weights: Sequence[float] = (1.0,),
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Interval of the weighted sum of the samples' values, over resamples of all their times together.

    Parameters
    ----------
    samples : sequence of Sample
    weights : sequence of float
        One a sample; taken as fixed. A sample of weight 0 is left out, even if its value is not defined.
    level : float
        Confidence level, between 0 and 1.
    resamples : int
    seed : int

    Raises
    ------
    InputError
        When the level is not between 0 and 1, or there is no resample.
    """
    if not 0 < level < 1 or resamples < 1:
        raise InputError(
            f"level and resamples are {level} and {resamples}; give a fraction such as 0.95, and at least 1"
        )
    value = float(sum(w * s.value for w, s in zip(weights, samples, strict=True) if w))
    if not np.isfinite(value):
        return Interval(np.nan, np.nan, np.nan, np.nan)
    kept = [(w, s) for w, s in zip(weights, samples, strict=True) if s.differs and w]
    if not kept:  # certain: no resample changes it
        return Interval(value, value, value, 1.0, 0.0, 1.0 if value == 0 else 1 / (1 + resamples))
    if min(len(s.times) for _, s in kept) < FEWEST:
        return Interval(value, np.nan, np.nan, np.nan)
    times = np.unique(np.concatenate([s.times for _, s in kept]))
    series, effect, blocks, parts = [], np.zeros(len(times)), [], []
    for w, s in kept:
        rows = np.searchsorted(times, s.times)
        wide = np.zeros((len(times), s.columns.shape[1]))
        wide[rows] = s.columns
        series.append(wide)
        effect[rows] += w * s.influence * (len(times) / len(rows))
        blocks.append(s.block * (rows[-1] + 1 - rows[0]) / len(rows))  # other universes have times in between
        parts.append((w * s.error) ** 2)
    block = float(np.average(blocks, weights=parts))
    values, errors = _resampled(series, kept, block, resamples, seed)
    fixed = value - sum(w * s.value for w, s in kept)  # of the accounts that do not differ
    error = float(error_of_mean(effect, block))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs((values + fixed - value) / errors)  # infinite where a resample does not vary
        quantile, critical = (float(q) for q in np.nanquantile(size, (level, 0.95)))
    half = quantile * error
    known = size[~np.isnan(size)]
    p = (1 + np.sum(known >= abs(value) / error)) / (1 + len(known))
    return Interval(value, value - half, value + half, block, error, float(p), critical)


def _resampled(
    series: list[np.ndarray], kept: list[tuple[float, Sample]], block: float, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Value and standard error of each resample, both of shape (resamples,)."""
    joint = np.hstack(series)
    means = resampled_means(joint, block, resamples, seed)
    values, slopes, first = np.zeros(resamples), np.empty_like(means), 0
    with np.errstate(divide="ignore", invalid="ignore"):
        for wide, (weight, sample) in zip(series, kept, strict=True):
            part = slice(first, first + wide.shape[1])
            one, slope = sample.at(means[:, part], len(joint))
            values += weight * one
            slopes[:, part] = weight * slope
            first = part.stop
    return values, resampled_errors(joint, slopes, block, resamples, seed)
