"""The value of switching sides, for optima under proportional costs and a cap on the weight: bang-bang with hysteresis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit
from scipy.special import ndtr

from markets import InputError


def worth_of_switching(gain: np.ndarray, move: np.ndarray, cost: float) -> np.ndarray:
    """Value W of being long rather than short, on a grid of states: solves W = gain + move · clip(W, −2 cost, 2 cost).

    With proportional costs and a cap on the weight the optimum is bang-bang: go long where W > 2 cost, short where W < −2
    cost, and do not trade in between (de Lataillade et al., arXiv 1203.5957).

    Parameters
    ----------
    gain : ndarray of shape (P,)
        Twice the expected next return at each grid point.
    move : ndarray of shape (P, P)
        Transition matrix of the grid.
    cost : float
        Cost of a change of weight by 1.

    Returns
    -------
    ndarray of shape (P,)

    Raises
    ------
    InputError
        When the iteration does not converge.
    """
    worth = gain.copy()
    for _ in range(100_000):
        before = worth
        worth = gain + move @ np.clip(before, -2 * cost, 2 * cost)
        if np.abs(worth - before).max() < 1e-12:
            return worth
    raise InputError("the value of switching does not converge; is every parameter finite and in its range?")


def value_of_switching(worth: np.ndarray, move: np.ndarray, cost: float) -> float:
    """Long-run mean reward per bar of the optimum whose W is `worth`.

    Let h₊ and h₋ be the relative values of arriving at a bar long and short, and g the mean reward per bar. Ending the bar long
    or short earns opposite rewards. Adding the two Bellman equations removes them, and leaves what the right to switch is worth::

        h₊ + h₋ = −2 g + E[h₊' + h₋'] + (|W| − 2 cost)⁺,   hence   g = ½ E[(|W| − 2 cost)⁺]

    with the last expectation over the stationary distribution of the state. Without costs it is E|expected next return|.

    Parameters
    ----------
    worth : ndarray of shape (P,)
        As returned by `worth_of_switching`.
    move : ndarray of shape (P, P)
        Transition matrix of the grid.
    cost : float
        Cost of a change of weight by 1.
    """
    balance = move.T - np.eye(len(move))
    balance[-1] = 1  # one of the balance equations follows from the others; instead, probabilities add up to 1
    stationary = np.linalg.solve(balance, np.eye(len(move))[-1])
    return float(0.5 * stationary @ np.maximum(np.abs(worth) - 2 * cost, 0))


def extrapolated(on_grid: Callable[[int], float], points: int) -> float:
    """Richardson's extrapolation to spacing 0 of what a grid of so many points gives, where the error falls with its square."""
    return (4 * on_grid(2 * points - 1) - on_grid(points)) / 3


def moves(grid: np.ndarray, mean: np.ndarray, std: float) -> np.ndarray:
    """Transition matrix (P, P) from grid point i to N(mean_i, std²), exact for functions linear between grid points.

    Computed from E[(g − X)⁺] of a Gaussian. Probability beyond the grid is assigned to its end points.
    """
    z = (grid - mean[:, None]) / std
    below = z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    share = np.diff(below, axis=1) * std / (grid[1] - grid[0])
    edge = np.ones((len(mean), 1))
    return np.diff(np.hstack([0 * edge, share, edge]), axis=1)


@njit(cache=True)
def hysteresis(signal, edge):
    """Weights (n, T): 1 where the signal exceeds the episode's edge, −1 below its negative, else the previous one; flat first."""
    out = np.empty_like(signal)
    for k in range(signal.shape[0]):
        held = 0.0
        for t in range(signal.shape[1]):
            if signal[k, t] > edge[k]:
                held = 1.0
            elif signal[k, t] < -edge[k]:
                held = -1.0
            out[k, t] = held
    return out
