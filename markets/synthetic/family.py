"""`Family`, the base class of synthetic markets with a known optimum, and `Episodes` drawn from one.

A family draws episodes (tasks), each with newly drawn parameters; they are stored one after another in one `Bars`. A bar opens
at the previous close, so that a decision at a close is filled at that price and earns exactly the next return.

Returns r are in units of the volatility per bar (except for `GarleanuPedersen`); the simple return of a bar is ``scale · r``.
The scale is small, so that weights hardly drift between trades and the account's costs match the formulas. Features divide by
volatility and do not depend on it. A family's `reward` is what its optimum in `strategies.optimal` maximises.
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
from markets.envs.rewards import Reward
from markets.envs.task_env import TaskEnv
from markets.features.composition import Features
from markets.features.known_units import Exogenous, UnitReturn
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
        Variables the trader cannot observe: parameters of shape (n,), states of shape (n, T + 1).
    signal : ndarray of shape (n, T + 1, K)
        Signals the trader observes in addition to prices; size 0 for most families.

    Raises
    ------
    InputError
        When there are no episodes.
    """

    family: Family
    returns: np.ndarray
    hidden: dict[str, np.ndarray] = field(default_factory=dict)
    signal: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    def __post_init__(self) -> None:
        if len(self.returns) < 1:
            raise InputError("sample at least 1 episode")

    def bars(self) -> Bars:
        """All episodes, one after another, preceded by one row of initial prices: 1 + n (T + 1) rows.

        Each signal is an additional symbol that is not tradable and has the price ``exp(signal)``.
        """
        n, length, symbols = self.returns.shape
        growth = 1 + self.family.scale * self.returns.reshape(-1, symbols)
        close = 100 * np.cumprod(np.vstack([np.ones(symbols), growth]), axis=0)
        open_ = np.vstack([close[:1], close[:-1]])
        names = [f"S{i}" for i in range(symbols)]
        tradable = np.ones(close.shape, dtype=bool)
        if self.signal.size:
            signals = np.exp(self.signal.reshape(n * length, -1))
            signals = np.vstack([signals[:1], signals])
            close, open_ = np.hstack([close, signals]), np.hstack([open_, signals])
            names += [f"signal {k}" for k in range(signals.shape[1])]
            tradable = np.hstack([tradable, np.zeros(signals.shape, dtype=bool)])
        index = pd.date_range("1900-01-01", periods=len(close), freq="h")
        return Bars.make(
            index, names, close, open=open_, high=np.maximum(open_, close), low=np.minimum(open_, close),
            tradable=tradable, name=self.family.name,
        )  # fmt: skip

    def tasks(self, support: int | None = None) -> TaskSet:
        """One task per episode, with the first `support` bars (default: half) as its support.

        Raises
        ------
        InputError
            When `support` is not between 1 and an episode's number of bars less one.
        """
        n, length, _ = self.returns.shape
        support = length // 2 if support is None else support
        if not 0 < support < length:
            raise InputError(f"support is {support}; it must be between 1 and {length - 1}, an episode's bars less one")
        bars = self.bars()
        starts = (1 + k * length for k in range(n))
        return TaskSet(tuple(Task(bars, s, s + support, s + length, self.family.name) for s in starts))

    def env(self, episodes: int = 1, **options: Any) -> TaskEnv:
        """Gymnasium environment that draws one of these episodes at each reset, with the family's costs and reward.

        Parameters
        ----------
        episodes : int
            Number of runs through the drawn episode per reset; see `TaskEnv`.
        **options
            Fields of `EnvConfig` that override those of the family.
        """
        rules: dict[str, Any] = {
            "costs": self.family.costs,
            "execution": self.family.execution,
            "reward": self.family.env_reward,
        }
        return TaskEnv(self.tasks(), episodes, **(rules | {"episode_bars": self.returns.shape[1] - 1} | options))


class Family(ABC):
    """Base class of distributions over tasks: `sample` draws episodes, `reward` evaluates weights.

    Attributes
    ----------
    name : str
    signals : int
        Number of signals observed in addition to prices.
    length : int
        Number of bars T of an episode.
    scale : float
        Simple return per unit of r.
    cost : float
        Proportional cost in units of r.
    """

    name: ClassVar[str]
    signals: ClassVar[int] = 0
    length: int
    scale: float
    cost: float = 0.0

    def _require(self, *conditions: tuple[bool, str]) -> None:
        """Raise `InputError` for the first false condition, of the given ones and of those common to all families."""
        common = (
            (self.length >= 1, "length must be at least 1"),
            (0 < self.scale < 0.1, "scale must be above 0 and below 0.1"),
            (0 <= self.cost < np.inf, "cost must be at least 0"),
        )
        for holds, what in (*conditions, *common):
            if not holds:
                raise InputError(f"{self}: {what}")

    def with_length(self, length: int) -> Self:
        """The same family with episodes of `length` bars."""
        return replace(self, length=length)  # type: ignore[type-var]  # every family is a dataclass

    @abstractmethod
    def sample(self, episodes: int, seed: Seed) -> Episodes:
        """Draw episodes; the same seed gives bit-identical episodes."""

    def reward(self, weights: np.ndarray, returns: np.ndarray) -> np.ndarray:
        """Reward of each bar in units of r: ``w_t r_{t+1} − cost |w_t − w_{t−1}|``, starting without a position.

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
        """Costs of the account in this family."""
        return Costs(commission=self.cost * self.scale)

    @property
    def execution(self) -> Execution:
        """Limits of the account in this family: weights in [−1, 1]."""
        return Execution(borrowing=True, max_weight=1.0)

    @property
    def features(self) -> Features:
        """Input of a policy: r_t in the units of the formulas, and the signals if there are any."""
        return Features((UnitReturn(self.scale), *(Exogenous(f"signal {k}") for k in range(self.signals))))

    @property
    def env_reward(self) -> str | Reward:
        """Reward of the environments: ``scale`` times `reward`, computed from equity and equal up to compounding."""
        return "log_return"


def autoregressive(keep: float, std: float, n: int, bars: int, rng: np.random.Generator) -> np.ndarray:
    """``x_{t+1} = keep · x_t + std · ξ``, shape (n, bars), started in its stationary distribution."""
    x = std * rng.standard_normal((bars, n))
    x[0] /= np.sqrt(1 - keep**2)
    for t in range(bars - 1):
        x[t + 1] += keep * x[t]
    return x.T.copy()
