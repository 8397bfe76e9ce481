"""The optimum of `Planted`: a filter for the hidden sign, and a threshold on it that allows for costs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from scipy.special import logit
from scipy.stats import t as student_t

from markets import InputError
from markets.bars.frequency import DAILY_YEAR
from markets.synthetic import Planted
from strategies.optimal.hidden_markov import next_bar
from strategies.optimal.optimum import Optimum
from strategies.optimal.switching import hysteresis, value_of_switching, worth_of_switching


def _solved(
    mean: float, stay: float, keep: float, cost: float, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid (P,) of the log-odds that the advice is right, W at each point, and the transition matrix (P, P).

    It is that of `HiddenMarkov`, but for a change of the advice, which turns the log-odds over.
    """
    largest = logit(stay) + 12 * mean
    grid = np.linspace(-largest, largest, points)
    gain, move = next_bar(grid, mean, stay)
    move = keep * move + (1 - keep) * move[:, ::-1]
    return grid, worth_of_switching(gain, move, cost), move


@lru_cache(maxsize=256)
def planted_threshold(mean: float, stay: float, keep: float, cost: float, points: int = 401) -> float:
    """Log-odds of the advice being right from which on it is optimal to follow it, with Gaussian noise of variance 1.

    Parameters
    ----------
    mean : float
        a, above 0.
    stay, keep : float
        Probability per bar that the sign, and the advice, remain as they are.
    cost : float
        Cost of a change of weight by 1.
    points : int
        Grid points.
    """
    grid, worth, _ = _solved(mean, stay, keep, cost, points)
    return float(np.interp(2 * cost, worth, grid, right=np.inf)) if worth[-1] > 2 * cost else np.inf


def planted_value(mean: float, stay: float, keep: float, cost: float, points: int = 401) -> float:
    """Long-run mean reward per bar of the optimum with Gaussian noise of variance 1; parameters as in `planted_threshold`."""
    _, worth, move = _solved(mean, stay, keep, cost, points)
    return value_of_switching(worth, move, cost)


@njit(cache=True)
def planted_log_odds(returns, advice, mean, stay, tails, width):
    """Filter of `Planted`: log-odds (n, T) after each return that the advice of the bar agrees with the sign.

    Takes returns and advice (n, T), a of each episode (n,), and the degrees of freedom and the scale of the noise's Student t.
    """
    out = np.zeros_like(returns)
    for k in range(returns.shape[0]):
        odds = 0.0
        for t in range(returns.shape[1]):
            if t > 0:
                up = 1 / (1 + np.exp(-odds))
                up = stay * up + (1 - stay) * (1 - up)
                x = returns[k, t] * advice[k, t - 1]
                right, wrong = (x - mean[k]) / width, (x + mean[k]) / width
                odds = np.log(up / (1 - up))
                odds += (tails + 1) / 2 * (np.log1p(wrong**2 / tails) - np.log1p(right**2 / tails))
            out[k, t] = odds * advice[k, t]
    return out


class PlantedFilter(Optimum):
    """Strategy for `Planted` of one who knows its parameters but not the sign: the ceiling that learners are scored against.

    The filter is exact for noise that is Student t and independent from bar to bar; degrees of freedom and scale are fitted to
    the family's real returns. The threshold is optimal for Gaussian noise that carries as much information on the sign.

    Parameters
    ----------
    family : Planted
    mean : array-like of shape (n,), optional
        a of each episode. Required where the family has several strengths.

    Raises
    ------
    InputError
        When `mean` is needed and missing, or is not that of the episodes.
    """

    family: Planted
    name = "filter"

    def __init__(self, family: Planted, mean: np.ndarray | None = None):
        self.family = family
        if mean is None and len(family.sharpes) > 1:
            raise InputError("PlantedFilter of a family with several strengths needs the mean of each episode")
        self._mean = np.array(family.sharpes) / np.sqrt(DAILY_YEAR) if mean is None else np.asarray(mean, np.float64)
        z = family.noise[0]
        self.tails, self.width = noise_shape(z[np.isfinite(z)])

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        family, n = self.family, len(returns)
        if len(self._mean) not in (1, n):
            raise InputError(f"the filter has the means of {len(self._mean)} episodes, but there are {n}")
        mean = np.broadcast_to(self._mean, n).copy()
        odds = planted_log_odds(returns, signal, mean, family.stay, self.tails, self.width)
        edges = {a: self.edge(a) for a in np.unique(mean).tolist()}
        return hysteresis(odds, np.array([edges[a] for a in mean.tolist()]))

    def edge(self, mean: float) -> float:
        """Log-odds from which on it is optimal to hold the position that a sign of strength `mean` pays."""
        if mean == 0:
            return np.inf
        # In Gaussian noise of variance 1 a mean of a·sqrt(Fisher's information) would be known as well. It is paid a.
        informed = np.sqrt((self.tails + 1) / (self.tails + 3)) / self.width
        family = self.family
        return planted_threshold(mean * informed, family.stay, family.keep, family.cost * informed)


@lru_cache(maxsize=16)
def _fitted(z: bytes) -> tuple[float, float]:
    tails, _, width = student_t.fit(np.frombuffer(z), floc=0.0)
    return float(tails), float(width)


def noise_shape(z: np.ndarray, most: int = 20_000) -> tuple[float, float]:
    """Degrees of freedom and scale of a Student t with mean 0, by maximum likelihood on at most about `most` of the returns."""
    return _fitted(z[:: max(len(z) // most, 1)].tobytes())
