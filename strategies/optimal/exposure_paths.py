"""Exposures along paths of returns, of one who knows a market's parameters or only a set of markets that it may be.

Each candidate market has a filter of its own. A step of the exposure is taken or left by the mean of its worth over the
candidates, as if the parameters became known after the next bar (as `HiddenMarkovJointFilter` does). Trades do not change what is
observed, so nothing is to be gained from experiments; without costs it is exactly optimal. With one candidate it is the optimum
of `solve_filter`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from markets.synthetic import TwoRegimes
from strategies.optimal.exposure import POINTS, Exposure, Solved, belief_grid, solve_filter


class ExposureFilter:
    """The best exposure of one who holds some markets to be equally probable.

    Parameters
    ----------
    problem : Exposure
    candidates : sequence of TwoRegimes
    points : int
        Grid points of each belief.
    solved : sequence of Solved, optional
        What `solve_filter` gives for each candidate, if it is there already.
    """

    def __init__(
        self,
        problem: Exposure,
        candidates: Sequence[TwoRegimes],
        points: int = POINTS,
        solved: Sequence[Solved] | None = None,
    ):
        solved = solved or [solve_filter(problem, market, points) for market in candidates]
        points = solved[0].worth.shape[1]
        self.problem = problem
        self.tables = np.array([each.worth for each in solved])
        self.parameters = np.array([market.parameters for market in candidates])
        ends = np.array([belief_grid(market, points)[[0, -1]] for market in candidates])
        self.ends = np.log(ends / (1 - ends))

    def follow(self, returns: np.ndarray) -> np.ndarray:
        """Exposures (n, T) chosen after each bar of returns (n, T); each path starts at the exposure nearest to 0."""
        problem = self.problem
        start = round(-problem.low / problem.step)
        held = _follow(np.ascontiguousarray(returns), self.parameters, self.tables, self.ends, problem.cost, start)
        return problem.low + problem.step * held


def filtered(market: TwoRegimes, returns: np.ndarray) -> np.ndarray:
    """Probability (n, T) that the next bar is in the second regime, after each bar of returns (n, T)."""
    return _filtered(np.ascontiguousarray(returns), market.parameters)


@njit(cache=True, nogil=True, error_model="numpy")
def _next(second, r, p):
    """The belief after a return: p holds means, volatilities, durations and the degrees of freedom."""
    z, w = (r - p[0]) / p[2], (r - p[1]) / p[3]
    if np.isinf(p[6]):
        log_ratio = math.log(p[2] / p[3]) + 0.5 * (z * z - w * w)
    else:
        half = 0.5 * (p[6] + 1)
        log_ratio = math.log(p[2] / p[3]) + half * (math.log1p(z * z / (p[6] - 2)) - math.log1p(w * w / (p[6] - 2)))
    ratio = math.exp(min(max(log_ratio, -700.0), 700.0))
    now = second * ratio / (second * ratio + 1 - second)
    return now * (1 - 1 / p[5]) + (1 - now) / p[4]


@njit(cache=True, nogil=True, error_model="numpy")
def _filtered(returns, parameters):
    out = np.empty_like(returns)
    for k in range(returns.shape[0]):
        second = parameters[5] / (parameters[4] + parameters[5])
        for t in range(returns.shape[1]):
            second = _next(second, returns[k, t], parameters)
            out[k, t] = second
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _worth(tables, at, level):
    """Mean over the candidates of the worth of a step, each at its place `at` on its grid."""
    total = 0.0
    for j in range(at.size):
        i = int(at[j])
        total += tables[j, level, i] + (at[j] - i) * (tables[j, level, i + 1] - tables[j, level, i])
    return total / at.size


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(returns, parameters, tables, ends, cost, start):
    """Number of steps that are held (n, T)."""
    count, levels, points = tables.shape
    out = np.empty_like(returns)
    second, at = np.empty(count), np.empty(count)
    for k in range(returns.shape[0]):
        held = start
        second[:] = parameters[:, 5] / (parameters[:, 4] + parameters[:, 5])
        for t in range(returns.shape[1]):
            for j in range(count):
                second[j] = _next(second[j], returns[k, t], parameters[j])
                place = (math.log(second[j] / (1 - second[j])) - ends[j, 0]) / (ends[j, 1] - ends[j, 0])
                at[j] = min(max(place * (points - 1), 0.0), points - 1.000001)
            while held < levels and _worth(tables, at, held) > cost:
                held += 1
            while held > 0 and _worth(tables, at, held - 1) < -cost:
                held -= 1
            out[k, t] = held
    return out
