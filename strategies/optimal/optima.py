"""Known optima: the best that anyone can do in the families of `markets.synthetic.families`, and in hindsight on real prices.

Each optimum is a `Strategy`; `strategies.ladder` shows what is above and below it. Derivations are in ``docs/ceilings.md``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numba import njit
from scipy.interpolate import RegularGridInterpolator
from scipy.linalg import solve_discrete_are
from scipy.special import expit, logit, ndtr

from markets import Bars, Costs, Execution, InputError, Plan
from markets.accounting.market import make_market
from markets.synthetic.families import (
    DriftMomentum,
    Episodes,
    Family,
    GarleanuPedersen,
    HiddenMarkov,
    HiddenMarkovFamily,
    LinearCost,
)
from strategies.strategy import Strategy


class Optimum(Strategy):
    """The best trader of one family: restarts with each episode, counted from the first bar held."""

    family: Family

    @abstractmethod
    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Weights (n, T), column t chosen after ``returns[:, t]``, from returns (n, T) and told signals (n, T)."""

    def follow(self, drawn: Episodes) -> np.ndarray:
        """Weights (n, T) in these episodes."""
        returns = np.ascontiguousarray(drawn.returns[..., 0])
        signal = np.ascontiguousarray(drawn.signal[..., 0]) if drawn.signal.size else np.zeros_like(returns)
        return self.weights(returns, signal)

    def plan(self, bars: Bars) -> Plan:
        rows, columns = bars.with_past().shape
        close, length = bars.with_past().close, self.family.length + 1
        episodes = -(-(rows - 1) // length)
        # The last episode may be cut short; zeros that come after a row do not reach it.
        returns, signal = np.zeros(episodes * length), np.zeros(episodes * length)
        returns[: rows - 1] = (close[1:, 0] / close[:-1, 0] - 1) / self.family.scale
        if columns > 1:
            signal[: rows - 1] = np.log(close[1:, 1])
        chosen = self.weights(returns.reshape(episodes, length), signal.reshape(episodes, length))
        aim = np.zeros((rows, columns))
        aim[1:, 0] = chosen.reshape(-1)[: rows - 1]
        return self._plan(aim[bars.past :])

    def _plan(self, aim: np.ndarray) -> Plan:
        return Plan(aim)


# ------------------------------------------------------------------------------------------- drift and momentum


class DriftMomentumFilter(Optimum):
    """Bayes-optimal in `DriftMomentum`: ``w = E[m] / (1 + E[m²])``, m the expected next return.

    Given φ, ``y_t = r_{t+1} − φ r_t = μ (1 − φ) + ε`` makes the posterior of μ Gaussian, with precision τ and mean η::

        τ' = τ + (1 − φ)²,   η' = (τ η + (1 − φ) y) / τ',   y ~ N((1 − φ) η, 1 + (1 − φ)² / τ)

    and φ is integrated over by Gauss–Legendre nodes, weighted by the evidence. No trade moves what is learnt, so the best
    weight of each bar is the best of that bar alone; ``E[w r − ½ w² r²]`` is largest there since ``E[r²] = 1 + E[m²]``.
    """

    family: DriftMomentum
    name = "Bayes filter"

    def __init__(self, family: DriftMomentum | None = None, nodes: int = 33):
        self.family = family or DriftMomentum()
        self.nodes = nodes

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        x, mass = np.polynomial.legendre.leggauss(self.nodes)
        phi = self.family.momentum * x
        gain = 1 - phi
        precision = np.full_like(phi, self.family.drift**-2 + 1)  # the same in every episode
        mean = returns[:, :1] / precision
        evidence = np.zeros_like(mean) + np.log(mass)
        out = np.empty_like(returns)
        for t in range(returns.shape[1]):
            if t > 0:
                y = returns[:, t, None] - phi * returns[:, t - 1, None]
                spread = 1 + gain**2 / precision
                evidence = evidence - 0.5 * (np.log(spread) + (y - gain * mean) ** 2 / spread)
                mean = (precision * mean + gain * y) / (precision + gain**2)
                precision = precision + gain**2
            belief = np.exp(evidence - evidence.max(axis=1, keepdims=True))
            belief /= belief.sum(axis=1, keepdims=True)
            m = mean * gain + phi * returns[:, t, None]
            square = (belief * (m**2 + gain**2 / precision)).sum(axis=1)
            out[:, t] = (belief * m).sum(axis=1) / (1 + square)
        return out


# --------------------------------------------------------------------------------- bang-bang with hysteresis


def worth_of_switching(gain: np.ndarray, move: np.ndarray, cost: float) -> np.ndarray:
    """W = gain + move · clip(W, −2 cost, 2 cost): what being long is worth more than being short, on a grid.

    With proportional costs and a cap on the weight the optimum is bang-bang: go long where W > 2 cost, short where W < −2
    cost, hold between (de Lataillade et al., arXiv 1203.5957).

    Parameters
    ----------
    gain : ndarray of shape (P,)
        Twice the expected next return at each grid point.
    move : ndarray of shape (P, P)
        Transition matrix of the grid.
    cost : float
        Of a change of weight by 1.
    """
    worth = gain.copy()
    for _ in range(100_000):
        before = worth
        worth = gain + move @ np.clip(before, -2 * cost, 2 * cost)
        if np.abs(worth - before).max() < 1e-12:
            return worth
    raise InputError("the worth of switching does not settle; is every parameter finite and in its range?")


def _moves(grid: np.ndarray, mean: np.ndarray, spread: float) -> np.ndarray:
    """Transition matrix (P, P) to N(mean_i, spread²), exact for functions that are linear between grid points.

    From E[(g − X)⁺] of a Gaussian; what falls off the grid stays at its end.
    """
    z = (grid - mean[:, None]) / spread
    below = z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    share = np.diff(below, axis=1) * spread / (grid[1] - grid[0])
    edge = np.ones((len(mean), 1))
    return np.diff(np.hstack([0 * edge, share, edge]), axis=1)


@lru_cache(maxsize=1024)
def hidden_markov_worth(
    mean: float, stay: float, cost: float, points: int = 801, largest: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(log-odds of the up state, W there) for `HiddenMarkov`.

    In log-odds the filter is linear in the next return: ``l' = logit(P(up next)) + 2 m r``, so that each of the two states
    moves it by a Gaussian of spread 2 m.
    """
    largest = largest or logit(stay) + 12 * mean  # beyond logit(stay) only a large return goes
    grid = np.linspace(-largest, largest, points)
    up = stay * expit(grid) + (1 - stay) * expit(-grid)
    move = up[:, None] * _moves(grid, logit(up) + 2 * mean**2, 2 * mean)
    move += (1 - up)[:, None] * _moves(grid, logit(up) - 2 * mean**2, 2 * mean)
    worth = worth_of_switching(2 * mean * (2 * up - 1), move, cost)
    for array in (grid, worth):  # they are kept, and handed out again
        array.setflags(write=False)
    return grid, worth


def hidden_markov_threshold(mean: float, stay: float, cost: float, points: int = 801) -> float:
    """Probability of the up state above which to go long."""
    grid, worth = hidden_markov_worth(mean, stay, cost, points)
    return float(expit(np.interp(2 * cost, worth, grid)))


def linear_cost_threshold(speed: float, spread: float, cost: float, points: int = 1601) -> float:
    """Predictor above which to go long in `LinearCost`."""
    sd = spread / np.sqrt(1 - (1 - speed) ** 2)
    grid = np.linspace(-7 * sd, 7 * sd, points)
    worth = worth_of_switching(2 * grid, _moves(grid, (1 - speed) * grid, spread), cost)
    return float(np.interp(2 * cost, worth, grid))


@njit(cache=True)
def _hysteresis(signal, edge):
    """1 where the signal is above an episode's edge, −1 below its negative, else what was held; starts flat."""
    out = np.empty_like(signal)
    for k in range(signal.shape[0]):
        held = 0.0
        for t in range(signal.shape[1]):
            if signal[k, t] > edge[k]:
                held = 1.0
            elif signal[k, t] < -edge[k]:
                held = -1.0
            out[k, t] = held
    return out


@njit(cache=True)
def hidden_markov_log_odds(returns, mean, stay):
    """Filter of `HiddenMarkov`: log-odds (n, T) of the up state after each return, from even odds before the first."""
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
    """Optimal in `HiddenMarkov`, and in `HiddenMarkovFamily` for one who knows each task's parameters.

    Parameters
    ----------
    family : HiddenMarkov or HiddenMarkovFamily
    mean, stay : ndarray of shape (n,), optional
        Of each episode, for the second.
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
            raise InputError("the filter of a hidden Markov family must be told the mean and stay of each episode")
        self._mean, self._stay = np.asarray(mean, dtype=np.float64), np.asarray(stay, dtype=np.float64)

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        n = len(returns)
        if 1 < len(self._mean) < n:
            raise InputError(f"the filter was told the parameters of {len(self._mean)} episodes, and there are {n}")
        mean, stay = (np.broadcast_to(x if len(x) == 1 else x[:n], (n,)).copy() for x in (self._mean, self._stay))
        return _hysteresis(hidden_markov_log_odds(returns, mean, stay), self._edges(mean, stay))

    def _edges(self, mean: np.ndarray, stay: np.ndarray) -> np.ndarray:
        if isinstance(self.family, HiddenMarkovFamily):
            return _edge_table(self.family)(np.column_stack([mean, logit(stay)]))
        edge = logit(hidden_markov_threshold(self.family.mean, self.family.stay, self.family.cost))
        return np.full(len(mean), edge)


@lru_cache(maxsize=8)
def _edge_table(family: HiddenMarkovFamily, points: int = 9) -> RegularGridInterpolator:
    """Log-odds to go long at, over (mean, logit of stay): smooth enough to interpolate."""
    means, stays = (
        np.linspace(*family.means, points),
        np.linspace(logit(family.stays[0]), logit(family.stays[1]), points),
    )
    edges = [[logit(hidden_markov_threshold(m, expit(s), family.cost, 401)) for s in stays] for m in means]
    return RegularGridInterpolator((means, stays), np.array(edges), method="cubic")


class HiddenMarkovJointFilter(Optimum):
    """`HiddenMarkovFamily` for one who is not told the parameters: a filter over (state, m, q), m and q on a grid.

    Acts on the posterior mean of W, as if the parameters were to become known after the next bar. That ignores what a
    trade could wait to learn, so the true optimum lies between this and the filter that knows.
    """

    family: HiddenMarkovFamily
    name = "joint filter"

    def __init__(self, family: HiddenMarkovFamily | None = None, points: int = 9):
        self.family = family or HiddenMarkovFamily()
        self.points = points

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        family = self.family
        # the middles of equal shares of each uniform prior
        shares = (np.arange(self.points) + 0.5) / self.points
        (low, high), (least, most) = family.means, family.stays
        mean = np.repeat(low + (high - low) * shares, self.points)
        stay = np.tile(least + (most - least) * shares, self.points)
        largest = float(logit(stay.max()) + 12 * mean.max())
        tables = [
            hidden_markov_worth(float(m), float(q), family.cost, 401, largest) for m, q in zip(mean, stay, strict=True)
        ]
        worth = _mean_worth(np.ascontiguousarray(returns), mean, stay, np.array([w for _, w in tables]), largest)
        return _hysteresis(worth, np.full(len(returns), 2 * family.cost))


@njit(cache=True)
def _mean_worth(returns, mean, stay, tables, largest):
    """Posterior mean (n, T) of W, over the parameters g with ``tables[g]`` on a common grid of log-odds."""
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
                # density of r over that of N(0, 1): up e^{mr} + (1 − up) e^{−mr}, times e^{−m²/2}
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


class LinearCostOptimum(Optimum):
    """Optimal in `LinearCost`: bang-bang with hysteresis at the predictor where W = 2 cost."""

    family: LinearCost
    name = "threshold"

    def __init__(self, family: LinearCost | None = None):
        self.family = family or LinearCost()
        self.threshold = linear_cost_threshold(self.family.speed, self.family.spread, self.family.cost)

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        return _hysteresis(np.ascontiguousarray(signal), np.full(len(signal), self.threshold))


# -------------------------------------------------------------------------------------- part of the way each bar


def partial_adjustment(
    slope: np.ndarray,
    reversion: np.ndarray,
    covariance: np.ndarray,
    shock: np.ndarray,
    risk_aversion: float,
    impact: np.ndarray,
    discount: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Optimal trading with quadratic costs: ``x_t = x_{t−1} + rate (aim f_t − x_{t−1})``, for A assets and K predictors.

    Maximises the (discounted) sum of ``x'B f − ½ γ x'Σ x − ½ Δx'Λ Δx`` with ``f_{t+1} = (1 − Φ) f_t + ε``, a linear-quadratic
    problem in the state (x_{t−1}, f_t) and the trade Δx, by the discrete algebraic Riccati equation.

    Parameters
    ----------
    slope : ndarray of shape (A, K)
        B.
    reversion, shock : ndarray of shape (K, K)
        Φ and Var ε.
    covariance, impact : ndarray of shape (A, A)
        Σ and Λ.
    risk_aversion : float
        γ.
    discount : float
        Of the next bar's reward.

    Returns
    -------
    rate : ndarray of shape (A, A)
    aim : ndarray of shape (A, K)
        Per unit of each predictor.
    value : float
        Reward a bar, on average (without discount).

    References
    ----------
    Gârleanu and Pedersen, "Dynamic Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013.
    """
    assets, factors = slope.shape
    risk, root = risk_aversion * covariance, np.sqrt(discount)
    none = np.zeros((assets, factors))
    move = root * np.block([[np.eye(assets), none], [none.T, np.eye(factors) - reversion]])
    push = root * np.vstack([np.eye(assets), none.T])
    stage = np.block([[risk, -slope], [-slope.T, np.zeros((factors, factors))]])
    cross = np.vstack([risk, -slope.T])
    value = solve_discrete_are(move, push, stage, risk + impact, s=cross)
    gain = np.linalg.solve(risk + impact + push.T @ value @ push, push.T @ value @ move + cross.T)
    rate = gain[:, :assets]
    aim = -np.linalg.solve(rate, gain[:, assets:])
    return rate, aim, float(-0.5 * np.trace(value[assets:, assets:] @ shock))


class GarleanuPedersenOptimum(Optimum):
    """Optimal in `GarleanuPedersen`, in closed form::

        a = ½ (−γ + √(γ² + 4 γ λ)),   rate κ = a / λ,   aim = B f / (γ σ² (1 + a φ / γ))

        J = σ² (λ + γ + a),   A_xf = a σ² aim/f,   A_ff = (B + A_xf (1 − φ))² / (J (1 − (1 − φ)²)),   g* = ½ A_ff Ω

    g* is the reward a bar on average.
    """

    family: GarleanuPedersen
    name = "partial adjustment"

    def __init__(self, family: GarleanuPedersen | None = None):
        f = self.family = family or GarleanuPedersen()
        a = 0.5 * (-f.risk_aversion + np.sqrt(f.risk_aversion**2 + 4 * f.risk_aversion * f.impact))
        self.rate = a / f.impact
        self.aim = f.slope / (f.risk_aversion * f.variance * (1 + a * f.reversion / f.risk_aversion))
        curvature = f.variance * (f.impact + f.risk_aversion + a)
        keep = 1 - f.reversion
        factor = (f.slope + a * f.variance * self.aim * keep) ** 2 / (curvature * (1 - keep**2))
        self.value = 0.5 * factor * f.shock

    def weights(self, returns: np.ndarray, signal: np.ndarray) -> np.ndarray:
        held, out = np.zeros(len(signal)), np.empty_like(signal)
        for t in range(signal.shape[1]):
            held = held + self.rate * (self.aim * signal[:, t] - held)
            out[:, t] = held
        return out


# --------------------------------------------------------------------------------------------------- hindsight


@njit(cache=True)
def _hindsight(returns, positions, cost, risk):
    """Backward induction over a grid of positions; weights (n, T) for returns (n, T) that each earns."""
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
                    here = after[i] - cost * abs(positions[i] - positions[j])
                    if here > value[j]:
                        value[j], best[t, j] = here, i
        at = -1
        for t in range(bars):
            if at < 0:  # flat before, which need not be on the grid
                top = -np.inf
                for i in range(count):
                    here = after[i] - cost * abs(positions[i])
                    if here > top:
                        top, first = here, i
                at = first
            else:
                at = best[t, at]
            out[k, t] = positions[at]
    return out


def hindsight(
    returns: np.ndarray, cost: float, positions: Sequence[float] = (-1, 0, 1), risk: float = 0.0
) -> np.ndarray:
    """Weights of one who has seen the future: an upper bound that nobody can reach.

    ``V_t(p) = max_{p'} [p' r_{t+1} − c |p' − p| − ½ risk p'² + V_{t+1}(p')]``, backwards over a grid of positions.

    Parameters
    ----------
    returns : ndarray of shape (n, T)
        Column t is what the weight of column t earns.
    cost : float
        Of a change of weight by 1.
    positions : sequence of float
    risk : float
        γ σ².

    Returns
    -------
    ndarray of shape (n, T)
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    return _hindsight(returns, np.asarray(positions, dtype=np.float64), float(cost), float(risk))


class Hindsight(Strategy):
    """Trades each symbol with its share of the money, knowing all prices to come. It cheats, by design: a ceiling.

    Parameters
    ----------
    costs : Costs or str
        That it plans for; only the shares of value (commission, spread, taxes) count.
    positions : sequence of float
        That a symbol may have, as shares of its part; 0 to 1 by default.
    risk : float
        γ σ² a bar, with γ the risk aversion of each symbol's part.
    execution : Execution, optional
        For its fill time.
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
        weights = hindsight(earned.T, (rules.buy + rules.sell) / 2, self.positions, self.risk).T
        return Plan(weights / bars.shape[1])
