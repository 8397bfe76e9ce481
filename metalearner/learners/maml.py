"""MAML and its variants: initial weights from which a few gradient steps adapt well.

The policy is trained for its utility on the query *after* the inner steps on the support (Finn, Abbeel and Levine,
"Model-agnostic meta-learning", ICML 2017)::

    maximise over θ   E_task [ utility(θ + α ∇ utility(θ; support); query) ]

``MAML.anil`` adapts the output layer only (Raghu et al., "Rapid learning or feature reuse?", ICLR 2020), ``MAML.cavia`` a
context vector (Zintgraf et al., ICML 2019). With `learn_step_sizes`, α is learnt per parameter and step (Li et al.,
"Meta-SGD", arXiv 1707.09835).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError
from markets.common.ranges import OneOf
from metalearner.learners.inner_loop import (
    ByGradient,
    GradientLearner,
    Inner,
    InnerStep,
    Stepping,
    StepSizes,
    inner_steps,
)
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm
from metalearner.training.config import Training
from strategies import PolicySettings
from strategies.networks import named_params


class MetaGradient(Stepping):
    """Maximises the utility of the query after the inner steps, differentiating through the steps."""

    def __init__(self, policy: nn.Module, sampler: TaskSampler, learner: MAML):
        super().__init__(policy, sampler, learner.inner)
        self.learner = learner
        names = self.inner.names(policy) if learner.learn_step_sizes else []
        first = torch.tensor(self.inner.sizes)
        sizes = {_key(n): nn.Parameter(_rows(first, p)) for n, p in named_params(policy).items() if n in names}
        self.module = nn.ModuleDict({"policy": policy, "sizes": nn.ParameterDict(sizes)})

    @property
    def step_sizes(self) -> StepSizes:
        sizes: Any = self.module["sizes"]  # type: ignore[index]
        return {n: sizes[_key(n)] for n in self.inner.names(self.policy)} if len(sizes) else None

    def parameter_groups(self, training: Training) -> list[dict[str, Any]]:
        policy, sizes = (list(part.parameters()) for part in self.module.values())  # type: ignore[operator]
        weights = {"params": policy, "faster": 1.0, "weight_decay": training.weight_decay}
        return [weights, {"params": sizes, "faster": _FASTER, "weight_decay": 0.0}] if sizes else [weights]

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        supports, queries = self._collect(tasks, rng)
        for parts in self.sampler.minibatches([*supports, *queries], rng):
            met, judged = parts[: len(supports)], parts[len(supports) :]
            steps = self._steps(judged[-1].tasks, rng, self.learner.order, met)
            path = [step.params for step in steps][-len(judged) :]
            utilities = [self.sampler.utility(self.policy, *both) for both in zip(path, judged, strict=True)]
            utility = torch.stack(utilities).mean(0)
            yield -(self.sampler.weights(utility, judged[-1].tasks) * utility).sum() / total

    def _collect(self, tasks: Any, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
        """The support batch of each inner step, and the query batch after each step that enters the loss."""
        steps, policy, collect = self.inner.steps, self.policy, self.sampler.collect
        judged = range(1, steps + 1) if steps and self.learner.every_update else [steps]
        if not self.sampler.on_policy:  # the data do not depend on the policy, so collect them once for all steps
            support, query = (collect(policy, named_params(policy), tasks, part, rng) for part in ("support", "query"))
            return [support] * steps, [query] * len(judged)
        supports, queries = [], []
        for k, step in enumerate(self._steps(tasks, rng, 1, None)):
            if k > 0:
                supports.append(step.support)
            if k in judged:
                queries.append(collect(policy, step.params, tasks, "query", rng))
        return supports, queries

    def _steps(
        self, tasks: Any, rng: np.random.Generator, order: Literal[1, 2], supports: list[Any] | None
    ) -> Iterator[InnerStep]:
        return inner_steps(
            self.sampler, self.policy, tasks, self.inner, rng,
            step_sizes=self.step_sizes, order=order, supports=supports,
        )  # fmt: skip


# Multiple of the learning rate for step sizes: Adam moves all parameters by similar amounts, but step sizes are larger.
_FASTER = 10.0


def _rows(sizes: Tensor, parameter: Tensor) -> Tensor:
    """Step sizes with one row per inner step, each of the shape of `parameter`."""
    return sizes.view(-1, *[1] * parameter.ndim).repeat(1, *parameter.shape)


def _key(name: str) -> str:
    return name.replace(".", "/")  # keys of a ParameterDict must not contain dots


@dataclass(frozen=True)
class MAML(GradientLearner):
    """Model-agnostic meta-learning. Further attributes are those of `GradientLearner`.

    Attributes
    ----------
    order : {1, 2}
        1 treats the inner gradients as constants (first-order MAML); 2 differentiates through them.
    learn_step_sizes : bool
        Whether to learn step sizes per parameter and inner step, starting from ``inner.step_size``.
    every_update : bool
        Whether the loss averages the query utility after every inner step, instead of using the last step only (Antoniou,
        Edwards and Storkey, "How to train your MAML", ICLR 2019).
    """

    order: Literal[1, 2] = 1
    learn_step_sizes: Annotated[bool, OneOf()] = False
    every_update: bool = False
    name: str = "MAML"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2):
            raise InputError(f"order is {self.order}; it must be 1 or 2")
        if self.order == 2 and self.inner.optimizer == "adam":
            raise InputError("order 2 supports plain gradient steps only; set the inner optimizer to sgd")

    @classmethod
    def anil(cls, **options: Any) -> MAML:
        """ANIL: only the output layer adapts; options are those of `MAML`."""
        inner = replace(options.pop("inner", Inner()), adapts="head")
        return cls(**{"name": "ANIL", "inner": inner} | options)

    @classmethod
    def cavia(cls, **options: Any) -> MAML:
        """CAVIA: only a context vector adapts; options are those of `MAML`."""
        inner = replace(options.pop("inner", Inner()), adapts="context_vector")
        settings = options.pop("policy", PolicySettings(memory="none"))
        settings = settings if settings.context_vector else replace(settings, context_vector=8)
        return cls(**{"name": "CAVIA", "inner": inner, "policy": settings} | options)

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> MetaGradient:
        return MetaGradient(policy, sampler, self)

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        # not `selected`: the trained module also holds the learnt step sizes
        return super().deploy(trained, trained, seen_until, history)
