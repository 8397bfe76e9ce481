"""Hidden Markov model with heavy-tailed, persistent states, used through its forward filter only.

State s_t in {1..K} is a Markov chain with transition matrix P; the market's return (the mean over symbols, in per cent) is
x_t ~ t_ν(μ_s, σ_s²), Student's t with ν degrees of freedom, centre μ and scale σ; its standard deviation is σ √(ν / (ν − 2)).
Filter::

    α_t(j) ∝ t_ν(x_t; μ_j, σ_j²) Σ_i α_{t−1}(i) P_ij

which uses nothing after bar t. A bar without a return changes nothing: the chain moves from one return to the next.

With Gaussian states, a split or a single bad tick is so unlikely that a state of its own pays for it. Student's t explains it
as a rare draw of any state, and states then last longer (Bulla, "Hidden Markov models with t components: increased persistence
and other aspects", Quantitative Finance 2011). A prior on P says that states last: Dirichlet, with κ prior bars of staying in
each state (the sticky prior of Fox, Sudderth, Jordan and Willsky, "A sticky HDP-HMM with application to speaker diarization",
Annals of Applied Statistics 2011).

Fitting maximises log-likelihood + κ Σ_i log P_ii by EM (Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE
1989). With γ_t(j) the probability of state j given all returns, ξ_ij the expected number of moves from i to j, and weights
u_t(j) = (ν + 1) / (ν + (x_t − μ_j)² / σ_j²) of the normal scale mixture (Peel and McLachlan, "Robust mixture modelling using the
t distribution", Statistics and Computing 2000), a step is ::

    P_ij ∝ ξ_ij + κ 1[i = j]      μ_j = Σ γ u x / Σ γ u      σ_j² = Σ γ u (x − μ_j)² / Σ γ u

The last divisor is that of Kent, Tyler and Vardi ("A curious likelihood identity for the multivariate t-distribution",
Communications in Statistics 1994): it has the same fixed points as Σ γ and gets there sooner. With ν = ∞ all u are 1 and
states are Gaussian.

EM has restarts, and is accelerated by squared extrapolation (SQUAREM, scheme S3: Varadhan and Roland, "Simple and globally
convergent methods for accelerating the convergence of any EM algorithm", Scandinavian Journal of Statistics 2008). With
r = EM(θ) − θ and v = EM(EM(θ)) − EM(θ) − r, it tries θ + 2s·r + s²·v, s = |r| / |v|, where probabilities and variances are in
logs, and accepts it only if the objective does not fall. All restarts get a few EM steps; the best ones are then run to
convergence. On a long history they do so on blocks of it, and the best is then run on all of it.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numba import njit

from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.regimes.base import _SHARED, RegimeDetector, RegimePath, _typical_size

# EM steps of every restart, and the number of restarts that are then run to convergence.
SHORT_RUN = 15
FINALISTS = 3
# Restarts run on at most this many returns, in blocks of so many in a row; the best is then run on all.
SEARCH_BARS = 20_000
BLOCK = 1000
# Two runs count as converging to the same point if their states differ by less than this, in units of their scale.
SAME_END = 0.05
# Floor of probabilities, whose logs must be finite; far below anything that a fit can distinguish from zero.
SMALLEST = 1e-200


class HiddenMarkovRegimes(RegimeDetector):
    """Hidden Markov model of the market's return, with Student-t states that last.

    Parameters
    ----------
    n_regimes : int
    degrees_of_freedom : float
        ν of all states, above 2; ``inf`` for Gaussian states.
    persistence : float
        κ, in bars: the fit counts this many bars on which each state stayed, besides those in the data. 0 for none.
    restarts : int
        Number of random starts of EM; the best result is kept.
    max_iterations : int
        Maximum number of EM steps per start.
    tolerance : float
        A run stops when an EM step increases the objective per bar by less than this.
    seed : int

    Attributes
    ----------
    transition : ndarray of shape (K, K)
        ``transition[i, j]`` is the probability of going from i to j. Set by `fit`, as are the following attributes.
    mean, volatility : ndarray of shape (K,)
        Centre and standard deviation in per cent per bar, in ascending order of volatility.
    start : ndarray of shape (K,)
        Distribution of the state at the first bar that has a return.
    log_likelihood : float
        Log-likelihood of the fitted returns, without the prior.
    """

    _unsaved: ClassVar[dict[str, dict[str, Any]]] = {
        "parameters": {"degrees_of_freedom": math.inf, "persistence": 0.0},
        "fitted": RegimeDetector._unsaved["fitted"],
    }
    start: np.ndarray
    transition: np.ndarray
    mean: np.ndarray
    volatility: np.ndarray
    log_likelihood: float

    def __init__(
        self,
        n_regimes: int = 3,
        *,
        degrees_of_freedom: float = 5.0,
        persistence: float = 100.0,
        restarts: int = 10,
        max_iterations: int = 1000,
        tolerance: float = 1e-9,
        seed: int = 0,
    ):
        self.n_regimes = n_regimes
        self.degrees_of_freedom = float(degrees_of_freedom)
        self.persistence = float(persistence)
        self.restarts = restarts
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.seed = seed
        self._check_counts(n_regimes=1, restarts=1, max_iterations=1, seed=0)
        if not self.degrees_of_freedom > 2:
            raise InputError(
                f"degrees_of_freedom is {degrees_of_freedom}; it must be above 2, where the volatility is finite, or inf"
            )
        if not 0 <= self.persistence < math.inf:
            raise InputError(f"persistence is {persistence}; it must be a number of bars of at least 0")

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        k = self.n_regimes
        return _SHARED | {
            "start": (k,),
            "transition": (k, k),
            "mean": (k,),
            "volatility": (k,),
            "log_likelihood": (),
        }

    def fit(self, bars: Bars) -> HiddenMarkovRegimes:
        """Fit on all rows of `bars`, history included.

        Raises
        ------
        InputError
            When there are too few bars for the number of regimes, or prices do not move.
        """
        k = self.n_regimes
        returns = self._returns_to_fit(bars, 20 * k)
        rng = np.random.default_rng(self.seed)
        prior = self.degrees_of_freedom, self.persistence
        workspace = _Workspace(_blocks(returns), k, *prior)
        short, more = min(SHORT_RUN, self.max_iterations), self.max_iterations - SHORT_RUN
        runs = []
        for _ in range(self.restarts):
            theta = workspace.random_start(rng)
            runs.append((workspace.climb(theta, short, self.tolerance), theta))
        runs.sort(key=lambda run: -run[0])
        ends = [runs[0]]
        if more > 0:
            ends = []
            for _, theta in runs[:FINALISTS]:
                if not any(_same(theta, end, k) for _, end in ends):
                    ends.append((workspace.climb(theta, more, self.tolerance), theta))
        best = max(ends, key=lambda run: run[0])[1]
        if len(workspace.returns) < len(returns):
            _Workspace(returns, k, *prior).climb(best, self.max_iterations, self.tolerance)
        self.start, self.transition, self.mean, squared_scale = _parts(best, k)
        self.volatility = np.sqrt(squared_scale) / self._scale_of_one
        _, _, self.log_likelihood = self._forward(returns)
        self._warn_of_degenerate(bars, self.filter(bars.with_past()))
        return self

    def filter(self, bars: Bars) -> RegimePath:
        """Regime probabilities at each visible bar, from this and earlier bars only."""
        returns, last = self._news(bars)
        return self._path(bars, self._forward(returns)[1], last)

    def score(self, bars: Bars) -> float:
        """Log-likelihood of the returns (in per cent) of all rows of `bars`; for the fitted bars, it equals `log_likelihood`."""
        return self._forward(self._news(bars)[0])[2]

    def hindsight(self, bars: Bars) -> RegimePath:
        """Smoothed regime probabilities, ``P(s_t | all returns)``, which use later bars too."""
        returns, last = self._news(bars)
        density, alpha, _ = self._forward(returns)
        _smooth(self.transition, density, alpha)
        return self._path(bars, alpha, last)

    @property
    def _scale_of_one(self) -> float:
        """Scale of a state of volatility 1."""
        return 1.0 if math.isinf(self.degrees_of_freedom) else math.sqrt(1 - 2 / self.degrees_of_freedom)

    def _forward(self, returns: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Scaled densities and filtered probabilities of returns without NaN, both (T, K), and the log-likelihood."""
        density, alpha = np.empty((2, len(returns), self.n_regimes))
        squared_scale = (self.volatility * self._scale_of_one) ** 2
        total = _densities(returns, self.mean, squared_scale, self.degrees_of_freedom, density)
        total += _forward(self.start, self.transition, density, alpha, np.empty(len(returns)))
        return density, alpha, float(total)

    def _path(self, bars: Bars, probabilities: np.ndarray, last: np.ndarray) -> RegimePath:
        """Path of the visible bars: of the last return, or `start` before the first."""
        return self._path_of(bars, np.vstack([probabilities, self.start])[last])


class _Workspace:
    """The returns to fit, and scratch arrays of EM that all runs share."""

    def __init__(self, returns: np.ndarray, k: int, freedom: float, persistence: float):
        self.returns, self.k = returns, k
        self.freedom, self.persistence = freedom, persistence
        self.centre, self.scale = float(np.median(returns)), _typical_size(returns)
        self.floor = 1e-4 * self.scale**2  # keeps a state from collapsing onto a single return
        self.density, self.alpha = np.empty((2, len(returns), k))
        self.inverse = np.empty(len(returns))

    def random_start(self, rng: np.random.Generator) -> np.ndarray:
        """Random parameters: persistent states with random means and volatilities."""
        k = self.k
        stay = rng.uniform(0.8, 0.99) if k > 1 else 1.0
        transition = np.full((k, k), (1 - stay) / max(k - 1, 1))
        np.fill_diagonal(transition, stay)
        squared_scale = self.scale**2 * np.sort(rng.uniform(0.2, 1, k)) * np.linspace(0.5, 3, k)
        mean = self.centre + self.scale * 0.2 * rng.standard_normal(k)
        return np.concatenate([np.full(k, 1 / k), transition.ravel(), mean, squared_scale])

    def climb(self, theta: np.ndarray, steps: int, tolerance: float) -> float:
        """Improve `theta` in place by at most `steps` EM steps, until one gains less per bar; returns the objective."""
        least = tolerance * len(self.returns)
        prior = self.freedom, self.persistence
        return _climb(
            self.returns, theta, self.k, *prior, self.floor, steps, least, self.density, self.alpha, self.inverse
        )

    def em(self, theta: np.ndarray, out: np.ndarray) -> float:
        """One EM step from `theta` to `out`; returns the objective at `theta`."""
        prior = self.freedom, self.persistence
        return _em(self.returns, theta, self.k, *prior, self.floor, self.density, self.alpha, self.inverse, out)


def _blocks(returns: np.ndarray) -> np.ndarray:
    """All returns, or `SEARCH_BARS` of them in blocks of `BLOCK` in a row, spread evenly over the history."""
    if len(returns) <= SEARCH_BARS:
        return returns
    firsts = np.linspace(0, len(returns) - BLOCK, SEARCH_BARS // BLOCK).astype(np.int64)
    return returns[(firsts[:, None] + np.arange(BLOCK)).ravel()]


def _parts(theta: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """Split a parameter vector into (start, transition, mean, squared scale), with states ordered by scale."""
    start, transition, mean, squared_scale = np.split(theta, np.cumsum([k, k * k, k]))
    order = np.argsort(squared_scale)
    return start[order], transition.reshape(k, k)[np.ix_(order, order)], mean[order], squared_scale[order]


def _same(a: np.ndarray, b: np.ndarray, k: int) -> bool:
    """Whether the states of two parameter vectors have nearly the same means and scales."""
    (_, _, mean, squared_scale), (_, _, other_mean, other) = _parts(a, k), _parts(b, k)
    scale = np.sqrt(other)
    apart = np.maximum(np.abs(np.sqrt(squared_scale) - scale), np.abs(mean - other_mean)) / scale
    return bool((apart < SAME_END).all())


@njit(cache=True, nogil=True, error_model="numpy")
def _densities(returns, mean, squared_scale, freedom, density):
    """Write the density of each return in each state, divided by the largest, to `density`.

    Returns the sum of the logs of the largest densities.
    """
    k = mean.size
    gaussian = np.isinf(freedom)
    height, power = -0.5 * np.log(squared_scale), -0.5 * (freedom + 1)
    if gaussian:
        height -= 0.5 * math.log(2 * math.pi)
    else:
        height += math.lgamma(-power) - math.lgamma(0.5 * freedom) - 0.5 * math.log(math.pi * freedom)
    total = 0.0
    for t in range(returns.size):
        top = -np.inf
        for j in range(k):
            square = (returns[t] - mean[j]) ** 2 / squared_scale[j]
            density[t, j] = height[j] + (-0.5 * square if gaussian else power * math.log1p(square / freedom))
            top = max(top, density[t, j])
        for j in range(k):
            below = density[t, j] - top
            density[t, j] = math.exp(below) if below < 0 else 1.0
        total += top
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(start, transition, density, alpha, inverse):
    """Write filtered probabilities to `alpha` (T, K) and 1 / norm of each step to `inverse`; returns the sum of log norms."""
    k = start.size
    total, product = 0.0, 1.0
    for t in range(density.shape[0]):
        norm = 0.0
        for j in range(k):
            prior = start[j]
            if t > 0:
                prior = 0.0
                for i in range(k):
                    prior += alpha[t - 1, i] * transition[i, j]
            alpha[t, j] = prior * density[t, j]
            norm += alpha[t, j]
        if norm > 1e-250:
            inverse[t] = 1 / norm
            for j in range(k):
                alpha[t, j] *= inverse[t]
        else:  # numerically impossible in all states: reset to equal probabilities
            norm, inverse[t] = 1e-250, 1.0
            alpha[t] = 1 / k
        product *= norm
        if product < 1e-50:  # take one logarithm for many bars
            total += np.log(product)
            product = 1.0
    return total + np.log(product)


@njit(cache=True, nogil=True, error_model="numpy")
def _smooth(transition, density, alpha):
    """Convert filtered to smoothed probabilities, in place."""
    k = transition.shape[0]
    beta, weighted = np.ones(k), np.empty(k)
    for t in range(alpha.shape[0] - 1, -1, -1):
        total, top = 0.0, 1e-300
        for j in range(k):
            weighted[j] = density[t, j] * beta[j]
            alpha[t, j] *= beta[j]
            total += alpha[t, j]
        for i in range(k):
            alpha[t, i] /= max(total, 1e-300)
            beta[i] = 0.0
            for j in range(k):
                beta[i] += transition[i, j] * weighted[j]
            top = max(top, beta[i])
        for i in range(k):
            beta[i] /= top


@njit(cache=True, nogil=True, error_model="numpy")
def _em(returns, theta, k, freedom, persistence, floor, density, alpha, inverse, out):
    """One EM step from `theta` to `out`; returns the log-likelihood at `theta`, plus the log of the prior."""
    bars = returns.size
    start, transition = theta[:k], theta[k : k + k * k].reshape(k, k)
    mean, squared_scale = theta[k + k * k : 2 * k + k * k], theta[2 * k + k * k :]
    total = _densities(returns, mean, squared_scale, freedom, density)
    total += _forward(start, transition, density, alpha, inverse)
    moves = np.zeros((k, k))
    for i in range(k):
        total += persistence * math.log(transition[i, i])
    weight, first, second = np.zeros(k), np.zeros(k), np.zeros(k)
    beta, weighted = np.ones(k), np.empty(k)
    gaussian = np.isinf(freedom)
    for t in range(bars - 1, -1, -1):
        x = returns[t]
        for j in range(k):
            posterior = alpha[t, j] * beta[j]
            if not gaussian:
                posterior *= (freedom + 1) / (freedom + (x - mean[j]) ** 2 / squared_scale[j])
            weight[j] += posterior
            first[j] += posterior * x
            second[j] += posterior * x * x
            weighted[j] = density[t, j] * beta[j] * inverse[t]
        if t == 0:
            break
        for i in range(k):
            beta[i] = 0.0
            for j in range(k):
                moves[i, j] += alpha[t - 1, i] * weighted[j]
                beta[i] += transition[i, j] * weighted[j]
    for i in range(k):
        held = max(weight[i], 1e-300)
        out[i] = max(alpha[0, i] * beta[i], SMALLEST)
        out[k + k * k + i] = first[i] / held
        out[2 * k + k * k + i] = max(second[i] / held - (first[i] / held) ** 2, floor)
        row = out[k + i * k : k + (i + 1) * k]
        for j in range(k):
            row[j] = max(moves[i, j] * transition[i, j] + (persistence if i == j else 0.0), SMALLEST)
        row /= row.sum()
    out[:k] /= out[:k].sum()
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _extrapolate(before, once, twice, k, floor, out):
    """Write the SQUAREM step from three EM iterates to `out`; returns whether it goes beyond the last iterate."""
    size, plain = before.size, k + k * k  # means are extrapolated directly, everything else in logs
    r, v = np.empty(size), np.empty(size)
    for i in range(size):
        if plain <= i < plain + k:
            r[i] = once[i] - before[i]
            v[i] = twice[i] - once[i] - r[i]
        else:
            r[i] = np.log(once[i] / before[i])
            v[i] = np.log(twice[i] / once[i]) - r[i]
    curve = np.sqrt((v * v).sum())
    if not curve > 0:
        return False
    step = np.sqrt((r * r).sum()) / curve
    if not step > 1:
        return False
    for i in range(size):
        move = 2 * step * r[i] + step * step * v[i]
        if plain <= i < plain + k:
            out[i] = before[i] + move
        else:
            out[i] = max(before[i] * np.exp(min(move, 50.0)), SMALLEST)
    for i in range(plain + k, size):
        out[i] = max(out[i], floor)
    for i in range(k + 1):
        out[i * k : (i + 1) * k] /= out[i * k : (i + 1) * k].sum()
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _climb(returns, theta, k, freedom, persistence, floor, steps, least, density, alpha, inverse):
    """Run EM with SQUAREM on `theta`, in place, until a step gains less than `least`; returns the objective."""
    once, twice, leap, landed = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    total = _em(returns, theta, k, freedom, persistence, floor, density, alpha, inverse, once)
    taken = 1
    while taken < steps:
        better = _em(returns, once, k, freedom, persistence, floor, density, alpha, inverse, twice)
        taken += 1
        if not better - total >= least:
            break
        if taken < steps and _extrapolate(theta, once, twice, k, floor, leap):
            reached = _em(returns, leap, k, freedom, persistence, floor, density, alpha, inverse, landed)
            taken += 1
            if reached >= better:
                theta[:], once[:], total = leap, landed, reached
                continue
        theta[:], once[:], total = once, twice, better
    return total
