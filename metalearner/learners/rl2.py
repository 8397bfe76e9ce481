"""RL²: adaptation through the memory of a recurrent policy.

A policy with a memory is trained on whole tasks. Its memory is kept from the support into the query, so that the query is traded
with what was observed of the regime. No parameters change at adaptation (Duan et al., "RL²: fast reinforcement learning via slow
reinforcement learning", arXiv 1611.02779)::

    maximise over θ   E_task [ utility over the query | memory of what came before ]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from markets import InputError, TaskSet
from markets.accounting.differentiable import TensorPlan
from metalearner.learners.base import MetaLearner, MetaPolicy, query_scores
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm
from strategies import Policy
from strategies.networks import named_params


class InContext(MetaPolicy, kind="rl2"):
    """A policy that adapts through its memory."""

    def adapt(self, task: Any) -> Any:
        """The policy as a strategy or agent, with unchanged weights: it reads the recent bars itself.

        Raises
        ------
        InputError
            When there are too few bars to fill the memory, or the policy has a memory but a context of 1.
        """
        self._check_like_training(task)
        if self.context == 1 and self.policy.settings.memory != "none":
            raise InputError(
                f"{self.name} would forget every bar: set the learner's `context`, or its `deployed`, above 1"
            )
        self.objective.recent(task, self.policy, self.context)
        return self._deploy(self.policy, self.name)

    def unadapted(self) -> Any:
        """The same weights, with the memory cleared at every bar."""
        return self._deploy(self.policy, f"{self.name}, unadapted", context=1)

    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query; the memory runs through the support and continues in the query."""
        return self._scores(self.policy, tasks)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query, with the memory cleared at every bar."""
        return self._scores(_Forgetful(self.policy), tasks)

    def _scores(self, policy: Any, tasks: TaskSet) -> np.ndarray:
        sampler = self.objective.sampler(tasks, policy, tasks[0].cut - tasks[0].start)
        return query_scores(sampler, policy, named_params(policy), np.random.default_rng(0))


class _Forgetful(nn.Module):
    """A policy whose memory is cleared at every bar."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy, self.settings = policy, policy.settings

    def forward(self, features: Tensor, base: Tensor, truncate: int = 0) -> TensorPlan:
        paths, bars = features.shape[:2]
        alone = self.policy(features.flatten(0, 1)[:, None], base.flatten(0, 1)[:, None])
        aim, band, rate = (None if x is None else x[:, 0].unflatten(0, (paths, bars)) for x in alone)
        return TensorPlan(aim, band, rate)  # type: ignore[arg-type]


class QueryUtility(Algorithm):
    """Maximises the utility of the query, with the same weights for all tasks.

    Parameters
    ----------
    policy : Module
    sampler : TaskSampler
    """

    def __init__(self, policy: nn.Module, sampler: TaskSampler):
        self.module = self.policy = policy
        self.sampler = sampler

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        params = named_params(self.policy)
        batch = self.sampler.collect(self.policy, params, tasks, "query", rng)
        for (part,) in self.sampler.minibatches([batch], rng):
            yield -self.sampler.utility(self.policy, params, part).sum() / total

    def scores(self, rng: np.random.Generator) -> Tensor:
        params = named_params(self.policy)
        batch = self.sampler.collect(self.policy, params, self.sampler.all_tasks(), "query", rng)
        return self.sampler.score(self.policy, params, batch)


@dataclass(frozen=True)
class RL2(MetaLearner):
    """RL²: meta-learning with a recurrent policy. Further attributes are those of `MetaLearner`.

    Attributes
    ----------
    deployed : int
        Bars of memory of the deployed strategy; 0 uses `context`. Set it when `context` is 1 because training tasks are
        evaluated from their first bar.
    """

    context: int = 60
    deployed: int = 0
    name: str = "RL2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deployed < 0:
            raise InputError(f"{self.name}: deployed is {self.deployed}; it must be at least 0")

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Algorithm:
        return QueryUtility(policy, sampler)

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> InContext:
        assert isinstance(trained, QueryUtility)
        return InContext(self.name, trained.policy, self.deployed or self.context, self.objective, seen_until, history)
