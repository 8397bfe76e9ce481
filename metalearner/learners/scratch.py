"""No meta-training: learn from what was seen last, from nothing.

Two baselines. `Scratch` trains a fresh policy on the support alone; `RollingRetrain` is the industry's habit of training anew on
a long rolling window. Tasks of training are left unused; validation chooses the step size of the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from markets import TaskSet
from metalearner.learners.base import MetaLearner, seen_until
from metalearner.learners.inner_loop import ByGradient, Inner, Stepping, best_step_size, by_gradient
from metalearner.objective import Log
from metalearner.training.loop import Lessons
from strategies import PolicySettings


@dataclass(frozen=True)
class Scratch(MetaLearner):
    """Train on the support only; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    inner : Inner
    step_sizes : tuple of float
        Tried on validation; the best is kept. Empty: ``inner.step_size``.
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="none"))
    inner: Inner = field(default_factory=lambda: Inner(steps=50, step_size=0.01, optimizer="adam"))
    step_sizes: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    name: str = "scratch"

    def lessons(self, policy: nn.Module, tasks: Any) -> Stepping:
        return Stepping(policy, self.objective.on(tasks, policy, 1, self.inner.support), self.inner)

    def fit(
        self,
        tasks: Any,
        validation: Any,
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        log: Log | None = None,
        ceiling: float | None = None,
    ) -> ByGradient:
        """Choose the step size and weigh the tilt on `validation`; `tasks` are not looked at, and nothing is to be resumed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            policy = self.objective.policy(self.policy, tasks)
        choosing, judging = self._split(validation)
        used = self.used(self.lessons(policy.eval(), choosing))
        self._weigh(policy, used, judging, progress)
        return self.made(used, used, seen_until(validation), pd.DataFrame())

    def used(self, judged: Lessons) -> Stepping:
        assert isinstance(judged, Stepping)
        judged.inner = best_step_size(judged, self.step_sizes, self.training.seed)
        return judged

    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        assert isinstance(used, Stepping)
        return by_gradient(self, used, seen_until, history)


@dataclass(frozen=True)
class RollingRetrain(Scratch):
    """Train anew on a rolling window of 1,008 bars, four years of days; the attributes not named here are those of `Scratch`.

    Attributes
    ----------
    step_sizes : tuple of float
        Not used: each would mean retraining for every validation task. The step size is that of `inner`.
    """

    inner: Inner = field(default_factory=lambda: Inner(steps=200, step_size=0.01, support=1008, optimizer="adam"))
    name: str = "rolling retrain"

    def lessons(self, policy: Any, tasks: Any) -> Stepping:
        if isinstance(tasks, TaskSet):  # its window begins long before the regime does
            features = policy.settings.features
            features.require(tasks.bars.with_past(), more=self.inner.support)
            first = (max(task.cut - self.inner.support, features.lookback) for task in tasks)
            tasks = TaskSet(
                tuple(replace(task, start=min(at, task.start)) for at, task in zip(first, tasks, strict=True))
            )
        return super().lessons(policy, tasks)

    def used(self, judged: Lessons) -> Stepping:
        assert isinstance(judged, Stepping)
        return judged
