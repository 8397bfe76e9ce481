"""Optima of `HiddenMarkov` and `HiddenMarkovFamily`: a filter for the state, and thresholds on it that allow for costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numba import njit
from scipy.interpolate import RegularGridInterpolator
from scipy.special import expit, logit

from markets import Bars, InputError, Plan
from markets.synthetic import HiddenMarkov, HiddenMarkovFamily
from strategies.optimal.optimum import Optimum
from strategies.optimal.switching import extrapolated, hysteresis, moves, value_of_switching, worth_of_switching


@lru_cache(maxsize=1024)
def hidden_markov_worth(
    mean: float, stay: float, cost: float, points: int = 801, largest: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Value W of being long rather than short (see `worth_of_switching`), on a grid of log-odds of the up state.

    In log-odds the filter is linear in the next return: ``l' = logit(P(up next)) + 2 m r``. Given the next state, l' is
    therefore Gaussian with standard deviation 2 m.

    Parameters
    ----------
    mean : float
        m: returns are N(m, 1) in the up state and N(−m, 1) in the down state.
    stay : float
        q, the probability per bar of staying in the same state.
    cost : float
        Cost of a change of weight by 1.
    points : int
        Grid points.
    largest : float, optional
        The grid covers log-odds from −`largest` to `largest`.

    Returns
    -------
    grid, worth : ndarray of shape (points,)
        Log-odds, and W at each. Read-only, because they are cached.

    Raises
    ------
    InputError
        When the iteration for W does not converge.
    """
    # the prediction cannot exceed logit(stay); add room for large returns
    largest = largest or logit(stay) + 12 * mean
    grid = np.linspace(-largest, largest, points)
    gain, move = next_bar(grid, mean, stay)
    worth = worth_of_switching(gain, move, cost)
    for array in (grid, worth):  # cached and shared between callers
        array.setflags(write=False)
    return grid, worth


def next_bar(grid: np.ndarray, mean: float, stay: float) -> tuple[np.ndarray, np.ndarray]:
    """Twice the expected next return (P,), and the filter's transition matrix (P, P), on a grid of log-odds."""
    up = stay * expit(grid) + (1 - stay) * expit(-grid)
    move = up[:, None] * moves(grid, logit(up) + 2 * mean**2, 2 * mean)
    move += (1 - up)[:, None] * moves(grid, logit(up) - 2 * mean**2, 2 * mean)
    return 2 * mean * (2 * up - 1), move


def hidden_markov_value(mean: float, stay: float, cost: float, points: int = 401) -> float:
    """Long-run mean reward per bar of the optimum, by value iteration; parameters as in `hidden_markov_worth`.

    Extrapolated from a grid of `points` and one of half the spacing; within 2e-6 for the families of ``docs/ceilings.md``.
    """

    def on_grid(points: int) -> float:
        grid, worth = hidden_markov_worth(mean, stay, cost, points)
        return value_of_switching(worth, next_bar(grid, mean, stay)[1], cost)

    return extrapolated(on_grid, points)


def hidden_markov_threshold(mean: float, stay: float, cost: float, points: int = 801) -> float:
    """Filtered probability of the up state above which the optimum goes long; parameters as in `hidden_markov_worth`."""
    grid, worth = hidden_markov_worth(mean, stay, cost, points)
    return float(expit(np.interp(2 * cost, worth, grid)))


@njit(cache=True)
def hidden_markov_log_odds(returns, mean, stay):
    """Filter of `HiddenMarkov`: log-odds (n, T) of the up state after each return.

    Takes returns (n, T) and the parameters m and q of each episode, of shape (n,). The prior is one half.
    """
    out = np.empty_like(returns)
    for k in range(returns.shape[0]):
        odds = 0.0
        for t in range(returns.shape[1]):
            if t > 0:
                up = 1 / (1 + np.exp(-odds))
                up = stay[k] * up + (1 - stay[k]) * (1 - up)
                odds = np.log(up / (1 - up))
            odds += 2 * mean[k] * returns[k, t]
            out[k, t] = odds
    return out


class HiddenMarkovFilter(Optimum):
    """Optimal strategy of `HiddenMarkov`; with each episode's parameters given, also of `HiddenMarkovFamily`.

    Parameters
    ----------
    family : HiddenMarkov or HiddenMarkovFamily, optional
        `HiddenMarkov` with its defaults if not given.
    mean, stay : array-like of shape (n,), optional
        True parameters of each episode. Required for `HiddenMarkovFamily`, ignored for `HiddenMarkov`.

    Raises
    ------
    InputError
        When the parameters of a `HiddenMarkovFamily` are missing.
    """

    family: HiddenMarkov | HiddenMarkovFamily
    name = "filter"

    def __init__(
        self,
        family: HiddenMarkov | HiddenMarkovFamily | None = None,
        mean: Sequence[float] | np.ndarray | None = None,
        stay: Sequence[float] | np.ndarray | None = None,
    ):
        family = self.family = family or HiddenMarkov()
        if isinstance(family, HiddenMarkov):
            mean, stay = [family.mean], [family.stay]
        if mean is None or stay is None:
            raise InputError("HiddenMarkovFilter of a HiddenMarkovFamily needs the mean and stay of each episode")
        self._mean, self._stay = np.asarray(mean, dtype=np.float64), np.asarray(stay, dtype=np.float64)

    @cached_property
    def value(self) -> float:
        if isinstance(self.family, HiddenMarkovFamily):
            return float("nan")
        return hidden_markov_value(self.family.mean, self.family.stay, self.family.cost)

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        return hysteresis(*self._belief(returns))

    def _belief(self, returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds (n, T) of the up state, and the threshold on them (n,)."""
        n = len(returns)
        if 1 < len(self._mean) < n:
            raise InputError(f"the filter has the parameters of {len(self._mean)} episodes, but there are {n}")
        mean, stay = (np.broadcast_to(x if len(x) == 1 else x[:n], (n,)).copy() for x in (self._mean, self._stay))
        return hidden_markov_log_odds(returns, mean, stay), self._edges(mean, stay)

    def _edges(self, mean: np.ndarray, stay: np.ndarray) -> np.ndarray:
        if isinstance(self.family, HiddenMarkovFamily):
            return _edge_table(self.family)(np.column_stack([mean, logit(stay)]))
        edge = logit(hidden_markov_threshold(self.family.mean, self.family.stay, self.family.cost))
        return np.full(len(mean), edge)


class HiddenMarkovZone(HiddenMarkovFilter):
    """`HiddenMarkovFilter` as a no-trade zone, which says at each bar what would be done from any position.

    Above the threshold the zone is the weight 1, below its negative −1, and between them it reaches from −1 to 1, so that what is
    held stays. From a flat start it trades as the filter does. The filter's own plan is the position that this leads to, which
    hangs on all bars of the episode; as a teacher (`metalearner.Teachers`) the zone is easier to learn from.
    """

    name = "filter's zone"

    def plan(self, bars: Bars) -> Plan:
        odds, edge = self._belief(self._episodes(bars)[0])
        sure = np.where(np.abs(odds) > edge[:, None], np.sign(odds), 0.0)
        return Plan(self._along(bars, sure), self._along(bars, 1 - np.abs(sure)))


@lru_cache(maxsize=8)
def _edge_table(family: HiddenMarkovFamily, points: int = 9) -> RegularGridInterpolator:
    """The threshold in log-odds as a function of (mean, logit of stay); it is smooth, so a coarse grid is interpolated."""
    means, stays = (
        np.linspace(*family.means, points),
        np.linspace(logit(family.stays[0]), logit(family.stays[1]), points),
    )
    edges = [[logit(hidden_markov_threshold(m, expit(s), family.cost, 401)) for s in stays] for m in means]
    return RegularGridInterpolator((means, stays), np.array(edges), method="cubic")


class HiddenMarkovJointFilter(Optimum):
    """Strategy for `HiddenMarkovFamily` with unknown parameters: a joint filter over (state, m, q), with m and q on a grid.

    Applies the thresholds to the posterior mean of W, as if the parameters became known after the next bar. This ignores the
    value of waiting for more information, so it is not optimal: the true optimum lies between this strategy and the filter
    with known parameters.

    Parameters
    ----------
    family : HiddenMarkovFamily, optional
        Its defaults if not given.
    points : int
        Grid points for each of m and q.
    """

    family: HiddenMarkovFamily
    name = "joint filter"

    def __init__(self, family: HiddenMarkovFamily | None = None, points: int = 9):
        self.family = family or HiddenMarkovFamily()
        self.points = points

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        family = self.family
        # midpoints of equally probable intervals of each uniform prior
        shares = (np.arange(self.points) + 0.5) / self.points
        (low, high), (least, most) = family.means, family.stays
        mean = np.repeat(low + (high - low) * shares, self.points)
        stay = np.tile(least + (most - least) * shares, self.points)
        largest = float(logit(stay.max()) + 12 * mean.max())
        tables = [
            hidden_markov_worth(float(m), float(q), family.cost, 401, largest) for m, q in zip(mean, stay, strict=True)
        ]
        worth = _mean_worth(np.ascontiguousarray(returns), mean, stay, np.array([w for _, w in tables]), largest)
        return hysteresis(worth, np.full(len(returns), 2 * family.cost))


@njit(cache=True)
def _mean_worth(returns, mean, stay, tables, largest):
    """Posterior mean (n, T) of W over the parameter grid; ``tables[g]`` holds W of point g on a common grid of log-odds."""
    out = np.empty_like(returns)
    count, points = tables.shape
    odds, evidence = np.empty(count), np.empty(count)
    for k in range(returns.shape[0]):
        odds[:] = 0.0
        evidence[:] = 0.0
        for t in range(returns.shape[1]):
            r, top = returns[k, t], -np.inf
            for g in range(count):
                up = 1 / (1 + np.exp(-odds[g]))
                up = 0.5 if t == 0 else stay[g] * up + (1 - stay[g]) * (1 - up)
                # likelihood ratio of r against N(0, 1): (up e^{mr} + (1 − up) e^{−mr}) e^{−m²/2}
                rise = np.exp(mean[g] * r)
                evidence[g] += np.log(up * rise + (1 - up) / rise) - 0.5 * mean[g] ** 2
                odds[g] = np.log(up / (1 - up)) + 2 * mean[g] * r
                top = max(top, evidence[g])
            total, worth = 0.0, 0.0
            for g in range(count):
                share = np.exp(evidence[g] - top)
                at = min(max((odds[g] + largest) / (2 * largest) * (points - 1), 0.0), points - 1.000001)
                i = int(at)
                total += share
                worth += share * (tables[g, i] + (at - i) * (tables[g, i + 1] - tables[g, i]))
            out[k, t] = worth / total
    return out
