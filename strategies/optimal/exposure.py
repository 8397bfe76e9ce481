"""The best exposure to a market of two regimes, for mean–variance utility, proportional costs and bounds on the exposure.

Exposure w_t in [low, high], on a grid, is chosen after bar t. The reward per bar is ::

    w_t r_{t+1} − ½ γ (w_t r_{t+1})² − fees on borrowing and shorts − cost |w_t − w_{t−1}|

What is known at a bar is a state i of a Markov chain with transition matrix M (the regime, or the filter's belief), in which the
next return has the mean m_i and second moment v_i. Reward and cost are sums over the steps of the exposure: the step from
x − h/2 to x + h/2 is either held or not, earns ``g_i(x) = m_i − γ v_i x − fee(x)`` per unit while it is held, and costs
`cost` to take and to leave. Each step is so a problem of switching on its own, which generalises `worth_of_switching`
(positions ±1) and needs no grid of positions: with q the marginal value of holding it ::

    q = g + M clip(q, −cost, cost)

take it where q > cost, leave it where q < −cost, and keep what is held in between. As v > 0, q falls with x, so that steps are
taken from the lowest on, and together they are an exposure. The value per bar is ::

    V = E[reward at low] + h Σ_x ½ (E[g] + E[(|q| − cost)⁺])

and the best constant exposure holds the steps with E[g] > 0. So what adapting adds is ``h Σ_x ½ (E[(|q| − cost)⁺] − |E[g]|)``.

The filter's belief is the probability p that the next bar is in the second regime. Returns are observed through `CELLS` cells,
so the filter on the cells is exact, and a belief between two points of the grid is divided so that its mean is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from scipy import stats
from scipy.special import expit, logit

from markets import InputError
from markets.synthetic import TwoRegimes

CELLS = 120
POINTS = 61
LEVELS = 20
_MOST = 60  # steps of Newton's method


@dataclass(frozen=True)
class Exposure:
    """What may be held, and what it costs.

    Attributes
    ----------
    risk_aversion : float
        γ, above 0.
    cost : float
        Cost of a change of exposure by 1, as a fraction of equity.
    low, high : float
        Bounds of the exposure; `low` is at most 0.
    financing, borrow : float
        Fee per bar on exposure above 1, and on exposure below 0.
    levels : int
        Steps from `low` to `high`.

    Raises
    ------
    InputError
        When a value is out of range.
    """

    risk_aversion: float = 5.0
    cost: float = 0.001
    low: float = 0.0
    high: float = 1.0
    financing: float = 0.0
    borrow: float = 0.0
    levels: int = LEVELS

    def __post_init__(self) -> None:
        values = self.risk_aversion, self.cost, self.low, self.high, self.financing, self.borrow
        if not (
            np.isfinite(values).all() and self.risk_aversion > 0 and min(self.cost, self.financing, self.borrow) >= 0
        ):
            raise InputError(f"{self}: risk_aversion must be above 0, and costs at least 0")
        if not (self.low <= 0 < self.high and self.levels >= 1):
            raise InputError(f"{self}: low must be at most 0, high above 0, and levels at least 1")

    @property
    def step(self) -> float:
        """Difference of neighbouring exposures."""
        return (self.high - self.low) / self.levels

    @property
    def middles(self) -> np.ndarray:
        """Middle x of each step, shape (levels,)."""
        return self.low + self.step * (np.arange(self.levels) + 0.5)

    @property
    def fees(self) -> np.ndarray:
        """Fee per bar and unit for holding each step, shape (levels,); a step below 0 saves the fee on shorts."""
        x, half = self.middles, 0.5 * self.step
        above = np.clip((x + half - 1) / self.step, 0, 1)  # share of the step that is borrowed
        below = np.clip((half - x) / self.step, 0, 1)
        return self.financing * above - self.borrow * below

    def gain(self, mean: np.ndarray, square: np.ndarray) -> np.ndarray:
        """What each step earns, shape (levels, P), where the next return has these moments, both of shape (P,)."""
        return mean - self.risk_aversion * square * self.middles[:, None] - self.fees[:, None]

    def reward(self, weights: np.ndarray, mean: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Expected reward of exposures for returns with these moments, before the cost of trades; all of one shape."""
        return weights * mean - 0.5 * self.risk_aversion * weights**2 * square - self.holding(weights)

    def holding(self, weights: np.ndarray) -> np.ndarray:
        """Fees per bar on borrowing and shorts."""
        return self.financing * np.maximum(weights - 1, 0) + self.borrow * np.maximum(-weights, 0)


@dataclass(frozen=True)
class Account:
    """Long-run moments of an account, per bar.

    Attributes
    ----------
    mean : float
        Mean return, net of all costs.
    square : float
        Mean squared return, before costs.
    turnover : float
        Mean absolute change of the exposure.
    value : float
        Certainty equivalent: ``mean − ½ γ square``.
    """

    mean: float
    square: float
    turnover: float
    value: float

    @property
    def sharpe(self) -> float:
        """Mean return over its standard deviation, per bar; NaN of an account that holds nothing."""
        variance = self.square - self.mean**2
        return float(self.mean / np.sqrt(variance)) if variance > 1e-18 else np.nan


@dataclass(frozen=True, eq=False)
class Solved:
    """The optimum for a Markov chain of what is known at a bar.

    Attributes
    ----------
    problem : Exposure
    mean, square, stationary : ndarray of shape (P,)
        Moments of the next return in each state, and the states' long-run probabilities.
    move : ndarray of shape (P, P)
        Transition matrix.
    worth : ndarray of shape (levels, P)
        q: what it is worth to hold each step of the exposure, now and later.
    """

    problem: Exposure
    mean: np.ndarray
    square: np.ndarray
    move: np.ndarray
    stationary: np.ndarray
    worth: np.ndarray

    @classmethod
    def of(cls, problem: Exposure, mean: np.ndarray, square: np.ndarray, move: np.ndarray) -> Solved:
        """Solve for q.

        Raises
        ------
        InputError
            When the iteration does not converge.
        """
        balance = move.T - np.eye(len(move))
        balance[-1] = 1
        stationary = np.clip(np.linalg.solve(balance, np.eye(len(move))[-1]), 0, None)
        worth = worth_of_steps(problem.gain(mean, square), move, problem.cost)
        return cls(problem, mean, square, move, stationary / stationary.sum(), worth)

    @property
    def constant(self) -> np.ndarray:
        """Whether the best constant exposure holds each step, shape (levels,)."""
        return self.problem.gain(self.mean, self.square) @ self.stationary > 0

    @property
    def headroom(self) -> float:
        """What adapting adds to the certainty equivalent of the best constant exposure, per bar; at least 0."""
        gain = self.problem.gain(self.mean, self.square) @ self.stationary
        switched = np.maximum(np.abs(self.worth) - self.problem.cost, 0) @ self.stationary
        more = switched - np.abs(gain)
        return float(self.problem.step * 0.5 * more[more > 1e-9 * np.abs(gain)].sum())  # less is rounding

    @cached_property
    def account(self) -> Account:
        """The account of the optimum."""
        cost, move = self.problem.cost, self.move
        take, leave = self.worth > cost, self.worth < -cost
        keep = ~(take | leave)
        # held_t+1(b') = π(b') where it is taken, 0 where it is left, and what arrives held elsewhere
        system = np.eye(len(move)) * (1 + 1e-12) - keep[:, :, None] * move.T
        held = np.linalg.solve(system, (take * self.stationary)[..., None])[..., 0]
        arriving = held @ move
        bought = (take * (self.stationary - arriving)).sum(axis=1)
        sold = (leave * arriving).sum(axis=1)
        return self._account(held, float(np.abs(bought).sum() + np.abs(sold).sum()) * self.problem.step)

    @property
    def unadapted(self) -> Account:
        """The account of the best constant exposure."""
        return self._account(self.constant[:, None] * self.stationary, 0.0)

    def _account(self, held: np.ndarray, turnover: float) -> Account:
        """Moments, given the probability (levels, P) that each step is held in each state."""
        problem, low = self.problem, self.problem.low
        exposed = (low * self.stationary + problem.step * held.sum(axis=0)) @ self.mean
        fees = problem.step * (problem.fees @ held).sum() + float(problem.holding(np.array(low)))
        # w² grows by 2 x h with the step around x
        squares = low**2 * self.stationary + 2 * problem.step * (problem.middles @ held)
        mean, square = float(exposed - fees - problem.cost * turnover), float(squares @ self.square)
        return Account(mean, square, turnover, mean - 0.5 * problem.risk_aversion * square)


def worth_of_steps(gain: np.ndarray, move: np.ndarray, cost: float) -> np.ndarray:
    """Solve ``q = gain + move clip(q, −cost, cost)`` for each row of `gain`, by Newton's method.

    Parameters
    ----------
    gain : ndarray of shape (L, P)
    move : ndarray of shape (P, P)
        Transition matrix.
    cost : float
        Cost of switching once.

    Returns
    -------
    ndarray of shape (L, P)

    Raises
    ------
    InputError
        When it does not converge.
    """
    worth, unit = gain + 0.0, np.eye(len(move))
    if cost == 0:
        return worth
    before = None
    for _ in range(_MOST):
        inside = np.abs(worth) < cost
        sides = np.where(inside, 0.0, cost * np.sign(worth))
        state = np.where(inside, 0.0, np.sign(worth))
        if before is not None and np.array_equal(state, before):
            return worth
        before = state
        # the tiny discount makes a step that is never taken nor left, and earns nothing, solvable
        system = unit - (1 - 1e-10) * move * inside[:, None, :]
        worth = np.linalg.solve(system, (gain + sides @ move.T)[..., None])[..., 0]
    for _ in range(200_000):  # where it goes in circles, plain iteration converges
        worth, last = gain + np.clip(worth, -cost, cost) @ move.T, worth
        if np.abs(worth - last).max() < 1e-9 * cost:
            return worth
    raise InputError("the value of an exposure does not converge; is every parameter finite and in its range?")


def beliefs(regimes: TwoRegimes, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Grid (P,) of the probability that the next bar is in the second regime, and the filter's transition matrix (P, P)."""
    grid = belief_grid(regimes, points)
    scale = 1.0 if np.isinf(regimes.freedom) else np.sqrt(1 - 2 / regimes.freedom)
    shape = stats.norm() if np.isinf(regimes.freedom) else stats.t(regimes.freedom)
    quantiles = shape.ppf((np.arange(CELLS // 2) + 0.5) / (CELLS // 2))
    edges = np.sort(
        np.concatenate([m + s * scale * quantiles for m, s in zip(regimes.mean, regimes.volatility, strict=True)])
    )
    cells = np.array(
        [
            np.diff(shape.cdf((edges - m) / (s * scale)), prepend=0.0, append=1.0)
            for m, s in zip(regimes.mean, regimes.volatility, strict=True)
        ]
    )
    return grid, _moves(grid, cells, regimes.transition)


def belief_grid(regimes: TwoRegimes, points: int) -> np.ndarray:
    """Probabilities between those right after it is known that a regime is there, evenly spaced in their log-odds."""
    low, high = np.sort(regimes.transition[:, 1])
    if high - low < 1e-6:  # regimes that last a bar: nothing is ever learnt
        low, high = low * (1 - 1e-6), high + 1e-6 * (1 - high)
    grid = expit(np.linspace(logit(low), logit(high), points))
    grid[0], grid[-1] = low, high
    return grid


def solve_filter(problem: Exposure, regimes: TwoRegimes, points: int = POINTS) -> Solved:
    """The optimum of one who knows the market's parameters and filters its regime from returns."""
    grid, move = beliefs(regimes, points)
    return Solved.of(problem, _mix(regimes.mean, grid), _mix(regimes.square, grid), move)


def solve_known(problem: Exposure, regimes: TwoRegimes) -> Solved:
    """The optimum of one who is told at each bar which regime it was in."""
    following = regimes.transition[:, 1]
    return Solved.of(problem, _mix(regimes.mean, following), _mix(regimes.square, following), regimes.transition)


def _mix(pair: tuple[float, float] | np.ndarray, second: np.ndarray) -> np.ndarray:
    return pair[0] + (pair[1] - pair[0]) * second


@njit(cache=True, error_model="numpy")
def _moves(grid, cells, transition):
    """Transition matrix of the belief, of which each observed cell leads to one posterior."""
    points = grid.size
    out = np.zeros((points, points))
    for i in range(points):
        p = grid[i]
        for j in range(cells.shape[1]):
            one, two = (1 - p) * cells[0, j], p * cells[1, j]
            total = one + two
            if not total > 0:
                continue
            following = (one * transition[0, 1] + two * transition[1, 1]) / total
            k = min(max(np.searchsorted(grid, following), 1), points - 1)
            share = min(max((following - grid[k - 1]) / (grid[k] - grid[k - 1]), 0.0), 1.0)
            out[i, k - 1] += total * (1 - share)
            out[i, k] += total * share
        out[i] /= out[i].sum()
    return out
