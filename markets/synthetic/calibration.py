"""`calibrate`: which markets of two regimes some returns may have come from, as draws from a posterior distribution.

A fit gives one market, and it overstates how much regimes differ, since estimated means differ by chance alone. A posterior
keeps all markets that explain the returns about as well. With s the standard deviation of the returns, the prior is independent
Gaussian in these coordinates::

    μ_i / s                 0 ± an annualised Sharpe ratio of 4
    log σ_i / s             0 ± 0.7
    log (duration_i − 1)    log 60 ± 1.2: between 6 and 660 bars
    log (ν − 2)             log 6 ± 1

The mode is searched from several starts. Draws come from a Metropolis–Hastings chain, of which half of the proposals are drawn
from a Student t around the mode with the curvature there, and half are steps from the present point (Tierney, "Markov chains for
exploring posterior distributions", Annals of Statistics 1994). After a third of the chain, which is left out, both take their
scale from the draws so far. Regimes are not put in an order, so that the sign of their difference means the same in all draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from scipy import stats
from scipy.optimize import minimize

from markets.common.errors import InputError
from markets.common.words import count
from markets.synthetic.two_regimes import TwoRegimes

FEWEST = 250  # returns, below which not even volatilities can be told apart
STEPS = 2400
FREEDOM = 5.0  # of the proposals
_TYPICAL = np.array([0, 0, 0, 0, math.log(60), math.log(60), math.log(6)])
_WIDTH = np.array([4.0, 4.0, 0.7, 0.7, 1.2, 1.2, 1.0])  # of the means per √year
# Starts: regimes that differ in volatility, in their means, or in both, and are short or long.
_STARTS = [(m, v, d) for m, v in ((0, 0.5), (0.15, 0.0), (0.1, 0.4), (-0.1, 0.4)) for d in (20, 100)]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Markets that some returns may have come from.

    Attributes
    ----------
    mode : TwoRegimes
        The most probable one.
    draws : tuple of TwoRegimes
        Equally probable ones.
    """

    mode: TwoRegimes
    draws: tuple[TwoRegimes, ...]
    _fit: _Fit

    def subset(self, rows: np.ndarray) -> Calibration:
        """The same with some of the draws."""
        fit = replace(self._fit, draws=self._fit.draws[rows])
        return Calibration(self.mode, tuple(self.draws[k] for k in rows), fit)

    def ray(self, scores: np.ndarray, level: float = 0.9, points: int = 8) -> tuple[TwoRegimes, ...]:
        """Markets from the mode on in the direction in which a score of the draws grows, to the end of its profile interval.

        The direction is that of the score's covariance with the coordinates, regimes labelled as in the mode. The end is where
        the log of the posterior density has fallen by half the quantile of χ² with one degree of freedom: for a linear score
        of a Gaussian it is the end of the profile likelihood's interval.

        Parameters
        ----------
        scores : ndarray of shape (len(draws),)
        level : float
            Level of the interval.
        points : int
            Number of markets, evenly spaced; none if the scores are all the same.
        """
        return tuple(_regimes(x, self._fit.scale) for x in self._fit.ray(scores, level, points))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Coordinates of the mode (7,) and of the draws (K, 7), and the density that they come from."""

    scale: float
    z: np.ndarray
    width: np.ndarray
    mode: np.ndarray
    draws: np.ndarray

    def ray(self, scores: np.ndarray, level: float, points: int) -> np.ndarray:
        swapped = self.draws[:, [1, 0, 3, 2, 5, 4, 6]]
        away = [np.square((x - self.mode) / self.width).sum(axis=1) for x in (self.draws, swapped)]
        draws = np.where((away[1] < away[0])[:, None], swapped, self.draws)
        direction = (scores - scores.mean()) @ (draws - draws.mean(axis=0)) / len(scores)
        size = float(np.sqrt(np.square(direction / self.width).sum()))
        if not size > 0:
            return np.empty((0, len(self.mode)))
        direction /= size
        top, fall = _log_posterior(self.mode, self.z, _TYPICAL, self.width), 0.5 * stats.chi2.ppf(level, 1)
        low, high = 0.0, 5.0  # in standard deviations of the prior
        for _ in range(20):
            middle = 0.5 * (low + high)
            there = _log_posterior(self.mode + middle * direction, self.z, _TYPICAL, self.width)
            low, high = (middle, high) if there > top - fall else (low, middle)
        return self.mode + np.linspace(0, low, points + 1)[1:, None] * direction


def calibrate(returns: np.ndarray, per_year: float = 252, draws: int = 200, seed: int = 0) -> Calibration:
    """Draw markets of two regimes from their posterior distribution.

    Parameters
    ----------
    returns : ndarray of shape (T,)
        Finite returns.
    per_year : float
        Bars per year, on which the prior of the means depends.
    draws : int
        Number of markets.
    seed : int

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        When there are too few returns, they are not finite, or they do not vary.
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    if not np.isfinite(returns).all():
        raise InputError("returns must be finite; leave out what is missing")
    if len(returns) < FEWEST:
        raise InputError(f"{count(len(returns), 'return')} cannot tell two regimes apart; at least {FEWEST} are needed")
    if draws < 1 or seed < 0 or not per_year > 0:
        raise InputError(
            f"draws is {draws}, seed {seed} and per_year {per_year}; draws must be at least 1, seed at least 0"
        )
    scale = float(returns.std())
    if not scale > 1e-12 or np.mean(returns == np.median(returns)) > 0.5:
        raise InputError(
            "prices stand still on most bars, so that there is nothing to fit; leave out series that are pegged"
        )
    z, width = returns / scale, _WIDTH / np.array([*[math.sqrt(per_year)] * 2, 1, 1, 1, 1, 1])
    mode = _mode(z, width)
    chain = _chain(z, width, mode, np.random.default_rng(seed))
    chosen = chain[np.linspace(0, len(chain) - 1, draws).round().astype(int)]
    fit = _Fit(scale, z, width, mode, chosen)
    return Calibration(_regimes(mode, scale), tuple(_regimes(x, scale) for x in chosen), fit)


def _regimes(x: np.ndarray, scale: float) -> TwoRegimes:
    (a, b), (c, d), (e, f) = scale * x[:2], scale * np.exp(x[2:4]), 1 + np.exp(x[4:6])
    return TwoRegimes((float(a), float(b)), (float(c), float(d)), (float(e), float(f)), 2 + math.exp(x[6]))


def _mode(z: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The best of the three best starts, each improved by quasi-Newton steps."""
    centre = float(z.mean())
    starts = [np.array([centre + m, centre - m, -v, v, math.log(d), math.log(d), _TYPICAL[6]]) for m, v, d in _STARTS]
    starts.sort(key=lambda x: -_log_posterior(x, z, _TYPICAL, width))
    step = 1e-5 * width
    bounds = list(zip(_TYPICAL - 5 * width, _TYPICAL + 5 * width, strict=True))

    def slope(x: np.ndarray) -> np.ndarray:
        ends = [[_log_posterior(x + s * e, z, _TYPICAL, width) for s in (1, -1)] for e in np.diag(step)]
        return -np.array([up - down for up, down in ends]) / (2 * step)

    found = [
        minimize(
            lambda x: -_log_posterior(x, z, _TYPICAL, width), x, jac=slope, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 60},
        )
        for x in starts[:3]
    ]  # fmt: skip
    return min(found, key=lambda end: end.fun).x


def _curvature(x: np.ndarray, z: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Covariance (7, 7) of the Gaussian with the posterior's curvature at `x`; no wider than the prior."""
    size, step = len(x), np.diag(0.02 * width)

    def at(point: np.ndarray) -> float:
        return _log_posterior(point, z, _TYPICAL, width)

    hessian = np.empty((size, size))
    for i in range(size):
        for j in range(i + 1):
            a, b = step[i], step[j]
            second = at(x + a + b) - at(x + a - b) - at(x - a + b) + at(x - a - b)
            hessian[i, j] = hessian[j, i] = -second / (4 * a[i] * b[j])
    values, vectors = np.linalg.eigh(hessian * np.outer(width, width))
    return (vectors / np.maximum(values, 1.0)) @ vectors.T * np.outer(width, width)


def _chain(z: np.ndarray, width: np.ndarray, mode: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws from the posterior, shape (2/3 · STEPS, 7)."""
    centre, covariance, start = mode, _curvature(mode, z, width), mode
    for steps in (STEPS // 3, STEPS - STEPS // 3):
        normal = rng.standard_normal((steps, len(mode)))
        stretch = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, steps))
        root = np.linalg.cholesky(covariance)
        chain = _walk(z, _TYPICAL, width, start, centre, root, normal, stretch, rng.random((steps, 2)))
        # from now on the draws' centre and scale, widened by the curvature for directions in which they hardly moved
        start, centre = chain[-1], chain.mean(axis=0)
        covariance = np.cov(chain, rowvar=False) + 0.1 * covariance
    return chain


@njit(cache=True, nogil=True, error_model="numpy")
def _log_posterior(x, z, typical, width):
    """Log of the posterior density at `x`, up to a constant, given returns z."""
    prior = 0.0
    for i in range(x.size):
        prior -= 0.5 * ((x[i] - typical[i]) / width[i]) ** 2
    freedom = 2 + math.exp(x[6])
    power, half = -0.5 * (freedom + 1), 1 / (freedom - 2)  # (r − μ)² / (scale² ν) = (r − μ)² / (σ² (ν − 2))
    height = math.lgamma(-power) - math.lgamma(0.5 * freedom) - 0.5 * math.log(math.pi * (freedom - 2))
    a, b, top, low = x[0], x[1], height - x[2], height - x[3]
    u, v = half * math.exp(-2 * x[2]), half * math.exp(-2 * x[3])
    leave, back = 1 / (1 + math.exp(x[4])), 1 / (1 + math.exp(x[5]))
    second = leave / (leave + back)  # probability of the second regime at the next return
    total, product = 0.0, 1.0
    for t in range(z.size):
        first = top + power * math.log1p((z[t] - a) ** 2 * u)
        other = low + power * math.log1p((z[t] - b) ** 2 * v)
        ratio = math.exp(other - first) if other - first < 700 else 1e300
        norm = (1 - second) + second * ratio
        total += first
        if not (1e-100 < norm < 1e100 and 1e-100 < product < 1e100):  # else one logarithm serves for many bars
            total += math.log(product) + math.log(norm)
            product = 1.0
        else:
            product *= norm
        second = second * ratio / norm
        second = second * (1 - back) + (1 - second) * leave
    return total + math.log(product) + prior


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(z, typical, width, start, centre, root, normal, stretch, toss):
    """Metropolis–Hastings: proposals from a Student t around `centre`, or steps from the present point, in turn at random."""
    steps, size = normal.shape
    inverse = np.linalg.inv(root)
    out = np.empty((steps, size))
    x = start.copy()
    here = _log_posterior(x, z, typical, width)
    power = -0.5 * (FREEDOM + size)
    for k in range(steps):
        move = root @ normal[k]
        if toss[k, 0] < 0.5:
            y = centre + stretch[k] * move
            correction = power * (
                math.log1p(((inverse @ (x - centre)) ** 2).sum() / FREEDOM)
                - math.log1p(((inverse @ (y - centre)) ** 2).sum() / FREEDOM)
            )
        else:
            y = x + (2.4 / math.sqrt(size)) * (stretch[k] if toss[k, 0] < 0.75 else 0.3) * move
            correction = 0.0
        inside = True
        for i in range(size):
            inside = inside and abs(y[i] - typical[i]) < 6 * width[i]
        if inside:
            there = _log_posterior(y, z, typical, width)
            if math.log(toss[k, 1] + 1e-300) < there - here + correction:
                x, here = y, there
        out[k] = x
    return out
