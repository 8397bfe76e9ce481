"""A learner with few parameters: Bayesian estimates of the Sharpe ratios of a few sleeves, with a meta-learnt prior.

A sleeve is a fixed rule; what changes between regimes is its Sharpe ratio per bar. Let z_t be the net return at bar t of the
sleeve's own account (costs and execution delay included), divided by its volatility, and c_t a context, the turbulence of the
market when that bar's position was decided::

    z_t ~ N(a + b c_t, 1),   a ~ N(m, 1 / n₀),   n₀ = bars per year / prior_std²

The means m and slopes b are learnt from the training tasks, by ridge regression towards prior expectations. Adaptation is in
closed form: the posterior mean of a after the bars seen, with weights w_t that halve every `halflife` bars::

    E[a] = (n₀ m + Σ w_t (z_t − b c_t)) / (n₀ + Σ w_t)

The position in a sleeve is ``max(E[a] + b c, 0) / σ``, its growth-optimal fraction if sleeves are independent. The sum is scaled
down to the equity where it exceeds it, and the aim is the base plus a fraction `share` of the difference to it. This is
meta-learning of a prior for Bayesian regression (Harrison, Sharma and Pavone, "Meta-learning priors for efficient online
Bayesian regression", WAFR 2018); in such a model it is equivalent to gradient steps from a learnt initialisation (Grant et al.,
"Recasting gradient-based meta-learning as hierarchical Bayes", ICLR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from markets import Bars, Costs, Execution, TaskSet, simulate
from markets.regimes.base import market_returns
from strategies import InverseVolatility, Plan, Strategy
from strategies.rules.long_short import ResidualMomentum, Reversal
from strategies.strategy import planned

LARGEST = 4.0  # standardised returns are clipped to ± this many standard deviations
LAG = 2  # bars from a decision to its first return, since orders are filled at the next close
RECENT, PAST = 21, 2520  # bars for the market's volatility, and for the mean it is compared with


@dataclass(frozen=True)
class Sleeves:
    """Learns the sleeves' average Sharpe ratios in training; adapts to their recent ones.

    Attributes
    ----------
    sleeves : tuple of Strategy
        The first is the base, to which the others are added.
    expected : tuple of float
        Prior expectation of each sleeve's annualised Sharpe ratio.
    doubt : float
        Standard deviation of this expectation, and of the slopes (annualised).
    prior_std : float
        Standard deviation of a sleeve's annualised Sharpe ratio between regimes.
    halflife : int
        Halflife, in bars, of the weights of past bars, and of the volatility estimate.
    share : float
        Fraction of the distance from the base to the estimated optimum.
    band : float
        Half-width of the no-trade zone, as a fraction of the equal weight 1 / A.
    costs, execution : Costs, Execution
    name : str
    """

    sleeves: tuple[Strategy, ...] = field(default_factory=lambda: (InverseVolatility(), Reversal(), ResidualMomentum()))
    expected: tuple[float, ...] = (0.5, 0.0, 0.0)
    doubt: float = 0.25
    prior_std: float = 1.0
    halflife: int = 126
    share: float = 0.75
    band: float = 0.3
    costs: Costs = field(default_factory=lambda: Costs.parse("10bp"))
    execution: Execution = field(default_factory=Execution)
    name: str = "sleeves"

    def fit(self, tasks: TaskSet, validation: TaskSet, **_) -> SleevesPolicy:
        """Learn the prior from the query bars of all tasks, including `validation`, since nothing is selected on these."""
        every = [*tasks, *validation]
        held = tasks.bars.with_past()[: max(task.stop for task in every)]
        seen = Seen.of(self, held)
        counted = np.zeros(len(held), dtype=bool)
        for task in every:
            counted[task.cut : task.stop] = True
        a_year = held.bars_per_year
        mean, slope, typical = np.zeros((3, len(self.sleeves)))
        for k, expected in enumerate(self.expected):
            rows = counted & np.isfinite(seen.z[:, k])
            known = np.column_stack([np.ones(rows.sum()), seen.context[rows]])
            trust = a_year / self.doubt**2 * np.eye(2)
            start = np.array([expected / a_year**0.5, 0.0])
            mean[k], slope[k] = np.linalg.solve(known.T @ known + trust, known.T @ seen.z[rows, k] + trust @ start)
            typical[k] = np.sqrt(np.mean(seen.returns[rows, k] ** 2)) if rows.any() else np.nan
        return SleevesPolicy(self, mean, slope, typical, held.index[-1])


@dataclass(frozen=True, eq=False)
class SleevesPolicy:
    """The learnt prior.

    Attributes
    ----------
    learner : Sleeves
    mean, slope : ndarray of shape (K,)
        Sharpe ratio per bar of each sleeve at context 0, and its change per unit of context.
    typical : ndarray of shape (K,)
        Volatility per bar over training.
    seen_until : Timestamp
        Last bar used in training.
    """

    learner: Sleeves
    mean: np.ndarray
    slope: np.ndarray
    typical: np.ndarray
    seen_until: pd.Timestamp

    @property
    def name(self) -> str:
        return self.learner.name

    def adapt(self, bars: Bars) -> Strategy:
        """The strategy given the posterior after `bars`."""
        of, held = self.learner, bars.with_past()
        seen = Seen.of(of, held)
        known = np.isfinite(seen.z)
        weights = 0.5 ** (np.arange(len(held))[::-1, None] / of.halflife) * known
        rest = np.where(known, seen.z - seen.context[:, None] * self.slope, 0.0)
        n = held.bars_per_year / of.prior_std**2
        mean = (n * self.mean + (weights * rest).sum(axis=0)) / (n + weights.sum(axis=0))
        volatility = np.where(np.isfinite(seen.volatility), seen.volatility, self.typical)
        return Believed(of, mean, self.slope, volatility, self.name)

    def unadapted(self) -> Strategy:
        """The strategy given the prior; it uses the context, but not the sleeves' returns."""
        return Believed(self.learner, self.mean, self.slope, self.typical, f"{self.name}, unadapted")


class Believed(Strategy):
    """Holds sleeves in proportion to their estimated Sharpe ratio over volatility.

    Parameters
    ----------
    of : Sleeves
    mean, slope, volatility : ndarray of shape (K,)
        Sharpe ratio per bar at context 0, its change per unit of context, and volatility per bar.
    name : str
    """

    def __init__(self, of: Sleeves, mean: np.ndarray, slope: np.ndarray, volatility: np.ndarray, name: str):
        self.of, self.mean, self.slope, self.volatility, self.name = of, mean, slope, volatility, name
        self.warmup = max(sleeve.warmup for sleeve in of.sleeves)

    def plan(self, bars: Bars) -> Plan:
        sharpe = self.mean + self.slope * turbulence(bars)[:, None]
        shares = np.maximum(sharpe, 0) / self.volatility
        aims = [planned(sleeve, bars).aim for sleeve in self.of.sleeves]
        aim = np.sum([shares[:, k, None] * aim for k, aim in enumerate(aims)], axis=0)
        aim /= np.maximum(np.abs(aim).sum(axis=1, keepdims=True), 1)
        aim = aims[0] + self.of.share * (aim - aims[0])
        return Plan(aim, np.full(bars.shape, self.of.band / bars.shape[1]))


@dataclass(frozen=True, eq=False)
class Seen:
    """Results of the accounts of K sleeves over T bars.

    Attributes
    ----------
    returns, z : ndarray of shape (T, K)
        Net returns, and net returns divided by the volatility known before the bar; NaN during the warm-up.
    volatility : ndarray of shape (K,)
        Volatility per bar after the last bar.
    context : ndarray of shape (T,)
        Context at the time when the bar's position was decided.
    """

    returns: np.ndarray
    z: np.ndarray
    volatility: np.ndarray
    context: np.ndarray

    @classmethod
    def of(cls, learner: Sleeves, held: Bars) -> Seen:
        """Run each sleeve in its own account."""
        returns = np.full((len(held), len(learner.sleeves)), np.nan)
        for k, sleeve in enumerate(learner.sleeves):
            plan = planned(sleeve, held)
            paths = simulate(held, plan, costs=learner.costs, execution=learner.execution, holdings=False)
            begun, equity = sleeve.warmup + LAG, paths.equity[0]
            returns[begun:, k] = equity[begun:] / equity[begun - 1 : -1] - 1
        squares = pd.DataFrame(returns**2).ewm(halflife=learner.halflife, min_periods=20).mean().to_numpy()
        volatility = np.sqrt(np.maximum(squares, 1e-12))
        z = np.full(returns.shape, np.nan)
        z[1:] = np.clip(returns[1:] / volatility[:-1], -LARGEST, LARGEST)
        context = np.zeros(len(held))
        context[LAG:] = turbulence(held)[:-LAG]
        return cls(returns, z, volatility[-1], context)


def turbulence(bars: Bars) -> np.ndarray:
    """Log volatility of the market minus its mean over up to ten years, divided by ½ and clipped to ± 2, shape (T,)."""
    held = bars.with_past()
    squares = pd.Series(market_returns(held) ** 2)
    level = 0.5 * np.log(squares.rolling(RECENT, min_periods=10).mean().clip(lower=1e-12))
    usual = level.rolling(PAST, min_periods=126).mean()
    return np.nan_to_num(np.clip((level - usual).to_numpy() / 0.5, -2, 2))[bars.past :]
