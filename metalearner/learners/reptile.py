"""Reptile: move the initial weights towards the adapted weights.

Each task is adapted by K steps on the support and one on the query, and the initial weights move towards the mean of the results
(Nichol, Achiam and Schulman, "On first-order meta-learning algorithms", arXiv 1803.02999)::

    θ ← θ + ε E_task [ θ_K(task) − θ ]

The difference is passed to the optimiser as a gradient, as in the paper's batched version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from markets import InputError
from metalearner.learners.inner_loop import GradientLearner, Stepping, adapted
from metalearner.objective import TaskSampler
from strategies.networks import named_params


class Following(Stepping):
    """A loss whose gradient is the initial weights minus the mean adapted ones, and whose value is −utility of the query."""

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        # Adapt on the support, then take one step on the query. With a single batch, Reptile would only train on the mean task.
        params = {n: p.detach() for n, p in adapted(self.sampler, self.policy, tasks, self.inner, rng).items()}
        batch = self.sampler.collect(self.policy, params, tasks, "query", rng)
        names = self.inner.names(self.policy)
        at = {n: p.requires_grad_(n in names) for n, p in params.items()}
        utility = self.sampler.utility(self.policy, at, batch)
        last = torch.autograd.grad(utility.sum(), [at[n] for n in names])
        weights = self.sampler.weights(utility, tasks)
        start, pull, size = named_params(self.policy), torch.zeros(()), self.inner.sizes[-1]
        for name, gradient in zip(names, last, strict=True):
            end = at[name].detach() + size * gradient
            moved = end - start[name].detach()
            towards = (weights.to(moved).view(-1, *[1] * (moved.ndim - 1)) * moved).sum(0) / (total * size)
            pull = pull - (start[name] * towards).sum()
        yield pull - pull.detach() - (weights * utility.detach()).sum() / total


@dataclass(frozen=True)
class Reptile(GradientLearner):
    """Reptile, with plain gradient steps; attributes as for `GradientLearner`."""

    name: str = "Reptile"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.optimizer != "sgd" or not self.inner.steps:
            raise InputError(
                "Reptile needs at least one plain gradient step; set the inner optimizer to sgd, and steps above 0"
            )

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Following:
        return Following(policy, sampler, self.inner)
