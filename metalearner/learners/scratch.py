"""Baselines without meta-training.

`Scratch` trains a newly initialised policy on the support only. `RollingRetrain` does so on a long rolling window, as is usual in
practice. Training tasks are not used; validation tasks select the step size of `Scratch`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import nn

from markets import TaskSet
from metalearner.learners.inner_loop import GradientLearner, Inner, Stepping, best_step_size
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm


@dataclass(frozen=True)
class Scratch(GradientLearner):
    """Training from scratch on the support. Further attributes are those of `GradientLearner`.

    Attributes
    ----------
    step_sizes : tuple of float
        Candidates, of which validation selects the best. If empty, ``inner.step_size`` is used.
    """

    trains: ClassVar[bool] = False

    inner: Inner = field(default_factory=lambda: Inner(steps=50, step_size=0.01, optimizer="adam"))
    step_sizes: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    name: str = "scratch"

    @property
    def idle(self) -> tuple[str, ...]:
        return (*super().idle, *(("inner.step_size",) if self.step_sizes else ()))

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Stepping:
        return Stepping(policy, sampler, self.inner)

    def select(self, judged: Algorithm) -> Stepping:
        """The same algorithm, with the step size that scores best."""
        assert isinstance(judged, Stepping)
        judged.inner = best_step_size(judged, self.step_sizes, self.training.seed)
        return judged


@dataclass(frozen=True)
class RollingRetrain(Scratch):
    """Training from scratch on a rolling window of 1,008 bars, four years of daily data; attributes as for `Scratch`.

    `step_sizes` is empty by default, because each candidate costs a full retraining per validation task; ``inner.step_size`` is
    used instead.
    """

    inner: Inner = field(default_factory=lambda: Inner(steps=200, step_size=0.01, support=1008, optimizer="adam"))
    step_sizes: tuple[float, ...] = ()
    name: str = "rolling retrain"

    def sampler(self, policy: Any, tasks: Any) -> TaskSampler:
        if isinstance(tasks, TaskSet):  # the window starts long before the regime
            features = policy.settings.features
            features.require(tasks.bars.with_past(), more=self.inner.support)
            known = tasks.bars.warm_from(features.lookback + 1) - 1  # first row with features
            first = (max(task.cut - self.inner.support, known) for task in tasks)
            tasks = TaskSet(
                tuple(replace(task, start=min(at, task.start)) for at, task in zip(first, tasks, strict=True))
            )
        return super().sampler(policy, tasks)
