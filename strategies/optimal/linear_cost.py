"""The optimum of `LinearCost`: long above a threshold of the predictor, short below its negative, no trade in between."""

from __future__ import annotations

import numpy as np

from markets.synthetic import LinearCost
from strategies.optimal.optimum import Optimum
from strategies.optimal.switching import hysteresis, moves, worth_of_switching


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
    sd = std / np.sqrt(1 - (1 - speed) ** 2)
    grid = np.linspace(-7 * sd, 7 * sd, points)
    worth = worth_of_switching(2 * grid, moves(grid, (1 - speed) * grid, std), cost)
    return float(np.interp(2 * cost, worth, grid))


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

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        return hysteresis(np.ascontiguousarray(signal), np.full(len(signal), self.threshold))
