"""The optimum of `LinearCost`: long above a threshold of the predictor, short below its negative, no trade in between."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from markets.synthetic import LinearCost
from strategies.optimal.optimum import Optimum
from strategies.optimal.switching import extrapolated, hysteresis, moves, value_of_switching, worth_of_switching


def linear_cost_threshold(speed: float, std: float, cost: float, points: int = 1601) -> float:
    """Value of the predictor above which the optimum of `LinearCost` goes long.

    Parameters
    ----------
    speed : float
        Mean reversion of the predictor per bar.
    std : float
        Standard deviation of the predictor's shocks.
    cost : float
        Cost of a change of weight by 1.
    points : int
        Grid points for the predictor.
    """
    grid, worth, _ = _solved(speed, std, cost, points)
    return float(np.interp(2 * cost, worth, grid))


def linear_cost_value(speed: float, std: float, cost: float, points: int = 401) -> float:
    """Long-run mean reward per bar of the optimum, by value iteration; parameters as in `linear_cost_threshold`.

    Extrapolated from a grid of `points` and one of half the spacing; within 2e-6 for the families of ``docs/ceilings.md``.
    """

    def on_grid(points: int) -> float:
        _, worth, move = _solved(speed, std, cost, points)
        return value_of_switching(worth, move, cost)

    return extrapolated(on_grid, points)


def _solved(speed: float, std: float, cost: float, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid (P,) of the predictor, W at each point, and the transition matrix (P, P)."""
    sd = std / np.sqrt(1 - (1 - speed) ** 2)
    grid = np.linspace(-7 * sd, 7 * sd, points)
    move = moves(grid, (1 - speed) * grid, std)
    return grid, worth_of_switching(2 * grid, move, cost), move


class LinearCostOptimum(Optimum):
    """Optimal strategy of `LinearCost`: bang-bang with hysteresis; the threshold is the predictor at which W = 2 cost.

    Parameters
    ----------
    family : LinearCost, optional
        Its defaults if not given.
    """

    family: LinearCost
    name = "threshold"

    def __init__(self, family: LinearCost | None = None):
        self.family = family or LinearCost()
        self.threshold = linear_cost_threshold(self.family.speed, self.family.std, self.family.cost)

    @cached_property
    def value(self) -> float:
        return linear_cost_value(self.family.speed, self.family.std, self.family.cost)

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        return hysteresis(np.ascontiguousarray(signal), np.full(len(signal), self.threshold))
