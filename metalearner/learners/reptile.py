"""Reptile: move the start towards where the steps lead.

Each task takes its K steps, on support and query alike, and the start follows their mean (Nichol, Achiam and Schulman, "On
first-order meta-learning algorithms", arXiv 1803.02999)::

    θ ← θ + ε E_task [ θ_K(task) − θ ]

The difference is handed to the optimiser as a gradient, as in the paper's batched version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError
from metalearner.learners.base import MetaLearner
from metalearner.learners.inner_loop import ByGradient, Inner, Stepping, adapted, by_gradient
from metalearner.training.loop import Lessons
from strategies import PolicySettings
from strategies.networks import own


class Following(Stepping):
    """A loss whose gradient is the start less the mean of the ends, and whose value is that of the query."""

    def losses(self, drawn: Any, tasks: int, rng: np.random.Generator) -> Iterator[Tensor]:
        # steps come from support and query in turn: without a second batch the start would follow the mean task alone
        params = {n: p.detach() for n, p in adapted(self.worlds, self.policy, drawn, self.inner, rng).items()}
        batch = self.worlds.collect(self.policy, params, drawn, "query", rng)
        names = self.inner.names(self.policy)
        at = {n: p.requires_grad_(n in names) for n, p in params.items()}
        utility = self.worlds.utility(self.policy, at, batch)
        last = torch.autograd.grad(utility.sum(), [at[n] for n in names])
        start, pull, size = own(self.policy), torch.zeros(()), self.inner.sizes[-1]
        for name, gradient in zip(names, last, strict=True):
            end = at[name].detach() + size * gradient
            towards = (end - start[name].detach()).sum(0) / (tasks * size)
            pull = pull - (start[name] * towards).sum()
        yield pull - pull.detach() - utility.detach().sum() / tasks


@dataclass(frozen=True)
class Reptile(MetaLearner):
    """Reptile; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    inner : Inner
        Plain gradient steps.
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="none"))
    inner: Inner = field(default_factory=Inner)
    name: str = "Reptile"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.optimizer != "sgd" or not self.inner.steps:
            raise InputError("Reptile follows at least one plain step; set the inner optimizer to sgd")

    def lessons(self, policy: nn.Module, tasks: Any) -> Following:
        return Following(policy, self.objective.on(tasks, policy, 1, self.inner.support), self.inner)

    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        assert isinstance(lessons, Following)
        return by_gradient(self, lessons, seen_until, history)
