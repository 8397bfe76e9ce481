"""Traders whose preferences are known, to see whether they are found again."""

from __future__ import annotations

import numpy as np

from markets.synthetic import GarleanuPedersen
from metalearner.inverse.entropy import Decisions
from metalearner.inverse.soft import SignalMarket
from strategies.optimal import GarleanuPedersenOptimum


def autoregressive_market(
    levels: int = 9, persistence: float = 0.9, std: float = 0.1, variance: float = 1.0
) -> SignalMarket:
    """A market whose expected return is a first-order autoregression, on as many levels.

    Rouwenhorst's chain, which has exactly this persistence and standard deviation (Kopecky and Suen, "Finite state Markov-chain
    approximations to highly persistent processes", Review of Economic Dynamics 2010).

    Parameters
    ----------
    levels : int
        At least 2.
    persistence : float
        Autocorrelation of the expected return, in (−1, 1).
    std : float
        Its standard deviation.
    variance : float
        Of a bar's return.
    """
    stay = (1 + persistence) / 2
    chain = np.array([[stay, 1 - stay], [1 - stay, stay]])
    for size in range(3, levels + 1):
        grown = np.zeros((size, size))
        grown[:-1, :-1] += stay * chain
        grown[:-1, 1:] += (1 - stay) * chain
        grown[1:, :-1] += (1 - stay) * chain
        grown[1:, 1:] += stay * chain
        grown[1:-1] /= 2
        chain = grown
    edge = std * np.sqrt(levels - 1)
    chain /= chain.sum(axis=1, keepdims=True)
    return SignalMarket(np.linspace(-edge, edge, levels), np.full(levels, variance), chain)


def decisions_of(market: SignalMarket, policy: np.ndarray, bars: int, seed: int) -> Decisions:
    """Decisions of a trader who chooses by a policy, from no position on.

    Parameters
    ----------
    market : SignalMarket
    policy : ndarray of shape (Z, P, P)
    bars : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    draws, choices, moves = rng.random((2, bars)), policy.cumsum(axis=-1), market.transition.cumsum(axis=-1)
    level, place = len(market.mean) // 2, policy.shape[1] // 2
    levels, places = np.empty(bars, dtype=int), np.empty(bars + 1, dtype=int)
    places[0] = place
    for t in range(bars):
        levels[t] = level
        place = min(int(np.searchsorted(choices[level, place], draws[0, t])), policy.shape[1] - 1)
        places[t + 1] = place
        level = min(int(np.searchsorted(moves[level], draws[1, t])), len(moves) - 1)
    return Decisions.of(market, levels, places, policy.shape[1])


def quadratic_positions(family: GarleanuPedersen, bars: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and signal, each of shape (bars,), of a trader with quadratic costs who is off by some noise at each bar.

    Parameters
    ----------
    family : GarleanuPedersen
        The market, and his preferences.
    bars : int
    noise : float
        Standard deviation of his errors, as a fraction of the aim per unit of the signal.
    seed : int
    """
    rng, optimum = np.random.default_rng(seed), GarleanuPedersenOptimum(family)
    signal, held = np.empty(bars), np.empty(bars)
    f, x = rng.normal(0, np.sqrt(family.shock / (1 - (1 - family.reversion) ** 2))), 0.0
    shocks, errors = rng.normal(0, np.sqrt(family.shock), bars), rng.normal(0, noise * abs(optimum.aim), bars)
    for t in range(bars):
        f = (1 - family.reversion) * f + shocks[t]
        x = x + optimum.rate * (optimum.aim * f - x) + errors[t]
        signal[t], held[t] = f, x
    return held, signal
