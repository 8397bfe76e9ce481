"""Bayesian online change-point detection.

Returns come in segments. Each segment has its own mean and variance, drawn from a normal-inverse-gamma prior; at every bar a
new segment begins with probability h. The run length r_t is the number of returns in the current segment. Its posterior is
(Adams and MacKay, "Bayesian online changepoint detection", arXiv 0710.3742)::

    P(r_t = r + 1) ∝ P(r_{t−1} = r) π_r(x_t) (1 − h)        P(r_t = 0) ∝ Σ_r P(r_{t−1} = r) π_r(x_t) h

where π_r, the predictive density after the last r returns, is Student's t with 2α_r degrees of freedom, centre μ_r and
squared scale β_r (κ_r + 1) / (α_r κ_r) (Murphy, "Conjugate Bayesian analysis of the Gaussian distribution", 2007). Run lengths
with a probability below h · `SMALLEST` are dropped and the rest is normalised. This bounds the number of run lengths per bar
by 1 / (h · SMALLEST); in practice it is a few hundred.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numba import njit
from scipy.optimize import minimize

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.regimes.base import _SHARED, RegimeDetector, RegimePath

# Run lengths below this fraction of h, the probability of a new segment, are dropped.
SMALLEST = 1e-3
# The prior is optimised with a coarser such bound, on at most this many returns, in at most this many evaluations.
COARSE = 3e-2
SEARCH_BARS = 5000
SEARCHES = 120


class ChangePoints(RegimeDetector):
    """Bayesian online change-point detection with a Student-t predictive distribution.

    Regimes are volatility levels of the current segment. The probability of a regime is that of the run lengths whose
    volatility estimate ``√(β_r / α_r)`` lies between the regime's edges. The edges are half-way between the K cluster means
    (k-means) of the log of the expected estimate over the fitted span. A bar without a return changes nothing.

    Parameters
    ----------
    n_regimes : int
    expected_run : float, optional
        Expected number of bars in a segment, 1 / h. By default it is fitted along with the prior.

    Attributes
    ----------
    prior : ndarray of shape (4,)
        μ₀, κ₀, α₀, β₀ for returns in per cent per bar; maximises the likelihood of the fitted span (empirical Bayes). Set by
        `fit`, as are the following attributes.
    hazard : float
        h.
    edges : ndarray of shape (K − 1,)
        Volatility in per cent per bar, ascending.
    """

    prior: np.ndarray
    hazard: float
    edges: np.ndarray

    def __init__(self, n_regimes: int = 3, *, expected_run: float | None = None):
        self.n_regimes = n_regimes
        self.expected_run = expected_run
        self._check_counts(n_regimes=1)
        if expected_run is not None and not (math.isfinite(expected_run) and expected_run > 1):
            raise InputError(f"expected_run is {expected_run}; it must be a number of bars above 1")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return _SHARED | {"prior": (4,), "hazard": (), "edges": (self.n_regimes - 1,)}

    def fit(self, bars: Bars) -> ChangePoints:
        """Fit the prior, the hazard and the edges on all rows of `bars`, history included.

        Raises
        ------
        InputError
            When there are too few bars for the number of regimes, prices do not move, or the volatility hardly changes.
        """
        returns = self._returns_to_fit(bars, max(20 * self.n_regimes, 60))
        self.prior, self.hazard = _search(returns[-SEARCH_BARS:], self.expected_run)
        _, _, volatility, _ = _run(returns, self.prior, self.hazard, np.empty(0), SMALLEST)
        edges = _natural_edges(volatility, self.n_regimes)
        if edges is None:
            raise InputError(
                f"{bars.name}: the volatility of its segments has no {self.n_regimes} distinct levels; use fewer regimes"
            )
        self.edges = edges
        self._warn_of_degenerate(bars, self.filter(bars.with_past()))
        return self

    def filter(self, bars: Bars) -> RegimePath:
        """Regime probabilities at each visible bar, from this and earlier bars only."""
        probabilities, _, _, _ = self._online(bars)
        return self._path_of(bars, probabilities)

    def run_length(self, bars: Bars) -> np.ndarray:
        """Expected number of returns since the last change point, shape (T,), from this and earlier bars only.

        It can serve as a feature.
        """
        _, run, _, _ = self._online(bars)
        return run[bars.past :]

    def hindsight(self, bars: Bars) -> RegimePath:
        """Regimes of the most likely segmentation of the whole span; probabilities are 0 or 1."""
        returns = self._returns(bars)
        known = np.flatnonzero(np.isfinite(returns))
        labels = np.full(len(returns), np.searchsorted(self.edges, _estimate(returns[:0], self.prior), side="right"))
        starts = _segments(returns[known], self.prior, self.hazard, SMALLEST) if len(known) else []
        for first, last in pairwise([*starts, len(known)]):
            level = np.searchsorted(self.edges, _estimate(returns[known[first:last]], self.prior), side="right")
            labels[known[first] :] = level  # also the gaps that follow
        return self._path_of(bars, np.eye(self.n_regimes)[labels])

    def _online(self, bars: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        return _run(self._returns(bars), self.prior, self.hazard, self.edges, SMALLEST)


def _search(returns: np.ndarray, expected_run: float | None) -> tuple[np.ndarray, float]:
    """Maximum-likelihood (prior, hazard), by the Nelder–Mead simplex in logs."""
    centre, variance = returns.mean(), returns.var()

    def parts(logs: np.ndarray) -> tuple[np.ndarray, float]:
        kappa, alpha, ratio, *rest = np.exp(np.clip(logs, -12, 12))
        run = 1 + rest[0] if expected_run is None else expected_run
        alpha += 0.5
        return np.array([centre, kappa, alpha, alpha * ratio * variance]), 1 / run

    def unlikely(logs: np.ndarray) -> float:
        prior, hazard = parts(logs)
        return -_run(returns, prior, hazard, np.empty(0), COARSE)[3]

    start = np.log([20.0, 2.0, 0.7] + ([100.0] if expected_run is None else []))
    found = minimize(unlikely, start, method="Nelder-Mead", options={"maxfev": SEARCHES, "xatol": 0.02, "fatol": 0.02})
    return parts(found.x)


def _natural_edges(volatility: np.ndarray, k: int) -> np.ndarray | None:
    """Edges between the k means of log volatility (Lloyd's algorithm, started at quantiles); None if a cluster is empty."""
    logs = np.log(volatility)
    centres = np.quantile(logs, (np.arange(k) + 0.5) / k)
    for _ in range(200):
        edges = (centres[1:] + centres[:-1]) / 2
        labels = np.searchsorted(edges, logs, side="right")
        counts = np.bincount(labels, minlength=k)
        if not counts.all():
            return None
        before, centres = centres, np.bincount(labels, logs, k) / counts
        if np.array_equal(before, centres):
            break
    return np.exp(edges)


def _run(returns, prior, hazard, edges, smallest):
    """(probabilities (T, K), expected run length (T,), expected volatility (T,), log evidence); returns may be NaN."""
    bars = len(returns)
    out = np.empty((bars, len(edges) + 1)), np.empty(bars), np.empty(bars)
    evidence = _filter(returns, prior, hazard, edges, smallest, _heights(bars, prior), *out)
    return *out, evidence


def _segments(returns, prior, hazard, smallest) -> list[int]:
    """First bar of each segment of the most likely segmentation; returns must not be NaN."""
    best = _likeliest(returns, prior, hazard, smallest, _heights(len(returns), prior))
    starts = [int(best[-1])]
    while starts[-1] > 0:
        starts.append(int(best[starts[-1] - 1]))
    return starts[::-1]


def _estimate(returns: np.ndarray, prior: np.ndarray) -> float:
    """Estimated volatility of a segment from all of its returns, ``√(β_n / α_n)``."""
    centre, kappa, alpha, beta = prior
    n, mean = len(returns), returns.mean() if len(returns) else 0.0
    beta = beta + 0.5 * ((returns - mean) ** 2).sum() + 0.5 * kappa * n * (mean - centre) ** 2 / (kappa + n)
    return float(np.sqrt(beta / (alpha + n / 2)))


@njit(cache=True, nogil=True)
def _heights(bars, prior):
    """Log of the normalising constant of the Student-t density after n returns, for n from 0 to `bars`."""
    out = np.empty(bars + 1)
    for n in range(bars + 1):
        alpha = prior[2] + n / 2
        out[n] = math.lgamma(alpha + 0.5) - math.lgamma(alpha) - 0.5 * math.log(2 * math.pi * alpha)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _log_predictive(x, prior, n, mean, beta, height):
    """Log predictive density of the next return after n returns of a segment."""
    kappa, alpha = prior[1] + n, prior[2] + 0.5 * n
    square = beta * (kappa + 1) / (alpha * kappa)
    return height - 0.5 * math.log(square) - (alpha + 0.5) * math.log1p((x - mean) ** 2 / square / (2 * alpha))


@njit(cache=True, nogil=True, error_model="numpy")
def _learn(x, prior, n, mean, beta):
    """Update (mean, β) of a segment with one more return."""
    kappa = prior[1] + n
    return (kappa * mean + x) / (kappa + 1), beta + 0.5 * kappa * (x - mean) ** 2 / (kappa + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _filter(returns, prior, hazard, edges, smallest, heights, probabilities, run, volatility):
    """Run the filter, writing to the last three arguments; returns the log evidence.

    Run lengths are stored from the longest to the shortest.
    """
    most = min(returns.size + 1, int(1 / (smallest * hazard)) + 2)
    mass, count = np.empty(most), np.empty(most, dtype=np.int64)
    mean, beta = np.empty(most), np.empty(most)
    mass[0], count[0], mean[0], beta[0] = 1.0, 0, prior[0], prior[3]
    held, evidence = 1, 0.0
    for t in range(returns.size):
        x = returns[t]
        if not np.isnan(x):
            top = -np.inf
            for i in range(held):  # `mass` holds logs in this loop
                mass[i] = math.log(mass[i]) + _log_predictive(x, prior, count[i], mean[i], beta[i], heights[count[i]])
                top = max(top, mass[i])
            total = 0.0
            for i in range(held):
                mass[i] = math.exp(mass[i] - top)
                total += mass[i]
            evidence += top + math.log(total)
            kept, left = 0, 0.0
            for i in range(held):
                grown = mass[i] / total * (1 - hazard)
                if grown >= smallest * hazard:
                    mean[kept], beta[kept] = _learn(x, prior, count[i], mean[i], beta[i])
                    mass[kept], count[kept] = grown, count[i] + 1
                    left += grown
                    kept += 1
            mass[kept], count[kept], mean[kept], beta[kept] = hazard, 0, prior[0], prior[3]
            left += hazard
            held = kept + 1
            for i in range(held):
                mass[i] /= left
        probabilities[t] = 0.0
        run[t], volatility[t] = 0.0, 0.0
        for i in range(held):
            estimate = math.sqrt(beta[i] / (prior[2] + 0.5 * count[i]))
            k = 0
            while k < edges.size and estimate >= edges[k]:
                k += 1
            probabilities[t, k] += mass[i]
            run[t] += mass[i] * count[i]
            volatility[t] += mass[i] * estimate
    return evidence


@njit(cache=True, nogil=True, error_model="numpy")
def _likeliest(returns, prior, hazard, smallest, heights):
    """First bar of the last segment in the most likely segmentation of the returns up to each bar, shape (T,).

    The same recursion as `_filter` with the maximum in place of the sum. Segments that are less likely than the best by the
    factor `smallest` are dropped.
    """
    bars = returns.size
    score, first = np.empty(bars), np.empty(bars, dtype=np.int64)
    mean, beta = np.empty(bars), np.empty(bars)
    out = np.empty(bars, dtype=np.int64)
    held, before = 0, 0.0
    for t in range(bars):
        score[held], first[held], mean[held], beta[held] = before, t, prior[0], prior[3]
        held += 1
        top, best = -np.inf, 0
        for i in range(held):
            n = t - first[i]
            score[i] += _log_predictive(returns[t], prior, n, mean[i], beta[i], heights[n])
            mean[i], beta[i] = _learn(returns[t], prior, n, mean[i], beta[i])
            if score[i] > top:
                top, best = score[i], i
        out[t] = first[best]
        before = top + math.log(hazard)
        kept = 0
        for i in range(held):
            # a segment that is worse than starting a new one by more than this factor cannot become the best again
            if score[i] + math.log(1 - hazard) >= before + math.log(smallest):
                score[kept], first[kept] = score[i] + math.log(1 - hazard), first[i]
                mean[kept], beta[kept] = mean[i], beta[i]
                kept += 1
        held = kept
    return out
