"""`TwoRegimes`: a market of one asset that is in one of two hidden regimes, each with a mean, a volatility and a duration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from markets.common.errors import InputError

Pair = tuple[float, float]


@dataclass(frozen=True)
class TwoRegimes:
    """Returns ``r_t = μ_s + σ_s e_t`` with s a Markov chain of two states, and e Student's t of variance 1.

    Attributes
    ----------
    mean, volatility : (float, float)
        μ and σ of each regime, per bar and in any unit.
    duration : (float, float)
        Mean number of bars that each regime lasts: it stays with probability 1 − 1 / duration.
    freedom : float
        Degrees of freedom of e, above 2; ``inf`` for a Gaussian.

    Raises
    ------
    InputError
        When a value is out of range.
    """

    mean: Pair = (0.1, -0.1)
    volatility: Pair = (1.0, 1.0)
    duration: Pair = (100.0, 100.0)
    freedom: float = np.inf

    def __post_init__(self) -> None:
        if not (
            np.isfinite(self.mean).all() and min(self.volatility) > 0 and min(self.duration) > 1 and self.freedom > 2
        ):
            raise InputError(
                f"{self}: means must be finite, volatilities above 0, durations above 1 bar and freedom above 2"
            )

    @property
    def square(self) -> np.ndarray:
        """E[r²] of each regime, shape (2,)."""
        return np.square(self.volatility) + np.square(self.mean)

    @property
    def transition(self) -> np.ndarray:
        """Probability of going from regime i to j, shape (2, 2)."""
        leave = 1 / np.asarray(self.duration)
        return np.array([[1 - leave[0], leave[0]], [leave[1], 1 - leave[1]]])

    @property
    def share(self) -> np.ndarray:
        """Long-run share of the bars in each regime, shape (2,)."""
        return np.asarray(self.duration) / sum(self.duration)

    @property
    def overall(self) -> tuple[float, float]:
        """Long-run mean and volatility of a bar."""
        mean = float(self.share @ self.mean)
        return mean, float(np.sqrt(self.share @ self.square - mean**2))

    @property
    def parameters(self) -> np.ndarray:
        """Means, volatilities, durations and degrees of freedom, shape (7,)."""
        return np.array([*self.mean, *self.volatility, *self.duration, self.freedom])

    @property
    def swapped(self) -> TwoRegimes:
        """The same market with the regimes in the other order."""
        return TwoRegimes(self.mean[::-1], self.volatility[::-1], self.duration[::-1], self.freedom)

    def scaled(self, factor: float) -> TwoRegimes:
        """The same market with returns times `factor`."""
        (a, b), (c, d) = self.mean, self.volatility
        return TwoRegimes((factor * a, factor * b), (factor * c, factor * d), self.duration, self.freedom)

    def sample(self, paths: int, bars: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Returns and regimes (0 or 1), both (paths, bars), from the chain's stationary distribution on."""
        state = _chain(rng.random((paths, bars)), self.share[1], 1 / np.asarray(self.duration))
        if np.isinf(self.freedom):
            shock = rng.standard_normal((paths, bars))
        else:
            shock = rng.standard_t(self.freedom, (paths, bars)) * np.sqrt(1 - 2 / self.freedom)
        return np.asarray(self.mean)[state] + np.asarray(self.volatility)[state] * shock, state


@njit(cache=True, nogil=True)
def _chain(toss, second, leave):
    """Regimes (n, T) from uniform numbers, given the probability of the second at first, and that of leaving each."""
    out = np.empty(toss.shape, dtype=np.int64)
    for k in range(toss.shape[0]):
        out[k, 0] = toss[k, 0] < second
        for t in range(1, toss.shape[1]):
            before = out[k, t - 1]
            out[k, t] = 1 - before if toss[k, t] < leave[before] else before
    return out
