"""The best path of positions in hindsight, with all prices known: an unattainable upper bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from markets import Bars, Costs, Execution, Plan
from markets.accounting.market import make_market
from strategies.strategy import Strategy


@njit(cache=True)
def _hindsight(returns, positions, cost, risk):
    """Backward induction over a grid of positions: weights (n, T) for returns (n, T) and costs (n, T)."""
    n, bars, count = returns.shape[0], returns.shape[1], positions.size
    out = np.empty_like(returns)
    best = np.empty((bars, count), dtype=np.int64)
    first = 0
    for k in range(n):
        value = np.zeros(count)
        for t in range(bars - 1, -1, -1):
            after = np.empty(count)
            for i in range(count):
                after[i] = positions[i] * returns[k, t] - 0.5 * risk * positions[i] ** 2 + value[i]
            for j in range(count):
                best[t, j] = 0
                value[j] = -np.inf
                for i in range(count):
                    here = after[i] - cost[k, t] * abs(positions[i] - positions[j])
                    if here > value[j]:
                        value[j], best[t, j] = here, i
        at = -1
        for t in range(bars):
            if at < 0:  # the first trade starts from flat, which need not be on the grid
                top = -np.inf
                for i in range(count):
                    here = after[i] - cost[k, t] * abs(positions[i])
                    if here > top:
                        top, first = here, i
                at = first
            else:
                at = best[t, at]
            out[k, t] = positions[at]
    return out


def hindsight(
    returns: np.ndarray, cost: float | np.ndarray, positions: Sequence[float] = (-1, 0, 1), risk: float = 0.0
) -> np.ndarray:
    """Optimal weights with perfect foresight, an upper bound for every strategy.

    ``V_t(p) = max_{p'} [p' r_{t+1} − c_t |p' − p| − ½ risk p'² + V_{t+1}(p')]``, by backward induction over a grid of positions.

    Parameters
    ----------
    returns : ndarray of shape (n, T)
        Column t is the return earned by the weight in column t.
    cost : float, or ndarray of shape (n, T)
        Cost of a change of weight by 1; column t is paid for the change to the weight in column t.
    positions : sequence of float
        Weights to choose from. The account starts flat.
    risk : float
        γ σ² per bar.

    Returns
    -------
    ndarray of shape (n, T)
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    cost = np.array(np.broadcast_to(cost, returns.shape), dtype=np.float64)
    return _hindsight(returns, np.asarray(positions, dtype=np.float64), cost, float(risk))


class Hindsight(Strategy):
    """Trades each symbol optimally with perfect foresight, on 1 / A of the equity each. Look-ahead is intended: it is a ceiling.

    Parameters
    ----------
    costs : Costs or str
        Costs to plan for. Only those proportional to traded value count (commission, spread, taxes).
    positions : sequence of float
        Positions allowed in a symbol, as fractions of its 1 / A of the equity; by default 0, ½ and 1.
    risk : float
        γ σ² per bar, with γ the risk aversion applied to each symbol separately.
    execution : Execution, optional
        Only its fill time is used.
    """

    name = "hindsight"

    def __init__(
        self,
        costs: Costs | str = "10bp",
        positions: Sequence[float] = (0.0, 0.5, 1.0),
        risk: float = 0.0,
        execution: Execution | None = None,
    ):
        self.costs, self.positions, self.risk = Costs.parse(costs), positions, risk
        self.execution = execution or Execution()

    def plan(self, bars: Bars) -> Plan:
        market, rules = make_market(bars, self.costs, self.execution)
        with np.errstate(divide="ignore", invalid="ignore"):
            earned = np.nan_to_num(market.fill[1:] / market.fill[:-1] - 1, posinf=0.0)
        earned = np.vstack([earned, np.zeros((1, earned.shape[1]))])
        buy, sell = market.sides(rules)
        weights = hindsight(earned.T, (buy + sell).T / 2, self.positions, self.risk).T
        return Plan(weights / bars.shape[1])
