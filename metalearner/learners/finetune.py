"""Multi-task pre-training, then a few gradient steps on the support: the baseline that so often wins.

One policy without memory is trained on all tasks at once; to adapt, it takes the steps of
`metalearner.learners.inner_loop`, of the size that scored best on validation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import nn

from metalearner.learners.base import MetaLearner
from metalearner.learners.inner_loop import ByGradient, Inner, Stepping, best_step_size, by_gradient
from metalearner.learners.rl2 import Plain
from metalearner.training.loop import Lessons
from strategies import PolicySettings


@dataclass(frozen=True)
class FineTune(MetaLearner):
    """Pre-train on all tasks, fine-tune on the support; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    inner : Inner
    step_sizes : tuple of float
        Tried on validation; the best is kept. Empty: ``inner.step_size``.
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="none"))
    inner: Inner = field(default_factory=Inner)
    step_sizes: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    name: str = "pre-train + fine-tune"

    def lessons(self, policy: nn.Module, tasks: Any) -> Plain:
        self.inner.names(policy)
        return Plain(policy, self.objective.on(tasks, policy, 1, self.inner.support))

    def used(self, judged: Lessons) -> Stepping:
        steps = Stepping(judged.module, judged.worlds, self.inner)
        steps.inner = best_step_size(steps, self.step_sizes, self.training.seed)
        return steps

    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        assert isinstance(used, Stepping)
        return by_gradient(self, used, seen_until, history)
