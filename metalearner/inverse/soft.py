"""A trader who mostly does what is best: soft values of holding positions, and what preferences change of them.

At each bar he sees a signal level z, holds position p, and chooses the next one, p', for the reward of the bar::

    r(z, p, p') = m_z p' − ½ γ σ_z² p'² − c |p' − p|

with m_z and σ_z² the mean and the variance of the return that follows z. With the discount β and the temperature τ the soft
values are the fixed point of::

    Q(z, p, p') = r(z, p, p') + β Σ_z' T(z, z') V(z', p'),    V(z, p) = τ log Σ_p' exp(Q(z, p, p') / τ)

and he chooses p' with probability ``exp((Q − V) / τ)`` (Ziebart, "Modeling purposeful adaptive behavior with the principle of
maximum causal entropy", 2010). That is the choice model of Rust ("Optimal replacement of GMC bus engines", Econometrica 1987).

Values are found by Newton's method, which is soft policy iteration: with ``M`` the transitions of the choices made,
``V ← V + (I − β M)⁻¹ (F(V) − V)``. The same matrix gives their derivatives, since ``dV = (I − β M)⁻¹ E[dr]`` (and the entropy
of the choices for τ).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from markets import InputError

NAMES = ("risk aversion", "cost", "temperature")
_ITERATIONS = 60
_CLOSE = 1e-12  # relative change of values at which they are found


@dataclass(frozen=True, eq=False)
class SignalMarket:
    """What a trader knows of a market: a signal with Z levels.

    Attributes
    ----------
    mean, variance : ndarray of shape (Z,)
        Of the return of the next bar at each level.
    transition : ndarray of shape (Z, Z)
        Probability of the next level, row by row.

    Raises
    ------
    InputError
        When shapes do not fit, or a row is no probability.
    """

    mean: np.ndarray
    variance: np.ndarray
    transition: np.ndarray

    def __post_init__(self) -> None:
        z = len(self.mean)
        if self.variance.shape != (z,) or self.transition.shape != (z, z):
            raise InputError(
                f"market: mean {self.mean.shape}, variance {self.variance.shape} and transition {self.transition.shape} differ"
            )
        if not (np.abs(self.transition.sum(axis=1) - 1) < 1e-9).all() or (self.transition < 0).any():
            raise InputError("market: each row of transition must be probabilities that sum to 1")
        if not (self.variance > 0).all() or not np.isfinite(self.mean).all():
            raise InputError("market: variances must be above 0, and means finite")


class Soft(NamedTuple):
    """Soft values at some preferences.

    Attributes
    ----------
    values : ndarray of shape (Z, P)
    log_policy : ndarray of shape (Z, P, P)
        Log probability of the next position.
    slope : ndarray of shape (3, Z, P, P)
        Derivative of the log probability by risk aversion, cost and temperature.
    """

    values: np.ndarray
    log_policy: np.ndarray
    slope: np.ndarray


def soft_values(
    market: SignalMarket, grid: np.ndarray, preferences: np.ndarray, discount: float, start: np.ndarray | None = None
) -> Soft:
    """Soft values and choices of a trader.

    Parameters
    ----------
    market : SignalMarket
    grid : ndarray of shape (P,)
        Positions that he can hold.
    preferences : ndarray of shape (3,)
        Risk aversion, cost per unit traded, and temperature (above 0).
    discount : float
        β, in [0, 1).
    start : ndarray of shape (Z, P), optional
        Values near those to be found, which saves iterations.
    """
    gamma, cost, temperature = (float(x) for x in preferences)
    levels, places = len(market.mean), len(grid)
    moved = np.abs(grid[None, :] - grid[:, None])  # (P, P')
    risk = -0.5 * market.variance[:, None] * grid**2  # (Z, P')
    reward = (market.mean[:, None] * grid + gamma * risk)[:, None, :] - cost * moved
    values = np.zeros((levels, places)) if start is None else start
    scale = max(float(np.abs(reward).max()), temperature)
    for _ in range(_ITERATIONS):
        found, policy = _backup(reward, discount * (market.transition @ values), temperature)
        values = values + _solved(market.transition, policy, discount, (found - values)[None])[0]
        if np.abs(found - values).max() <= _CLOSE * max(scale, float(np.abs(values).max())):
            break
    q = reward + discount * (market.transition @ values)[:, None, :]
    found, policy = _backup(reward, discount * (market.transition @ values), temperature)
    log_policy = (q - found[:, :, None]) / temperature
    entropy = -(policy * log_policy).sum(axis=-1)
    direct = np.stack([np.broadcast_to(risk[:, None, :], q.shape), np.broadcast_to(-moved, q.shape), np.zeros_like(q)])
    expected = (policy * direct).sum(axis=-1)
    expected[2] = entropy
    change = _solved(market.transition, policy, discount, expected)
    ahead = discount * np.einsum("zy,kyp->kzp", market.transition, change)
    slope = (direct + ahead[:, :, None, :] - change[:, :, :, None]) / temperature
    slope[2] -= log_policy / temperature
    return Soft(values, log_policy, slope)


def long_run(market: SignalMarket, grid: np.ndarray, policy: np.ndarray, risk_aversion: float, cost: float) -> float:
    """Mean reward per bar of choosing by a policy for ever.

    Parameters
    ----------
    market : SignalMarket
    grid : ndarray of shape (P,)
    policy : ndarray of shape (Z, P, P)
        Probability of the next position.
    risk_aversion, cost : float
        Of the reward.
    """
    levels, places = len(market.mean), len(grid)
    moves = _moves(market.transition, policy)
    system = np.vstack([(np.eye(levels * places) - moves).T, np.ones(levels * places)])
    share, *_ = np.linalg.lstsq(system, np.append(np.zeros(levels * places), 1.0), rcond=None)
    risk = market.mean[:, None] * grid - 0.5 * risk_aversion * market.variance[:, None] * grid**2
    reward = risk[:, None, :] - cost * np.abs(grid[None, :] - grid[:, None])
    return float(share @ (policy * reward).sum(axis=-1).ravel())


@njit(cache=True)
def _backup(reward, ahead, temperature):
    """The values after one step, (Z, P), and the probabilities of the choices, (Z, P, P')."""
    levels, places, _ = reward.shape
    values, policy = np.empty((levels, places)), np.empty_like(reward)
    for z in range(levels):
        for p in range(places):
            top = -np.inf
            for q in range(places):
                policy[z, p, q] = reward[z, p, q] + ahead[z, q]
                top = max(top, policy[z, p, q])
            total = 0.0
            for q in range(places):
                policy[z, p, q] = np.exp((policy[z, p, q] - top) / temperature)
                total += policy[z, p, q]
            for q in range(places):
                policy[z, p, q] /= total
            values[z, p] = top + temperature * np.log(total)
    return values, policy


def _moves(transition: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """M: probability of (z', p') after (z, p), shape (Z·P, Z·P)."""
    levels, places = policy.shape[:2]
    return np.einsum("zy,zpq->zpyq", transition, policy).reshape(levels * places, levels * places)


def _solved(transition: np.ndarray, policy: np.ndarray, discount: float, right: np.ndarray) -> np.ndarray:
    """(I − β M)⁻¹ of K right-hand sides (K, Z, P)."""
    system = np.eye(policy.shape[0] * policy.shape[1]) - discount * _moves(transition, policy)
    return np.linalg.solve(system, right.reshape(len(right), -1).T).T.reshape(right.shape)
