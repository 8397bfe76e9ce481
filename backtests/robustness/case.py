"""`Case`: one strategy on given bars, at given costs. The sections of this folder change one part of it at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from backtests.engine.accounts import accounts
from backtests.engine.protocols import Adaptive
from backtests.engine.walk_forward import walk_forward
from backtests.metrics import LESS_IS_BETTER, METRICS, formatted
from backtests.results import Backtest
from markets import Bars, Costs, Execution, InputError
from markets.common.words import count
from strategies import Plan, Strategy
from strategies.strategy import planned


@dataclass(frozen=True, eq=False)
class Case:
    """A strategy, and how it is backtested.

    Attributes
    ----------
    strategy : Strategy or MetaPolicy
        A rule plans once for all bars; what adapts goes through `walk_forward`.
    bars : Bars of shape (T, A)
    costs : Costs or str
        Costs per side.
    execution : Execution, optional
    every : int
        Bars between adaptations.
    metric : str
        The metric of `backtests.metrics.METRICS` that is compared.

    Raises
    ------
    InputError
        When there are fewer than 3 bars, the strategy is a learner that was not trained, the metric is unknown, or `every` is
        below 1.
    """

    strategy: Adaptive
    bars: Bars
    costs: Costs | str = "10bp"
    execution: Execution | None = None
    every: int = 63
    metric: str = "Sharpe"

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", Costs.parse(self.costs))
        object.__setattr__(self, "execution", self.execution or Execution())
        if len(self.bars) < 3:
            raise InputError(f"{self.bars.name}: {count(len(self.bars), 'bar')}; a backtest needs at least 3")
        if not hasattr(self.strategy, "adapt"):
            name = getattr(self.strategy, "name", type(self.strategy).__name__)
            raise InputError(f"{name} is a learner; train it first, and give what its fit(...) returns")
        if self.metric not in METRICS:
            raise InputError(f"metric {self.metric!r} is unknown; use one of {', '.join(METRICS)}")
        if self.every < 1:
            raise InputError(f"every is {self.every}; it must be at least 1 bar")

    def __getstate__(self) -> dict[str, Any]:
        """What a job is sent: the case alone, not what was computed of it."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def adapts(self) -> bool:
        """Whether the strategy changes with the bars, so that it must be walked forward."""
        return not (isinstance(self.strategy, Strategy) and not self.strategy.adapts)

    @cached_property
    def warmup(self) -> int:
        """Bars of history that the strategy declares to need."""
        declared = getattr(self.strategy, "warmup", None)
        return int(self.strategy.adapt(self.bars).warmup if declared is None else declared)

    @cached_property
    def plan(self) -> Plan:
        """What the strategy wants on these bars.

        Raises
        ------
        InputError
            When there are too few bars to warm up, or the strategy's plan is not one.
        """
        if self.adapts:
            # the look-ahead check belongs to the backtest; here the strategy is run many times over
            found = walk_forward([self.strategy], self.bars, costs="0", every=self.every, check=False, progress=False)
            return found[0].plan
        have = len(self.bars) + self.bars.past
        if have <= self.warmup:
            raise InputError(
                f"{self.strategy.name} needs {self.warmup} bars to warm up, but {self.bars.name} has {have}; "
                "use more bars or a shorter window"
            )
        return planned(self.strategy.adapt(self.bars), self.bars)  # a rule returns itself

    @cached_property
    def account(self) -> Backtest:
        """The backtest itself, that others are compared with."""
        return next(self.accounts([self.plan]))

    @property
    def value(self) -> float:
        """The metric of the backtest itself.

        Raises
        ------
        InputError
            When it is not defined, so that nothing can be compared with it.
        """
        value = self.of(self.account)
        if not np.isfinite(value):
            raise InputError(f"{self.strategy.name} has no {self.metric} on these bars; compare another metric")
        return value

    def of(self, backtest: Backtest) -> float:
        """The metric of some backtest."""
        return float(backtest.metrics[self.metric])

    def text(self, value: float) -> str:
        """A value of the metric, as tables write it."""
        return str(formatted(pd.DataFrame({self.metric: [value]})).iloc[0, 0])

    def better(self, values: np.ndarray | float, than: np.ndarray | float) -> np.ndarray:
        """Whether values of the metric are better than others."""
        values, than = np.asarray(values), np.asarray(than)
        return values < than if self.metric in LESS_IS_BETTER else values > than

    def worst(self, values: np.ndarray) -> int:
        """Position of the worst value of the metric; one that is not defined is not compared."""
        signed = np.asarray(values) * (1 if self.metric in LESS_IS_BETTER else -1)
        return int(np.argmax(np.where(np.isfinite(signed), signed, -np.inf)))

    def with_strategy(self, strategy: Adaptive) -> Case:
        """The same case with another strategy."""
        return replace(self, strategy=strategy)

    def with_bars(self, bars: Bars) -> Case:
        """The same case on other bars."""
        return replace(self, bars=bars)

    def accounts(self, plans: Sequence[Plan], costs: Costs | None = None) -> Iterator[Backtest]:
        """The accounts of plans for these bars; `costs` in place of those of the case."""
        return accounts(self.bars, plans, costs=costs or self.costs, execution=self.execution, name=self.strategy.name)
