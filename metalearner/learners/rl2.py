"""RL²: the policy's memory is the learner.

A policy with a memory is trained over whole tasks with the memory kept from the support into the query, so that what it has
seen of the regime is in its memory when it is judged; adapting is reading (Duan et al., "RL²: fast reinforcement learning
via slow reinforcement learning", arXiv 1611.02779)::

    maximise over θ   E_task [ utility over the query | memory of what came before ]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from markets import InputError
from metalearner.learners.base import MetaLearner, MetaPolicy
from metalearner.objective import Worlds
from metalearner.training.loop import Lessons
from strategies.networks import own


class InContext(MetaPolicy):
    """A policy with a memory: it has adapted to whatever its memory holds."""

    learner = "rl2"

    def adapt(self, task: Any) -> Any:
        """The policy itself; bars must be enough to fill its memory.

        Raises
        ------
        InputError
            When there are too few, or the policy has a memory and no context to fill it with.
        """
        if self.context == 1 and self.policy.settings.memory != "none":
            raise InputError(
                f"{self.name} would forget every bar: give the learner a context, or say what is `deployed`"
            )
        self.objective.recent(task, self.policy, self.context)
        return self._deployed(self.policy, self.name)

    def unadapted(self) -> Any:
        """The same weights with the memory cleared at every bar: all that is taken away is what it has seen."""
        return self._deployed(self.policy, f"{self.name}, unadapted", context=1)


class Plain(Lessons):
    """Utility of the query, for one set of weights.

    Parameters
    ----------
    policy : Module
    worlds : Worlds
    """

    def __init__(self, policy: nn.Module, worlds: Worlds):
        self.module = self.policy = policy
        self.worlds = worlds

    def losses(self, drawn: Any, tasks: int, rng: np.random.Generator) -> Iterator[Tensor]:
        batch = self.worlds.collect(self.policy, own(self.policy), drawn, "query", rng)
        for (part,) in self.worlds.minibatches([batch], rng):
            yield -self.worlds.utility(self.policy, own(self.policy), part).sum() / tasks

    def scores(self, rng: np.random.Generator) -> Tensor:
        params = own(self.policy)
        batch = self.worlds.collect(self.policy, params, self.worlds.everything(), "query", rng)
        return self.worlds.score(self.policy, params, batch)


@dataclass(frozen=True)
class RL2(MetaLearner):
    """Meta-learning by a memory; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    deployed : int
        Bars of memory of the deployed strategy; 0 is `context`. Episodes that are judged from their first bar have no
        context, but who trades on in one remembers it.
    """

    context: int = 60
    deployed: int = 0
    name: str = "RL2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deployed < 0:
            raise InputError(f"{self.name}: deployed is {self.deployed}; it must be at least 0")

    def lessons(self, policy: nn.Module, tasks: Any) -> Lessons:
        return Plain(policy, self.objective.on(tasks, policy, self.context))

    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> InContext:
        return InContext(self.name, lessons.module, self.deployed or self.context, self.objective, seen_until, history)
