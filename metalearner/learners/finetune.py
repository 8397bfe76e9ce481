"""Multi-task pre-training, followed by fine-tuning on the support: a strong baseline.

One policy without memory is trained on all tasks. To adapt, it takes gradient steps (`metalearner.learners.inner_loop`) with
the step size that scored best on validation.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from metalearner.learners.inner_loop import GradientLearner, Stepping, best_step_size
from metalearner.learners.rl2 import QueryUtility
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm


@dataclass(frozen=True)
class FineTune(GradientLearner):
    """Pre-training on all tasks and fine-tuning on the support. Further attributes are those of `GradientLearner`.

    Attributes
    ----------
    step_sizes : tuple of float
        Candidates, of which validation selects the best. If empty, ``inner.step_size`` is used.
    """

    step_sizes: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    name: str = "pre-train + fine-tune"

    @property
    def idle(self) -> tuple[str, ...]:
        return (*super().idle, *(("inner.step_size",) if self.step_sizes else ()))

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> QueryUtility:
        self.inner.names(policy)
        return QueryUtility(policy, sampler)

    def select(self, judged: Algorithm) -> Stepping:
        """Fine-tuning with the step size that scores best."""
        assert isinstance(judged, QueryUtility)
        steps = Stepping(judged.policy, judged.sampler, self.inner)
        steps.inner = best_step_size(steps, self.step_sizes, self.training.seed)
        return steps
