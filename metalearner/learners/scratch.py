"""No meta-training: learn from what was seen last, from nothing.

Two baselines. `Scratch` trains a fresh policy on the support alone; `RollingRetrain` is the industry's habit of training anew on
a long rolling window. Tasks of training are left unused; validation chooses the step size of the first.
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
    """Train on the support only; the attributes not named here are those of `GradientLearner`.

    Attributes
    ----------
    step_sizes : tuple of float
        Tried on validation; the best is kept. Empty: ``inner.step_size``.
    """

    trains: ClassVar[bool] = False

    inner: Inner = field(default_factory=lambda: Inner(steps=50, step_size=0.01, optimizer="adam"))
    step_sizes: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1)
    name: str = "scratch"

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Stepping:
        return Stepping(policy, sampler, self.inner)

    def select(self, judged: Algorithm) -> Stepping:
        """Steps of the size that scores best."""
        assert isinstance(judged, Stepping)
        judged.inner = best_step_size(judged, self.step_sizes, self.training.seed)
        return judged


@dataclass(frozen=True)
class RollingRetrain(Scratch):
    """Train anew on a rolling window of 1,008 bars, four years of days; the attributes are those of `Scratch`.

    Its `step_sizes` are not tried: each would mean retraining for every validation task. The step size is that of `inner`.
    """

    inner: Inner = field(default_factory=lambda: Inner(steps=200, step_size=0.01, support=1008, optimizer="adam"))
    step_sizes: tuple[float, ...] = ()
    name: str = "rolling retrain"

    def sampler(self, policy: Any, tasks: Any) -> TaskSampler:
        if isinstance(tasks, TaskSet):  # its window begins long before the regime does
            features = policy.settings.features
            features.require(tasks.bars.with_past(), more=self.inner.support)
            first = (max(task.cut - self.inner.support, features.lookback) for task in tasks)
            tasks = TaskSet(
                tuple(replace(task, start=min(at, task.start)) for at, task in zip(first, tasks, strict=True))
            )
        return super().sampler(policy, tasks)
