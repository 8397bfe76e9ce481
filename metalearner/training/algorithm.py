"""`Algorithm`: a learner's losses on sampled tasks, and its score on validation tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from metalearner.objective import TaskSampler
from metalearner.training.config import Training


class Algorithm(ABC):
    """The learning rule of a learner, bound to a module and a sampler of tasks.

    Attributes
    ----------
    module : Module
        Holds all trained parameters.
    sampler : TaskSampler
        Tasks to train or be scored on.
    """

    module: nn.Module
    sampler: TaskSampler

    def parameter_groups(self, training: Training) -> list[dict[str, Any]]:
        """Parameter groups for the optimiser, each with ``faster``, a multiple of the learning rate, and ``weight_decay``."""
        return [{"params": list(self.module.parameters()), "faster": 1.0, "weight_decay": training.weight_decay}]

    @abstractmethod
    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """Losses of one training step; the loop makes one update for each, in turn.

        Parameters
        ----------
        tasks : TaskBatch
            This process's shard.
        total : int
            Number of tasks over all processes. A loss is the sum over the shard divided by `total`, so that summing over
            processes gives the mean.
        rng : Generator

        Yields
        ------
        Tensor of shape ()
        """

    @abstractmethod
    def scores(self, rng: np.random.Generator) -> Tensor:
        """Score on each of the sampler's tasks after adapting to it, shape (tasks,)."""
