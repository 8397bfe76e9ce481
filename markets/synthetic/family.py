"""What a family of synthetic markets is, and episodes of one.

Each family draws episodes (tasks), one after another in one `Bars`, with the parameters of each drawn anew. A bar opens at
the close before it, so that a decision at a close is filled at that price and earns exactly the next return.

Returns r are in units of a bar's volatility (but for `GarleanuPedersen`); a bar's simple return is ``scale · r``. The scale is
small, so that weights hardly drift between trades and the account's costs are those of the formulas; features divide by
volatility and do not see it. A family's `reward` is what its optimum in `strategies.optimal` maximises.
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

    def with_length(self, length: int) -> Self:
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
        return Features((UnitReturn(self.scale), *(Exogenous(f"signal {k}") for k in range(self.signals))))

    @property
    def env_reward(self) -> str | Reward:
        """The same as `reward`, from equity; `scale` times it, up to what compounds."""
        return "log_return"


def autoregressive(keep: float, std: float, n: int, bars: int, rng: np.random.Generator) -> np.ndarray:
    """``x_{t+1} = keep · x_t + std · ξ`` of shape (n, bars), from its stationary distribution."""
    x = std * rng.standard_normal((bars, n))
    x[0] /= np.sqrt(1 - keep**2)
    for t in range(bars - 1):
        x[t + 1] += keep * x[t]
    return x.T.copy()
