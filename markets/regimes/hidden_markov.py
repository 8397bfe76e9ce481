"""Hidden Markov model, used through its forward filter only.

State s_t in {1..K} is a Markov chain with transition matrix P; the market's return (the mean over symbols, in per cent)
is x_t ~ N(μ_s, σ_s²). Filter::

    α_t(j) ∝ N(x_t; μ_j, σ_j²) Σ_i α_{t−1}(i) P_ij

which uses nothing after bar t. Fitting is Baum–Welch (EM) with restarts (Rabiner, "A tutorial on hidden Markov models",
Proceedings of the IEEE 1989), accelerated by squared extrapolation (SQUAREM, scheme S3: Varadhan and Roland, "Simple and
globally convergent methods for accelerating the convergence of any EM algorithm", Scandinavian Journal of Statistics 2008).
With r = EM(θ) − θ and v = EM(EM(θ)) − EM(θ) − r, it tries θ + 2s·r + s²·v, s = |r| / |v|, where probabilities and variances
are in logs, and accepts it only if the likelihood does not fall. All restarts get a few EM steps; the most likely ones are
then run to convergence.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from markets.bars.bars import Bars
from markets.regimes.base import RegimeDetector, RegimePath

# EM steps of every restart, and the number of restarts that are then run to convergence.
SHORT_RUN = 15
FINALISTS = 3
# Two runs count as converging to the same point if their states differ by less than this, in standard deviations.
SAME_END = 0.05
# Floor of probabilities, whose logs must be finite; far below anything that a fit can distinguish from zero.
SMALLEST = 1e-200


class HiddenMarkovRegimes(RegimeDetector):
    """Gaussian hidden Markov model of the market's return.

    Parameters
    ----------
    n_regimes : int
    restarts : int
        Number of random starts of EM; the most likely result is kept.
    max_iterations : int
        Maximum number of EM steps per start.
    tolerance : float
        A run stops when an EM step increases the log-likelihood per bar by less than this.
    seed : int

    Attributes
    ----------
    transition : ndarray of shape (K, K)
        ``transition[i, j]`` is the probability of going from i to j. Set by `fit`, as are the following attributes.
    mean, volatility : ndarray of shape (K,)
        In per cent per bar, in ascending order of volatility.
    start : ndarray of shape (K,)
        Distribution of the state at the first bar that has a return.
    log_likelihood : float
        Log-likelihood of the fitted returns.
    """

    start: np.ndarray
    transition: np.ndarray
    mean: np.ndarray
    volatility: np.ndarray
    log_likelihood: float

    def __init__(
        self,
        n_regimes: int = 3,
        *,
        restarts: int = 10,
        max_iterations: int = 1000,
        tolerance: float = 1e-12,
        seed: int = 0,
    ):
        self.n_regimes = n_regimes
        self.restarts = restarts
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.seed = seed
        self._check_counts(n_regimes=1, restarts=1, max_iterations=1, seed=0)

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        k = self.n_regimes
        return {"start": (k,), "transition": (k, k), "mean": (k,), "volatility": (k,), "log_likelihood": ()}

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
        workspace = _Workspace(len(returns), k)
        floor = 1e-4 * returns.var()  # keeps a state from collapsing onto a single return
        short = min(SHORT_RUN, self.max_iterations)
        runs = []
        for _ in range(self.restarts):
            theta = _random_start(returns, k, rng)
            runs.append((workspace.climb(returns, theta, floor, short, self.tolerance), theta))
        runs.sort(key=lambda run: -run[0])
        ends = [runs[0]]
        if self.max_iterations > short:
            ends = []
            for _, theta in runs[:FINALISTS]:
                if not any(_same(theta, end, k) for _, end in ends):
                    more = self.max_iterations - short
                    ends.append((workspace.climb(returns, theta, floor, more, self.tolerance), theta))
        self.log_likelihood, best = max(ends, key=lambda run: run[0])
        self.start, self.transition, self.mean, variance = _parts(best, k)
        self.volatility = np.sqrt(variance)
        return self

    def filter(self, bars: Bars) -> RegimePath:
        """Regime probabilities at each visible bar, from this and earlier bars only."""
        alpha, _, _, last = self._run(bars)
        return self._path(bars, alpha, last)

    def score(self, bars: Bars) -> float:
        """Log-likelihood of the returns (in per cent) of all rows of `bars`; for the fitted bars, it equals `log_likelihood`."""
        return self._run(bars)[2]

    def hindsight(self, bars: Bars) -> RegimePath:
        """Smoothed regime probabilities, ``P(s_t | all returns)``, which use later bars too."""
        alpha, density, _, last = self._run(bars)
        _smooth(self.transition, density, alpha)
        return self._path(bars, alpha, last)

    def _run(self, bars: Bars) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Filtered probabilities and scaled densities, both (returns, K); the log-likelihood; each row's last return."""
        self._require_fit()
        returns, last = self._news(bars)
        alpha, density = np.empty((2, len(returns), self.n_regimes))
        total = _densities(returns, self.mean, self.volatility**2, density)
        total += _forward(self.start, self.transition, density, alpha, np.empty(len(returns)))
        return alpha, density, float(total), last

    def _path(self, bars: Bars, alpha: np.ndarray, last: np.ndarray) -> RegimePath:
        """Probabilities after the last return up to each visible row; `start`, where the chain begins, before the first."""
        return RegimePath(bars.index, np.vstack([alpha, self.start])[last[bars.past :]], self.names)


class _Workspace:
    """Scratch arrays of EM, shared by all runs."""

    def __init__(self, bars: int, k: int):
        self.k = k
        self.density, self.alpha = np.empty((2, bars, k))
        self.inverse = np.empty(bars)

    def climb(self, returns: np.ndarray, theta: np.ndarray, floor: float, steps: int, tolerance: float) -> float:
        """Improve `theta` in place by at most `steps` EM steps; returns its log-likelihood."""
        least = tolerance * len(returns)
        return _climb(returns, theta, self.k, floor, steps, least, self.density, self.alpha, self.inverse)


def _parts(theta: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """Split a parameter vector into (start, transition, mean, variance), with states ordered by variance."""
    start, transition, mean, variance = np.split(theta, np.cumsum([k, k * k, k]))
    order = np.argsort(variance)
    return start[order], transition.reshape(k, k)[np.ix_(order, order)], mean[order], variance[order]


def _same(a: np.ndarray, b: np.ndarray, k: int) -> bool:
    """Whether the states of two parameter vectors have nearly the same means and volatilities."""
    (_, _, mean, variance), (_, _, other_mean, other_variance) = _parts(a, k), _parts(b, k)
    scale = np.sqrt(other_variance)
    apart = np.maximum(np.abs(np.sqrt(variance) - scale), np.abs(mean - other_mean)) / scale
    return bool((apart < SAME_END).all())


def _random_start(returns: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Random parameters: persistent states with random means and volatilities."""
    stay = rng.uniform(0.8, 0.99) if k > 1 else 1.0
    transition = np.full((k, k), (1 - stay) / max(k - 1, 1))
    np.fill_diagonal(transition, stay)
    variance = returns.var() * np.sort(rng.uniform(0.2, 1, k)) * np.linspace(0.5, 3, k)
    mean = returns.mean() + returns.std() * 0.2 * rng.standard_normal(k)
    return np.concatenate([np.full(k, 1 / k), transition.ravel(), mean, variance])


@njit(cache=True, nogil=True, error_model="numpy")
def _densities(returns, mean, variance, density):
    """Write the density of each return in each state, divided by the largest, to `density`.

    Returns the sum of the logs of the largest densities.
    """
    k = mean.size
    height, width = -0.5 * np.log(2 * np.pi * variance), -0.5 / variance
    total = 0.0
    for t in range(returns.size):
        top = -np.inf
        for j in range(k):
            density[t, j] = height[j] + width[j] * (returns[t] - mean[j]) ** 2
            top = max(top, density[t, j])
        for j in range(k):
            below = density[t, j] - top
            density[t, j] = np.exp(below) if below < 0 else 1.0
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
        weighted[:] = density[t] * beta
        alpha[t] *= beta
        alpha[t] /= max(alpha[t].sum(), 1e-300)
        for i in range(k):
            beta[i] = (transition[i] * weighted).sum()
        beta /= max(beta.max(), 1e-300)


@njit(cache=True, nogil=True, error_model="numpy")
def _em(returns, theta, k, floor, density, alpha, inverse, out):
    """One EM step from `theta` to `out`; returns the log-likelihood at `theta`."""
    bars = returns.size
    start, transition = theta[:k], theta[k : k + k * k].reshape(k, k)
    mean, variance = theta[k + k * k : 2 * k + k * k], theta[2 * k + k * k :]
    total = _densities(returns, mean, variance, density)
    total += _forward(start, transition, density, alpha, inverse)
    moves, weight = np.zeros((k, k)), np.zeros(k)
    first, second = np.zeros(k), np.zeros(k)
    beta, weighted = np.ones(k), np.empty(k)
    for t in range(bars - 1, -1, -1):
        x = returns[t]
        for j in range(k):
            posterior = alpha[t, j] * beta[j]
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
            row[j] = max(moves[i, j] * transition[i, j], SMALLEST)
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
def _climb(returns, theta, k, floor, steps, least, density, alpha, inverse):
    """Run EM with SQUAREM on `theta`, in place, until a step gains less than `least`; returns the log-likelihood."""
    once, twice, leap, landed = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    total = _em(returns, theta, k, floor, density, alpha, inverse, once)
    taken = 1
    while taken < steps:
        better = _em(returns, once, k, floor, density, alpha, inverse, twice)
        taken += 1
        if not better - total >= least:
            break
        if taken < steps and _extrapolate(theta, once, twice, k, floor, leap):
            reached = _em(returns, leap, k, floor, density, alpha, inverse, landed)
            taken += 1
            if reached >= better:
                theta[:], once[:], total = leap, landed, reached
                continue
        theta[:], once[:], total = once, twice, better
    return total
