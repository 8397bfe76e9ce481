"""`Frozen`: a rule whose estimates are those of a fold's start, the control of a rule that goes on estimating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from markets import Bars, Plan, TaskSet
from strategies import Strategy
from strategies.strategy import planned


class Constant(Strategy):
    """The same weights at every bar.

    Parameters
    ----------
    weights : ndarray of shape (A,)
    name : str
    """

    def __init__(self, weights: np.ndarray, name: str):
        self.weights, self.name = weights, name

    def plan(self, bars: Bars) -> Plan:
        return Plan(np.where(bars.listed, self.weights, 0.0))


@dataclass(frozen=True)
class Frozen:
    """Holds, through each fold, the weights that a rule wanted at the last bar before it.

    It is a learner, so that `backtests.walk_forward` "trains" it anew at each fold, on the bars known then.

    Attributes
    ----------
    rule : Strategy
    """

    rule: Strategy

    @property
    def name(self) -> str:
        return f"{self.rule.name}, frozen at the fold's start"

    def fit(self, tasks: TaskSet, validation: TaskSet, **options: Any) -> Constant:
        """The weights at the last known bar."""
        known = validation.bars.with_past()
        return Constant(planned(self.rule, known.rows(len(known) - 1, len(known))).aim[-1], self.name)
