"""The optimum of `LinearCost`: long above a threshold of the predictor, short below, hold between."""

from __future__ import annotations

import numpy as np

from markets.synthetic import LinearCost
from strategies.optimal.optimum import Optimum
from strategies.optimal.switching import hysteresis, moves, worth_of_switching


def linear_cost_threshold(speed: float, std: float, cost: float, points: int = 1601) -> float:
    """Predictor above which to go long in `LinearCost`."""
    sd = std / np.sqrt(1 - (1 - speed) ** 2)
    grid = np.linspace(-7 * sd, 7 * sd, points)
    worth = worth_of_switching(2 * grid, moves(grid, (1 - speed) * grid, std), cost)
    return float(np.interp(2 * cost, worth, grid))


class LinearCostOptimum(Optimum):
    """Optimal in `LinearCost`: bang-bang with hysteresis at the predictor where W = 2 cost."""

    family: LinearCost
    name = "threshold"

    def __init__(self, family: LinearCost | None = None):
        self.family = family or LinearCost()
        self.threshold = linear_cost_threshold(self.family.speed, self.family.std, self.family.cost)

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        return hysteresis(np.ascontiguousarray(signal), np.full(len(signal), self.threshold))
