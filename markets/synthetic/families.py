"""Synthetic markets whose best possible trader is known.

Each family draws episodes (tasks), one after another in one `Bars`, with the parameters of each drawn anew. A bar opens at
the close before it, so that a decision at a close is filled at that price and earns exactly the next return.

Returns r are in units of a bar's volatility (but for `GarleanuPedersen`); a bar's simple return is ``scale · r``. The scale is
small, so that weights hardly drift between trades and the account's costs are those of the formulas; features divide by
volatility and do not see it. A family's `reward` is what its optimum in `strategies.optimal.optima` maximises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from markets.accounting.costs import Costs, Execution
from markets.bars.bars import Bars
from markets.common.errors import InputError
from markets.envs.rewards import Reward, State
from markets.envs.task_env import TaskEnv
from markets.features.composition import Features
from markets.features.known_units import Told, UnitReturn
from markets.tasks import Task, TaskSet

SCALE = 1e-4
Seed = int | Sequence[int] | np.random.Generator


@dataclass(frozen=True, eq=False)
class Episodes:
    """n episodes of one family.

    Attributes
    ----------
    family : Family
    returns : ndarray of shape (n, T + 1, A)
        r_0 to r_T, in the family's units. The weight chosen after r_t earns r_{t+1}.
    hidden : dict of ndarray
        What the trader is not told: parameters of shape (n,), states of shape (n, T + 1).
    signal : ndarray of shape (n, T + 1, K)
        What the trader is told besides prices; K is 0 for most families.
    """

    family: Family
    returns: np.ndarray
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    signal: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    def __post_init__(self) -> None:
        if len(self.returns) < 1:
            raise InputError("sample at least 1 episode")

    def bars(self) -> Bars:
        """All episodes, one after another, after one row that only has a price: 1 + n (T + 1) rows.

        Signals are symbols of their own that do not trade, ``exp(signal)`` their price.
        """
        n, length, symbols = self.returns.shape
        growth = 1 + self.family.scale * self.returns.reshape(-1, symbols)
        close = 100 * np.cumprod(np.vstack([np.ones(symbols), growth]), axis=0)
        open_ = np.vstack([close[:1], close[:-1]])
        names = [f"S{i}" for i in range(symbols)]
        tradable = np.ones(close.shape, dtype=bool)
        if self.signal.size:
            told = np.exp(self.signal.reshape(n * length, -1))
            told = np.vstack([told[:1], told])
            close, open_ = np.hstack([close, told]), np.hstack([open_, told])
            names += [f"signal {k}" for k in range(told.shape[1])]
            tradable = np.hstack([tradable, np.zeros(told.shape, dtype=bool)])
        index = pd.date_range("1900-01-01", periods=len(close), freq="h")
        return Bars.make(
            index, names, close, open=open_, high=np.maximum(open_, close), low=np.minimum(open_, close),
            tradable=tradable, name=self.family.name,
        )  # fmt: skip

    def tasks(self, support: int | None = None) -> TaskSet:
        """One task an episode, its first `support` bars (default: half) to adapt on."""
        n, length, _ = self.returns.shape
        support = length // 2 if support is None else support
        if not 0 < support < length:
            raise InputError(f"support is {support}; it must be between 1 and {length - 1}, an episode's bars less one")
        bars = self.bars()
        starts = (1 + k * length for k in range(n))
        return TaskSet(tuple(Task(bars, s, s + support, s + length, self.family.name) for s in starts))

    def env(self, episodes: int = 1, **options: Any) -> TaskEnv:
        """A gymnasium environment that draws one of these episodes at each reset, under the family's costs and reward."""
        rules: dict[str, Any] = {
            "costs": self.family.costs,
            "execution": self.family.execution,
            "reward": self.family.env_reward,
        }
        return TaskEnv(self.tasks(), episodes, **(rules | {"episode_bars": self.returns.shape[1] - 1} | options))


class Family(ABC):
    """A distribution of tasks: `sample` draws them, `reward` judges weights."""

    name: ClassVar[str]
    signals: ClassVar[int] = 0  # told besides prices
    length: int
    scale: float
    cost: float = 0.0

    def _require(self, *conditions: tuple[bool, str]) -> None:
        """Raise `InputError` for the first condition that is false, and for what no family can have."""
        common = (
            (self.length >= 1, "length must be at least 1"),
            (0 < self.scale < 0.1, "scale must be above 0 and small"),
            (0 <= self.cost < np.inf, "cost must be at least 0"),
        )
        for holds, what in (*conditions, *common):
            if not holds:
                raise InputError(f"{self}: {what}")

    def lasting(self, length: int) -> Self:
        """The same family with episodes of so many bars."""
        return replace(self, length=length)  # type: ignore[type-var]  # every family is a dataclass

    @abstractmethod
    def sample(self, episodes: int, seed: Seed) -> Episodes:
        """Draw episodes, to the bit the same for the same seed."""

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        """Reward of each bar, in the units of the returns: ``w_t r_{t+1} − cost |w_t − w_{t−1}|``, with no position before.

        Parameters
        ----------
        weights : ndarray of shape (n, T)
        returns : ndarray of shape (n, T + 1)

        Returns
        -------
        ndarray of shape (n, T)
        """
        return weights * returns[:, 1:] - self.cost * np.abs(np.diff(weights, axis=1, prepend=0.0))

    @property
    def costs(self) -> Costs:
        """What the account charges in this family."""
        return Costs(commission=self.cost * self.scale)

    @property
    def execution(self) -> Execution:
        """What a book may hold in this family: a weight of 1 either way."""
        return Execution(borrowing=True, max_weight=1.0)

    @property
    def features(self) -> Features:
        """What a policy sees: r_t in the formulas' units, and the signal where there is one."""
        return Features((UnitReturn(self.scale), *(Told(f"signal {k}") for k in range(self.signals))))

    @property
    def env_reward(self) -> str | Reward:
        """The same as `reward`, from equity; `scale` times it, up to what compounds."""
        return "log_return"


@dataclass(frozen=True)
class DriftMomentum(Family):
    """Drift μ and momentum φ unknown: ``r_{t+1} = μ + φ (r_t − μ) + ε``, ε ~ N(0, 1), ``r_0 = μ + ε``.

    Each task draws μ ~ N(0, drift²) and φ ~ U(−momentum, momentum). The reward is ``w r − ½ w² r²``, without limits or costs.
    """

    drift: float = 0.1
    momentum: float = 0.4
    length: int = 200
    scale: float = SCALE
    name: ClassVar[str] = "drift-momentum"

    def __post_init__(self) -> None:
        self._require((self.drift > 0, "drift must be above 0"), (0 < self.momentum < 1, "momentum must be in (0, 1)"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        mu = self.drift * rng.standard_normal(episodes)
        phi = rng.uniform(-self.momentum, self.momentum, episodes)
        returns = rng.standard_normal((self.length + 1, episodes))
        returns[0] += mu
        for t in range(self.length):
            returns[t + 1] += mu + phi * (returns[t] - mu)
        return Episodes(self, returns.T[..., None].copy(), {"mu": mu, "phi": phi})

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        profit = weights * returns[:, 1:]
        return profit - 0.5 * profit**2

    @property
    def execution(self) -> Execution:
        return Execution(borrowing=True, gross=np.inf)

    @property
    def env_reward(self) -> Reward:
        # scale·(w r − ½ w² r²) is a portfolio return less half of 1/scale times its square
        return Reward("mean_variance", risk_aversion=1 / self.scale)


@dataclass(frozen=True)
class HiddenMarkov(Family):
    """Two hidden states with means ±m: ``r_t ~ N(m s_t, 1)``, s stays with probability `stay`; weights within [−1, 1].

    The reward is ``w_t r_{t+1} − cost |w_t − w_{t−1}|``.
    """

    mean: float = 0.1
    stay: float = 0.99
    cost: float = 0.1
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "hidden Markov"

    def __post_init__(self) -> None:
        self._require((self.mean > 0, "mean must be above 0"), (0.5 <= self.stay < 1, "stay must be in [0.5, 1)"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        return _hidden_markov(self, np.full(episodes, self.mean), np.full(episodes, self.stay), rng)


@dataclass(frozen=True)
class HiddenMarkovFamily(Family):
    """`HiddenMarkov` with m ~ U(`means`) and the stay-probability ~ U(`stays`) drawn for each task, and not told."""

    means: tuple[float, float] = (0.05, 0.25)
    stays: tuple[float, float] = (0.97, 0.998)
    cost: float = 0.1
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "hidden Markov family"

    def __post_init__(self) -> None:
        low, high = self.means
        least, most = self.stays
        self._require(
            (0 < low < high, "means must ascend from above 0"),
            (0.5 <= least < most < 1, "stays must ascend in [0.5, 1)"),
        )

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        return _hidden_markov(self, rng.uniform(*self.means, episodes), rng.uniform(*self.stays, episodes), rng)


def _hidden_markov(family: Family, mean: np.ndarray, stay: np.ndarray, rng: np.random.Generator) -> Episodes:
    n, bars = len(mean), family.length + 1
    first = rng.random(n) < 0.5
    moved = rng.random((n, bars)) >= stay[:, None]
    moved[:, 0] = first
    state = 1.0 - 2.0 * (np.cumsum(moved, axis=1) % 2)
    returns = mean[:, None] * state + rng.standard_normal((n, bars))
    return Episodes(family, returns[..., None], {"state": state, "mean": mean, "stay": stay})


@dataclass(frozen=True)
class LinearCost(Family):
    """A told predictor p, linear costs and a cap: ``r_{t+1} = p_t + ε``, ``p_{t+1} = (1 − speed) p_t + spread ξ``.

    Weights within [−1, 1], reward ``w_t r_{t+1} − cost |w_t − w_{t−1}|`` (de Lataillade, Deremble, Potters and Bouchaud, "Optimal
    trading with linear costs", arXiv 1203.5957).
    """

    speed: float = 0.01
    spread: float = 0.01
    cost: float = 0.05
    length: int = 1000
    scale: float = SCALE
    name: ClassVar[str] = "linear cost"
    signals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._require((0 < self.speed <= 1, "speed must be in (0, 1]"), (self.spread > 0, "spread must be above 0"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        p = _autoregressive(1 - self.speed, self.spread, episodes, self.length + 1, rng)
        returns = rng.standard_normal((episodes, self.length + 1))
        returns[:, 1:] += p[:, :-1]
        return Episodes(self, returns[..., None], signal=p[..., None])


@dataclass(frozen=True)
class GarleanuPedersen(Family):
    """A told mean-reverting predictor with quadratic costs: ``r_{t+1} = B f_t + u``, ``f_{t+1} = (1 − φ) f_t + ε``.

    Var u = `variance`, Var ε = `shock`. The reward is ``x r − ½ γ σ² x² − ½ λ σ² (Δx)²`` (Gârleanu and Pedersen, "Dynamic
    Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013). Returns are plain here.

    The account charges the costs, and knows no aversion to risk: an environment takes risk off the reward, a learner off its
    utility by what is held, and a backtest of this family is judged by `reward`.
    """

    slope: float = 0.01  # B
    reversion: float = 0.05  # φ
    variance: float = 0.001  # σ²
    shock: float = 0.0975  # Ω
    risk_aversion: float = 5.0  # γ
    impact: float = 50.0  # λ
    length: int = 1000
    scale: float = 1e-2
    name: ClassVar[str] = "Gârleanu–Pedersen"
    signals: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for what in ("slope", "variance", "shock", "risk_aversion", "impact"):
            self._require((getattr(self, what) > 0, f"{what} must be above 0"))
        self._require((0 < self.reversion <= 1, "reversion must be in (0, 1]"))

    def sample(self, episodes: int, seed: Seed) -> Episodes:
        rng = np.random.default_rng(seed)
        f = _autoregressive(1 - self.reversion, np.sqrt(self.shock), episodes, self.length + 1, rng)
        returns = np.sqrt(self.variance) * rng.standard_normal((episodes, self.length + 1))
        returns[:, 1:] += self.slope * f[:, :-1]
        return Episodes(self, returns[..., None], signal=f[..., None])

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        moved = np.diff(weights, axis=1, prepend=0.0)
        risk = self.risk_aversion * weights**2 + self.impact * moved**2
        return weights * returns[:, 1:] - 0.5 * self.variance * risk

    @property
    def execution(self) -> Execution:
        return Execution(borrowing=True, gross=np.inf)

    @property
    def costs(self) -> Costs:
        return Costs(quadratic=0.5 * self.impact * self.variance * self.scale)

    @property
    def env_reward(self) -> Reward:
        return _RiskCharged(self)


class _RiskCharged(Reward):
    """``scale`` times the reward of `GarleanuPedersen`: what the account earned, less the risk of what it held."""

    def __init__(self, family: GarleanuPedersen):
        super().__init__("log_return")
        self.family = family

    def __call__(self, before: np.ndarray, after: np.ndarray, state: State) -> np.ndarray:
        f = self.family
        with np.errstate(divide="ignore", invalid="ignore"):
            # bars open at the close before them, so that the fill is at the mark of the decision
            held = state.shares[:, 0] * state.market.mark[state.row - 1, 0] / before
            return after / before - 1 - 0.5 * f.scale * f.risk_aversion * f.variance * held**2


def _autoregressive(keep: float, spread: float, n: int, bars: int, rng: np.random.Generator) -> np.ndarray:
    """``x_{t+1} = keep · x_t + spread · ξ`` of shape (n, bars), from its stationary distribution."""
    x = spread * rng.standard_normal((bars, n))
    x[0] /= np.sqrt(1 - keep**2)
    for t in range(bars - 1):
        x[t + 1] += keep * x[t]
    return x.T.copy()


FAMILIES: tuple[Family, ...] = (
    DriftMomentum(),
    HiddenMarkov(),
    HiddenMarkov(mean=0.2),
    HiddenMarkov(stay=0.995, cost=0.5),
    HiddenMarkovFamily(),
    LinearCost(),
    GarleanuPedersen(),
)
