"""`Algorithm`: how a learner turns what a sampler collects into losses, and how it is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from metalearner.objective import TaskSampler
from metalearner.training.config import Training


class Algorithm(ABC):
    """What a learner does with tasks.

    Attributes
    ----------
    module : Module
        All that is learnt.
    sampler : TaskSampler
    """

    module: nn.Module
    sampler: TaskSampler

    def parameter_groups(self, training: Training) -> list[dict[str, Any]]:
        """What the optimiser is to change: parameters, how much ``faster`` than the weights, and their decay."""
        return [{"params": list(self.module.parameters()), "faster": 1.0, "weight_decay": training.weight_decay}]

    @abstractmethod
    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """Losses to descend one after another, an update each.

        Parameters
        ----------
        tasks : TaskBatch
            This process's shard.
        total : int
            Number of tasks of all processes: a loss is the sum over the shard, divided by it.
        rng : Generator
        """

    @abstractmethod
    def scores(self, rng: np.random.Generator) -> Tensor:
        """Utility on each of the sampler's tasks after adapting to it, shape (tasks,)."""
