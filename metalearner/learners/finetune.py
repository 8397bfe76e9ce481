"""Multi-task pre-training, then a few gradient steps on the support: the baseline that so often wins.

One policy without memory is trained on all tasks at once; to adapt, it takes the steps of `metalearner.learners.inner_loop`, of
the size that scored best on validation.
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
    """Pre-train on all tasks, fine-tune on the support; the attributes not named here are those of `GradientLearner`.

    Attributes
    ----------
    step_sizes : tuple of float
        Tried on validation; the best is kept. Empty: ``inner.step_size``.
    """

    step_sizes: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    name: str = "pre-train + fine-tune"

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> QueryUtility:
        self.inner.names(policy)
        return QueryUtility(policy, sampler)

    def select(self, judged: Algorithm) -> Stepping:
        """Steps of the size that scores best."""
        assert isinstance(judged, QueryUtility)
        steps = Stepping(judged.policy, judged.sampler, self.inner)
        steps.inner = best_step_size(steps, self.step_sizes, self.training.seed)
        return steps
