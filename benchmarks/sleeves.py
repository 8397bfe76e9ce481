"""A learner of few parameters: a conjugate belief about what each of a handful of sleeves is worth.

A sleeve is a rule that never changes; what differs from regime to regime is its Sharpe ratio a bar, s. With z_t the net return
of the sleeve's own account at bar t, costs and delays included, in units of its volatility, and c a context, how turbulent the
market was when that was decided::

    z_t ~ N(a + b c, 1),   a ~ N(m, 1 / n₀),   n₀ = bars a year / prior_std²

The means m and the slopes b are learnt from the training tasks, by a ridge regression towards what is expected of such sleeves
at all. Adapting is one step in closed form: the posterior of a after the bars seen, those of `halflife` bars ago counting half::

    E[a] = (n₀ m + Σ w_t (z_t − b c_t)) / (n₀ + Σ w_t)

What is held of a sleeve is ``max(E[a] + b c, 0) / σ``, the growth-optimal share of a sleeve independent of the others; all
together is scaled to the equity, and of the way there from the base the part `share` is gone. This is meta-learning a prior
for Bayesian regression (Harrison, Sharma and Pavone, "Meta-learning priors for efficient online Bayesian regression", WAFR
2018); gradient steps from a learnt start come to the same in such a model (Grant et al., "Recasting gradient-based
meta-learning as hierarchical Bayes", ICLR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from markets import Bars, Costs, Execution, TaskSet, simulate
from markets.regimes.base import market_returns
from strategies import InverseVolatility, Plan, Strategy
from strategies.long_short import ResidualMomentum, Reversal
from strategies.strategy import planned

LARGEST = 4.0  # a return of more standard deviations counts as one of so many
LAG = 2  # bars from a decision to the first return it earns: it is filled at the next close
RECENT, PAST = 21, 2520  # bars of the volatility, and of the mean that it is compared with


@dataclass(frozen=True)
class Sleeves:
    """Learns what sleeves are worth on average; adapts to what they have been worth lately.

    Attributes
    ----------
    sleeves : tuple of Strategy
        The first is the base that the others are added to.
    expected : tuple of float
        Sharpe ratio a year that each is expected to have before any data.
    doubt : float
        Standard deviation of that expectation, and of the slopes.
    prior_std : float
        Standard deviation of a sleeve's Sharpe ratio a year from regime to regime.
    halflife : int
        Bars; also of the volatility.
    share : float
        Of the way from the base to what is believed that is gone.
    band : float
        Half-width of the no-trade zone, as a share of the equal weight.
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
        """Learn from the query bars of all tasks; there is nothing to validate, so `validation` is learnt from as well."""
        every = [*tasks, *validation]
        held = tasks.bars.with_past()[: max(task.stop for task in every)]
        seen = Seen.of(self, held)
        counted = np.zeros(len(held), dtype=bool)
        for task in every:
            counted[task.cut : task.stop] = True
        a_year = (len(held) - 1) / held.years
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
    """A learnt prior.

    Attributes
    ----------
    learner : Sleeves
    mean, slope : ndarray of shape (K,)
        Sharpe ratio a bar of each sleeve in a usual market, and what a unit of context adds.
    typical : ndarray of shape (K,)
        Volatility a bar over training.
    seen_until : Timestamp
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
        """What the posterior after `bars` calls for."""
        of, held = self.learner, bars.with_past()
        seen = Seen.of(of, held)
        known = np.isfinite(seen.z)
        weights = 0.5 ** (np.arange(len(held))[::-1, None] / of.halflife) * known
        rest = np.where(known, seen.z - seen.context[:, None] * self.slope, 0.0)
        n = (len(held) - 1) / held.years / of.prior_std**2
        mean = (n * self.mean + (weights * rest).sum(axis=0)) / (n + weights.sum(axis=0))
        volatility = np.where(np.isfinite(seen.volatility), seen.volatility, self.typical)
        return Believed(of, mean, self.slope, volatility, self.name)

    def unadapted(self) -> Strategy:
        """What the prior calls for; it sees the context, and no sleeve's returns."""
        return Believed(self.learner, self.mean, self.slope, self.typical, f"{self.name}, unadapted")


class Believed(Strategy):
    """Sleeves held in proportion to the Sharpe ratio that they are believed to have.

    Parameters
    ----------
    of : Sleeves
    mean, slope, volatility : ndarray of shape (K,)
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
    """What the accounts of K sleeves came to over T bars.

    Attributes
    ----------
    returns, z : ndarray of shape (T, K)
        Net returns, and the same per unit of volatility as known before; NaN until known.
    volatility : ndarray of shape (K,)
        After the last bar.
    context : ndarray of shape (T,)
        When the bar's return was decided.
    """

    returns: np.ndarray
    z: np.ndarray
    volatility: np.ndarray
    context: np.ndarray

    @classmethod
    def of(cls, learner: Sleeves, held: Bars) -> Seen:
        """Run each sleeve in an account of its own."""
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
    """Log volatility of the market against its own mean of up to ten years, in halves, at most 2 either way; shape (T,)."""
    held = bars.with_past()
    squares = pd.Series(market_returns(held) ** 2)
    level = 0.5 * np.log(squares.rolling(RECENT, min_periods=10).mean().clip(lower=1e-12))
    usual = level.rolling(PAST, min_periods=126).mean()
    return np.nan_to_num(np.clip((level - usual).to_numpy() / 0.5, -2, 2))[bars.past :]
