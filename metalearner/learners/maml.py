"""MAML and its kin: a start from which a few gradient steps go far.

The policy is trained for what it earns *after* its steps on the support (Finn, Abbeel and Levine, "Model-agnostic
meta-learning", ICML 2017)::

    maximise over θ   E_task [ utility(θ + α ∇ utility(θ; support); query) ]

``MAML.anil`` changes the output layer alone (Raghu et al., "Rapid learning or feature reuse?", ICLR 2020), ``MAML.cavia`` a
context vector (Zintgraf et al., ICML 2019); with `learn_step_sizes` α is learnt, one a parameter and update (Li et al.,
"Meta-SGD", arXiv 1707.09835).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError
from metalearner.learners.base import MetaLearner
from metalearner.learners.inner_loop import ByGradient, Inner, Stepping, StepSizes, by_gradient, stepped
from metalearner.objective import Worlds
from metalearner.training.loop import Lessons, Training
from strategies import PolicySettings
from strategies.networks import own


class MetaGradient(Stepping):
    """Utility of the query after the steps, differentiated through them."""

    def __init__(self, policy: nn.Module, learner: MAML, worlds: Worlds):
        super().__init__(policy, worlds, learner.inner)
        self.learner = learner
        names = self.inner.names(policy) if learner.learn_step_sizes else []
        first = torch.tensor(self.inner.sizes)
        sizes = {_key(n): nn.Parameter(_rows(first, p)) for n, p in own(policy).items() if n in names}
        self.module = nn.ModuleDict({"policy": policy, "sizes": nn.ParameterDict(sizes)})

    @property
    def step_sizes(self) -> StepSizes:
        sizes: Any = self.module["sizes"]  # type: ignore[index]
        return {n: sizes[_key(n)] for n in self.inner.names(self.policy)} if len(sizes) else None

    def groups(self, training: Training) -> list[dict[str, Any]]:
        policy, sizes = (list(part.parameters()) for part in self.module.values())  # type: ignore[operator]
        weights = {"params": policy, "faster": 1.0, "weight_decay": training.weight_decay}
        return [weights, {"params": sizes, "faster": _FASTER, "weight_decay": 0.0}] if sizes else [weights]

    def losses(self, drawn: Any, tasks: int, rng: np.random.Generator) -> Iterator[Tensor]:
        supports, queries = self._met(drawn, rng)
        for parts in self.worlds.minibatches([*supports, *queries], rng):
            met, judged = parts[: len(supports)], parts[len(supports) :]
            path = list(self._path(judged[-1].drawn, rng, met, self.learner.order))[-len(judged) :]
            utilities = [self.worlds.utility(self.policy, *both) for both in zip(path, judged, strict=True)]
            yield -torch.stack(utilities).mean(0).sum() / tasks

    def _met(self, drawn: Any, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
        """The support of each step, and the query after each that is judged."""
        steps, policy, collect = self.inner.steps, self.policy, self.worlds.collect
        judged = range(1, steps + 1) if steps and self.learner.every_update else [steps]
        if not self.worlds.steered:  # then it is met without stepping there
            support, query = (collect(policy, own(policy), drawn, part, rng) for part in ("support", "query"))
            return [support] * steps, [query] * len(judged)
        supports: list[Any] = []
        path = enumerate(self._path(drawn, rng, supports, 1))
        return supports, [collect(policy, params, drawn, "query", rng) for k, params in path if k in judged]

    def _path(
        self, drawn: Any, rng: np.random.Generator, met: list[Any], order: Literal[1, 2]
    ) -> Iterator[dict[str, Tensor]]:
        return stepped(
            self.worlds, self.policy, drawn, self.inner, rng, step_sizes=self.step_sizes, order=order, met=met
        )


# Adam moves all parameters by one rate, but step sizes are larger than weights are.
_FASTER = 10.0


def _rows(sizes: Tensor, parameter: Tensor) -> Tensor:
    """One row an update, of the shape of `parameter`."""
    return sizes.view(-1, *[1] * parameter.ndim).repeat(1, *parameter.shape)


def _key(name: str) -> str:
    return name.replace(".", "/")  # a ParameterDict takes no dots


@dataclass(frozen=True)
class MAML(MetaLearner):
    """Model-agnostic meta-learning; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    inner : Inner
    order : {1, 2}
        1 takes the steps for constants; 2 differentiates through them.
    learn_step_sizes : bool
        One a parameter and update, from ``inner.step_size``.
    every_update : bool
        Judged after every update and not after the last alone (Antoniou, Edwards and Storkey, "How to train your MAML",
        ICLR 2019).
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="none"))
    inner: Inner = field(default_factory=Inner)
    order: Literal[1, 2] = 1
    learn_step_sizes: bool = False
    every_update: bool = False
    name: str = "MAML"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2):
            raise InputError(f"order is {self.order}; MAML's is 1 or 2")
        if self.order == 2 and self.inner.optimizer == "adam":
            raise InputError("second order differentiates plain steps; set the inner optimizer to sgd")

    @classmethod
    def anil(cls, **options: Any) -> MAML:
        """Only the output layer adapts."""
        inner = replace(options.pop("inner", Inner()), adapts="head")
        return cls(**{"name": "ANIL", "inner": inner} | options)

    @classmethod
    def cavia(cls, **options: Any) -> MAML:
        """Only a context vector adapts."""
        inner = replace(options.pop("inner", Inner()), adapts="context")
        settings = options.pop("policy", PolicySettings(memory="none"))
        settings = settings if settings.context else replace(settings, context=8)
        return cls(**{"name": "CAVIA", "inner": inner, "policy": settings} | options)

    def lessons(self, policy: nn.Module, tasks: Any) -> MetaGradient:
        worlds = self.objective.on(tasks, policy, 1, self.inner.support)
        return MetaGradient(policy, self, worlds)

    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        assert isinstance(lessons, MetaGradient)
        sizes = lessons.step_sizes
        learnt = None if sizes is None else {n: s.detach() for n, s in sizes.items()}
        return by_gradient(self, lessons, seen_until, history, step_sizes=learnt)
