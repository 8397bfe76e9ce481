"""MAML and its kin: a start from which a few gradient steps go far.

The policy is trained for what it earns *after* its steps on the support (Finn, Abbeel and Levine, "Model-agnostic
meta-learning", ICML 2017)::

    maximise over θ   E_task [ utility(θ + α ∇ utility(θ; support); query) ]

``MAML.anil`` changes the output layer alone (Raghu et al., "Rapid learning or feature reuse?", ICLR 2020), ``MAML.cavia`` a
context vector (Zintgraf et al., ICML 2019); with `learn_step_sizes` α is learnt, one a parameter (Li et al., "Meta-SGD",
arXiv 1707.09835).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError
from metalearner.base import MetaLearner
from metalearner.inner import ByGradient, Inner, StepSizes, Stepping, adapted, by_gradient
from metalearner.objectives import Worlds
from metalearner.training import Lessons
from strategies import PolicySettings
from strategies.networks import own


class MetaGradient(Stepping):
    """Utility of the query after the steps, differentiated through them."""

    def __init__(self, policy: nn.Module, worlds: Worlds, inner: Inner, order: Literal[1, 2], learn_step_sizes: bool):
        super().__init__(policy, worlds, inner)
        self.order, params = order, own(policy)
        sizes = {_key(n): nn.Parameter(torch.full_like(params[n], inner.step_size)) for n in inner.names(policy)}
        self.module = nn.ModuleDict({"policy": policy, "sizes": nn.ParameterDict(sizes if learn_step_sizes else {})})

    @property
    def step_sizes(self) -> StepSizes:
        sizes: Any = self.module["sizes"]  # type: ignore[index]
        return {n: sizes[_key(n)] for n in self.inner.names(self.policy)} if len(sizes) else self.inner.step_size

    def losses(self, drawn: Any, tasks: int, rng: np.random.Generator) -> Iterator[Tensor]:
        met: list[Any] = []
        query = None
        for _ in range(self.worlds.epochs):
            params = adapted(
                self.worlds, self.policy, drawn, self.inner, rng, step_sizes=self.step_sizes, order=self.order, met=met
            )
            if query is None:
                query = self.worlds.collect(self.policy, params, drawn, "query", rng)
            yield -self.worlds.utility(self.policy, params, query).sum() / tasks


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
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="none"))
    inner: Inner = field(default_factory=Inner)
    order: Literal[1, 2] = 1
    learn_step_sizes: bool = False
    name: str = "MAML"

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise InputError(f"order is {self.order}; MAML's is 1 or 2")

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
        return MetaGradient(policy, worlds, self.inner, self.order, self.learn_step_sizes)

    def made(
        self, lessons: Lessons, judged: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        assert isinstance(lessons, MetaGradient)
        sizes = lessons.step_sizes
        learnt = None if not isinstance(sizes, Mapping) else {n: s.detach() for n, s in sizes.items()}
        return by_gradient(self, lessons, seen_until, history, step_sizes=learnt)
