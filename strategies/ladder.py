"""The ladder of benchmarks of a synthetic family: hindsight ≥ oracle (hidden state known) ≥ Bayes filter ≥ fixed rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np
import pandas as pd
from scipy.linalg import solveh_banded

from markets.synthetic import (
    DriftMomentum,
    Episodes,
    Family,
    GarleanuPedersen,
    HiddenMarkov,
    HiddenMarkovFamily,
    LinearCost,
    Planted,
)
from strategies.optimal import (
    DriftMomentumFilter,
    GarleanuPedersenOptimum,
    HiddenMarkovFilter,
    HiddenMarkovJointFilter,
    LinearCostOptimum,
    PlantedFilter,
    hidden_markov_log_odds,
    hindsight,
)

# (name, whether it is the ceiling that learners are scored against, function from episodes to weights (n, T))
Rung = tuple[str, bool, Callable[[Episodes], np.ndarray]]


def ladder(family: Family, episodes: int = 1000, seed: int = 0, skip: int = 0) -> pd.DataFrame:
    """Mean reward per bar of each rung on the same episodes, best first.

    Parameters
    ----------
    family : Family
        One of the families of `markets.synthetic` with a known optimum.
    episodes : int
        Number of episodes sampled.
    seed : int
        Seed of the episodes.
    skip : int
        Bars to leave out at the start of each episode.

    Returns
    -------
    DataFrame
        One row per rung, with columns ``reward`` (per bar, in the family's units), ``error`` (standard error over episodes)
        and ``of ceiling`` (reward as a fraction of the ceiling's).

    Raises
    ------
    TypeError
        When no optimum is known for the family.
    """
    sampled = family.sample(episodes, seed)
    returns = np.ascontiguousarray(sampled.returns[..., 0])
    rows, ceiling = {}, np.nan
    for name, is_ceiling, weights in rungs(family):
        reward = family.reward(weights(sampled)[:, : family.length], returns)[:, skip:].mean(axis=1)
        rows[name] = {"reward": reward.mean(), "error": reward.std(ddof=1) / np.sqrt(episodes)}
        ceiling = reward.mean() if is_ceiling else ceiling
    table = pd.DataFrame(rows).T
    table["of ceiling"] = table["reward"] / ceiling
    return table


@singledispatch
def rungs(family: Family) -> list[Rung]:
    """The rungs of a family, best first."""
    raise TypeError(f"no optimum is known for {type(family).__name__}")


def _returns(sampled: Episodes) -> np.ndarray:
    return np.ascontiguousarray(sampled.returns[..., 0])


def _signal(sampled: Episodes) -> np.ndarray:
    return np.ascontiguousarray(sampled.signal[..., 0])


def _always(sampled: Episodes) -> np.ndarray:
    return np.ones(sampled.returns.shape[:2])


def _best_afterwards(sampled: Episodes) -> np.ndarray:
    return hindsight(_returns(sampled)[:, 1:], sampled.family.cost, (-1, 0, 1))  # starts flat, and may stay flat


def _momentum(sampled: Episodes, window: int = 20) -> np.ndarray:
    """Sign of the sum of the last `window` returns."""
    total = np.cumsum(_returns(sampled), axis=1)
    total[:, window:] -= total[:, :-window].copy()
    return np.sign(total)


@rungs.register
def _(family: DriftMomentum) -> list[Rung]:
    def afterwards(sampled: Episodes) -> np.ndarray:
        return 1 / _returns(sampled)[:, 1:]  # w r = 1 maximises w r − ½ w² r²

    def known(sampled: Episodes) -> np.ndarray:
        mu, phi = (sampled.hidden[k][:, None] for k in ("mu", "phi"))
        m = mu + phi * (_returns(sampled) - mu)
        return m / (1 + m**2)

    def mean_so_far(sampled: Episodes) -> np.ndarray:
        """Running mean of returns, shrunk by the prior of μ: estimates the drift and ignores momentum."""
        returns = _returns(sampled)
        m = np.cumsum(returns, axis=1) / (family.drift**-2 + 1 + np.arange(returns.shape[1]))
        return m / (1 + m**2)

    optimum = DriftMomentumFilter(family)
    return [
        ("hindsight", False, afterwards),
        ("parameters known", False, known),
        ("Bayes filter", True, optimum.follow),
        ("mean so far", False, mean_so_far),
        ("no adaptation", False, lambda sampled: 0 * _always(sampled)),
    ]


def _next_state(sampled: Episodes) -> np.ndarray:
    return sampled.hidden["state"][:, 1:]


def _belief(sampled: Episodes) -> np.ndarray:
    """Sign of the filtered mean return: the optimum without trading costs."""
    return np.sign(hidden_markov_log_odds(_returns(sampled), sampled.hidden["mean"], sampled.hidden["stay"]))


@rungs.register
def _(family: HiddenMarkov) -> list[Rung]:
    optimum = HiddenMarkovFilter(family)
    return [
        ("hindsight", False, _best_afterwards),
        ("next state known", False, _next_state),
        ("filter", True, optimum.follow),
        ("sign of the belief", False, _belief),
        ("momentum 20", False, _momentum),
        ("buy and hold", False, _always),
    ]


@rungs.register
def _(family: HiddenMarkovFamily) -> list[Rung]:
    def known(sampled: Episodes) -> np.ndarray:
        optimum = HiddenMarkovFilter(family, sampled.hidden["mean"], sampled.hidden["stay"])
        return optimum.follow(sampled)

    joint = HiddenMarkovJointFilter(family)
    return [
        ("hindsight", False, _best_afterwards),
        ("next state known", False, _next_state),
        ("filter, parameters known", True, known),
        ("joint filter", False, joint.follow),
        ("momentum 20", False, _momentum),
        ("buy and hold", False, _always),
    ]


@rungs.register
def _(family: LinearCost) -> list[Rung]:
    optimum = LinearCostOptimum(family)
    return [
        ("hindsight", False, _best_afterwards),
        ("threshold", True, optimum.follow),
        ("sign of the predictor", False, lambda sampled: np.sign(_signal(sampled))),
        ("momentum 20", False, _momentum),
        ("buy and hold", False, _always),
    ]


@rungs.register
def _(family: GarleanuPedersen) -> list[Rung]:
    optimum = GarleanuPedersenOptimum(family)

    def afterwards(sampled: Episodes) -> np.ndarray:
        """Solves the first-order conditions of the whole path, a tridiagonal system."""
        returns = _returns(sampled)[:, 1:]
        diagonal = np.full(returns.shape[1], family.risk_aversion + 2 * family.impact)
        diagonal[-1] -= family.impact  # no trade after the last
        band = np.vstack([np.full(returns.shape[1], -family.impact), diagonal])
        return solveh_banded(band * family.variance, returns.T).T

    def markowitz(sampled: Episodes) -> np.ndarray:
        return family.slope / (family.risk_aversion * family.variance) * _signal(sampled)

    return [
        ("hindsight", False, afterwards),
        ("partial adjustment", True, optimum.follow),
        ("straight to the aim", False, lambda sampled: optimum.aim * _signal(sampled)),
        ("no position", False, lambda sampled: 0 * _always(sampled)),
        ("Markowitz, costs ignored", False, markowitz),
    ]


@rungs.register
def _(family: Planted) -> list[Rung]:
    def known(sampled: Episodes) -> np.ndarray:
        weights = np.zeros(sampled.returns.shape[:2])
        weights[:, :-1] = sampled.hidden["sign"][:, 1:] * _signal(sampled)[:, :-1]
        return weights

    def filtered(sampled: Episodes) -> np.ndarray:
        return PlantedFilter(family, sampled.hidden["mean"]).follow(sampled)

    return [
        ("hindsight", False, _best_afterwards),
        ("sign known", False, known),
        ("filter", True, filtered),
        ("advice followed", False, _signal),
        ("no adaptation", False, lambda sampled: 0 * _always(sampled)),
    ]
