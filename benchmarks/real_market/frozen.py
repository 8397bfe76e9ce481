"""`FrozenAtFolds`: a rule whose estimates are those of a fold's start, the control of a rule that goes on estimating."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.real_market.variants import Deployed
from markets import TaskSet
from strategies import Frozen, Strategy


@dataclass(frozen=True)
class FrozenAtFolds:
    """Holds, through each fold, what a rule wanted at the last bar before it.

    It is a learner, so that `backtests.walk_forward` "trains" it anew at each fold, on the bars known then.

    Attributes
    ----------
    rule : Strategy
    """

    rule: Strategy

    @property
    def name(self) -> str:
        return f"{self.rule.name}, frozen at folds"

    def fit(self, tasks: TaskSet, validation: TaskSet, **options: Any) -> Deployed:
        """The rule, frozen after the last known bar."""
        since = validation.bars.index[-1] + pd.Timedelta("1us")
        return Deployed(Frozen(self.rule, since=str(since)), self.name)
