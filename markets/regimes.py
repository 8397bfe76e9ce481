"""Regimes without look-ahead: a hidden Markov model that decides by its forward filter only.

State s_t in {1..K} is a Markov chain with transition matrix P; the market's return (the mean over symbols, in per cent)
is x_t ~ N(μ_s, σ_s²). Filter::

    α_t(j) ∝ N(x_t; μ_j, σ_j²) Σ_i α_{t−1}(i) P_ij

which reads nothing after bar t. Fitting is Baum–Welch (EM) with restarts (Rabiner, "A tutorial on hidden Markov models",
Proceedings of the IEEE 1989); it sees the whole span it is given, so give it the past. States are ordered by
volatility, so that a label means the same after every refit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numba import njit

from markets.bars import Bars
from markets.errors import InputError

_NAMES = {
    1: ("all",),
    2: ("calm", "crisis"),
    3: ("calm", "normal", "crisis"),
    4: ("calm", "normal", "nervous", "crisis"),
}


@dataclass(frozen=True, eq=False)
class RegimePath:
    """What a detector knew at each bar, at that bar.

    Attributes
    ----------
    index : DatetimeIndex of shape (T,)
    probabilities : ndarray of shape (T, K)
    names : tuple of str, length K
        From the calmest regime to the wildest.
    """

    index: pd.DatetimeIndex
    probabilities: np.ndarray
    names: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """Most probable regime of each bar, shape (T,), integers from 0 (calmest)."""
        return self.probabilities.argmax(axis=1)

    def table(self, bars: Bars) -> pd.DataFrame:
        """Bars, share of time, and yearly mean and volatility of the market's return in each regime."""
        returns = market_returns(bars)
        per_year = len(bars) / bars.years
        rows = {}
        for k, name in enumerate(self.names):
            here = returns[(self.labels == k) & np.isfinite(returns)]
            spread = here.std(ddof=1) if len(here) > 1 else np.nan
            rows[name] = {
                "bars": int((self.labels == k).sum()),
                "share": float((self.labels == k).mean()),
                "mean": float(here.mean() * per_year) if len(here) else np.nan,
                "volatility": float(spread * np.sqrt(per_year)),
                "episodes": int(((self.labels == k) & (np.append(-1, self.labels[:-1]) != k)).sum()),
            }
        return pd.DataFrame(rows).T.astype({"bars": int, "episodes": int})


def market_returns(bars: Bars) -> np.ndarray:
    """Mean simple return over the symbols that are listed, shape (T,); NaN on the first bar held."""
    held = bars.with_past()
    return _mean_returns(held.marks, held.listed)[bars.past :]


@njit(cache=True, nogil=True)
def _mean_returns(marks, listed):
    out = np.full(marks.shape[0], np.nan)
    for t in range(1, marks.shape[0]):
        total, count = 0.0, 0
        for a in range(marks.shape[1]):
            if listed[t, a] and marks[t - 1, a] > 0:  # false for NaN
                total += marks[t, a] / marks[t - 1, a] - 1
                count += 1
        if count:
            out[t] = total / count
    return out


class HiddenMarkovRegimes:
    """Gaussian hidden Markov model of the market's return.

    Parameters
    ----------
    n_regimes : int
    restarts : int
        EM runs from random starts; the likeliest is kept.
    max_iterations : int
        Of EM, in each run.
    tolerance : float
        EM stops when the log-likelihood a bar gains less.
    seed : int

    Attributes
    ----------
    transition : ndarray of shape (K, K)
        ``transition[i, j]`` is the probability to go from i to j. After `fit`, as all below.
    mean, volatility : ndarray of shape (K,)
        Per cent a bar; volatility ascends.
    start : ndarray of shape (K,)
    log_likelihood : float
    """

    def __init__(
        self,
        n_regimes: int = 3,
        *,
        restarts: int = 10,
        max_iterations: int = 200,
        tolerance: float = 1e-7,
        seed: int = 0,
    ):
        if n_regimes < 1:
            raise InputError(f"n_regimes is {n_regimes}; it must be at least 1")
        if seed < 0:
            raise InputError(f"seed is {seed}; it must be at least 0")
        self.n_regimes = n_regimes
        self.restarts = restarts
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.seed = seed

    @property
    def names(self) -> tuple[str, ...]:
        return _NAMES.get(self.n_regimes, tuple(f"regime {k}" for k in range(self.n_regimes)))

    def fit(self, bars: Bars) -> HiddenMarkovRegimes:
        """Fit on all that `bars` holds, history included.

        Raises
        ------
        InputError
            Too few bars for the number of regimes, or prices that do not move.
        """
        returns = market_returns(bars.with_past()) * 100
        returns = returns[np.isfinite(returns)]
        k = self.n_regimes
        if len(returns) < 20 * k:
            raise InputError(f"{bars.name}: {len(returns)} returns are too few for {k} regimes; give at least {20 * k}")
        if returns.std() < 1e-9:
            raise InputError(f"{bars.name}: prices do not move, so there are no regimes to find")
        rng = np.random.default_rng(self.seed)
        best = None
        for _ in range(self.restarts):
            parameters = _random_start(returns, k, rng)
            found = _em(returns, *parameters, self.max_iterations, self.tolerance, 1e-4 * returns.var())
            if best is None or found[-1] > best[-1]:
                best = found
        assert best is not None
        order = np.argsort(best[2])
        self.start, self.transition = best[0][order], best[1][np.ix_(order, order)]
        self.volatility, self.mean = np.sqrt(best[2][order]), best[3][order]
        self.log_likelihood = float(best[4])
        return self

    def filter(self, bars: Bars) -> RegimePath:
        """Regime probabilities at each visible bar, from that bar and earlier ones alone."""
        if not hasattr(self, "transition"):
            raise InputError("the detector is not fitted; call fit(bars) on the past first")
        returns = market_returns(bars.with_past()) * 100
        out = np.empty((len(returns), self.n_regimes))
        _filter(returns, self.start, self.transition, self.volatility**2, self.mean, out)
        return RegimePath(bars.index, out[bars.past :], self.names)

    def save(self, path: str | Path) -> None:
        """Write parameters as JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("start", "transition", "mean", "volatility")}
        text = {"n_regimes": self.n_regimes, "log_likelihood": self.log_likelihood, **arrays}
        Path(path).write_text(json.dumps(text, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> HiddenMarkovRegimes:
        """Read what `save` wrote."""
        try:
            text: dict[str, Any] = json.loads(Path(path).read_text())
            detector = cls(text["n_regimes"])
            for name in ("start", "transition", "mean", "volatility"):
                setattr(detector, name, np.array(text[name], dtype=np.float64))
            detector.log_likelihood = text["log_likelihood"]
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(f"{path}: not a saved regime detector ({error})") from None
        return detector


def _random_start(returns: np.ndarray, k: int, rng: np.random.Generator):
    """Persistent states around random quantiles of the volatility."""
    stay = rng.uniform(0.8, 0.99)
    transition = np.full((k, k), (1 - stay) / max(k - 1, 1))
    np.fill_diagonal(transition, stay if k > 1 else 1.0)
    variance = returns.var() * np.sort(rng.uniform(0.2, 1, k)) * np.linspace(0.5, 3, k)
    mean = returns.mean() + returns.std() * 0.2 * rng.standard_normal(k)
    return np.full(k, 1 / k), transition, variance, mean


@njit(cache=True, nogil=True)
def _likelihoods(x, variance, mean, out):
    """Densities of one return in each state, over the largest; returns the log of the largest."""
    top = -np.inf
    for j in range(mean.size):
        out[j] = -0.5 * (np.log(2 * np.pi * variance[j]) + (x - mean[j]) ** 2 / variance[j])
        top = max(top, out[j])
    for j in range(mean.size):
        out[j] = np.exp(out[j] - top)
    return top


@njit(cache=True, nogil=True)
def _filter(returns, start, transition, variance, mean, alpha):
    """Forward recursion into `alpha` (T, K); returns the log-likelihood. A NaN return is a bar without news."""
    k = mean.size
    total = 0.0
    density, prior = np.empty(k), start.copy()
    for t in range(returns.size):
        if t > 0:
            for j in range(k):
                prior[j] = 0.0
                for i in range(k):
                    prior[j] += alpha[t - 1, i] * transition[i, j]
        top = 0.0
        if np.isnan(returns[t]):
            density[:] = 1.0
        else:
            top = _likelihoods(returns[t], variance, mean, density)
        norm = 0.0
        for j in range(k):
            alpha[t, j] = prior[j] * density[j]
            norm += alpha[t, j]
        for j in range(k):
            alpha[t, j] = alpha[t, j] / norm if norm > 0 else 1.0 / k
        total += top + np.log(max(norm, 1e-300))
    return total


@njit(cache=True, nogil=True)
def _em(returns, start, transition, variance, mean, max_iterations, tolerance, floor):
    """Baum–Welch; returns (start, transition, variance, mean, log-likelihood).

    `floor` keeps a state from collapsing onto one return.
    """
    bars, k = returns.size, mean.size
    alpha, beta = np.empty((bars, k)), np.empty(k)
    after, density, joint = np.empty(k), np.empty(k), np.empty((k, k))
    before = -np.inf
    total = before
    for _ in range(max_iterations):
        total = _filter(returns, start, transition, variance, mean, alpha)
        if total - before < tolerance * bars:
            break
        before = total
        moves, weight = np.zeros((k, k)), np.zeros(k)
        first, second = np.zeros(k), np.zeros(k)
        beta[:] = 1.0
        for t in range(bars - 1, -1, -1):
            norm = 0.0
            for j in range(k):
                after[j] = alpha[t, j] * beta[j]
                norm += after[j]
            for j in range(k):
                after[j] /= norm
                weight[j] += after[j]
                first[j] += after[j] * returns[t]
                second[j] += after[j] * returns[t] ** 2
            if t == 0:
                break
            _likelihoods(returns[t], variance, mean, density)
            norm = 0.0
            for i in range(k):
                for j in range(k):
                    joint[i, j] = alpha[t - 1, i] * transition[i, j] * density[j] * beta[j]
                    norm += joint[i, j]
            moves += joint / norm
            top = 0.0
            for i in range(k):
                after[i] = 0.0
                for j in range(k):
                    after[i] += transition[i, j] * density[j] * beta[j]
                top = max(top, after[i])
            for i in range(k):
                beta[i] = after[i] / top
        norm = 0.0
        for j in range(k):
            start[j] = alpha[0, j] * beta[j]
            norm += start[j]
        start /= norm
        for i in range(k):
            mean[i] = first[i] / weight[i]
            variance[i] = max(second[i] / weight[i] - mean[i] ** 2, floor)
            transition[i] = moves[i] / max(moves[i].sum(), 1e-300)
    return start, transition, variance, mean, total
