"""RL²: adaptation through the memory of a recurrent policy.

A policy with a memory is trained on whole tasks. Its memory is kept from the support into the query, so that the query is traded
with what was observed of the regime. No parameters change at adaptation (Duan et al., "RL²: fast reinforcement learning via slow
reinforcement learning", arXiv 1611.02779)::

    maximise over θ   E_task [ utility over the query | memory of what came before ]

What adapting was worth is the difference to a policy without it. One that was trained with a memory and then robbed of it is no
fair control, since it was never asked to do without; so a learner can train the same policy without a memory beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from torch import Tensor, nn

from markets import InputError, TaskSet
from markets.accounting.differentiable import TensorPlan
from metalearner.learners.base import MetaLearner, MetaPolicy, load_meta, query_scores
from metalearner.learners.transfer import NewMarket
from metalearner.objective import TaskSampler
from metalearner.objectives.across import Across
from metalearner.teachers import Teachers
from metalearner.training.algorithm import Algorithm
from strategies import Policy, PolicySettings
from strategies.networks import named_params


class InContext(MetaPolicy, kind="rl2"):
    """A policy that adapts through its memory.

    Attributes
    ----------
    control : InContext or None
        The same policy trained without a memory, if the learner trained one.
    """

    control: InContext | None = None

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
        """The control: the policy that was trained without a memory; if none was, `cleared` under this name."""
        name = f"{self.name}, unadapted"
        if self.control is not None:
            return self.control._deploy(self.control.policy, name, context=1)
        return self._deploy(self.policy, name, context=1)

    def cleared(self) -> Any:
        """The same weights, with the memory cleared at every bar. It shows what the memory does, and is no fair control."""
        return self._deploy(self.policy, f"{self.name}, memory cleared", context=1)

    def controls(self) -> dict[str, Any]:
        remembers = self.policy.settings.memory != "none"
        return super().controls() | ({"memory cleared": self.cleared()} if self.control and remembers else {})

    def _transferred(self, market: NewMarket) -> Self:
        other = super()._transferred(market)
        if self.control is not None:
            other.control = self.control._transferred(market)
        return other

    def shrunk(self, share: float, name: str) -> InContext:
        other = super().shrunk(share, name)
        assert isinstance(other, InContext)
        if self.control is not None:
            other.control = self.control.shrunk(share, self.control.name)
        return other

    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query; the memory runs through the support and continues in the query."""
        return self._scores(self.policy, tasks)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query: of the policy trained without a memory, if there is one, else with it cleared."""
        if self.control is not None:
            return self.control.evaluate(tasks)
        return self._scores(_Forgetful(self.policy), tasks)

    def _save_more(self, folder: Path) -> None:
        if self.control is not None:
            self.control.save(folder / "control")

    def _config(self) -> dict[str, Any]:
        return {"control": self.control is not None}

    def _restore(self, config: dict[str, Any], folder: Path) -> None:
        if config.get("control"):  # models of earlier versions do not say
            control = load_meta(folder / "control")
            assert isinstance(control, InContext)
            self.control = control

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
            utility = self.sampler.utility(self.policy, params, part)
            yield -(self.sampler.weights(utility, part.tasks) * utility).sum() / total

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
    control : {"cleared", "trained"}
        What `MetaPolicy.unadapted` is. ``trained``: the same policy trained without a memory on the same tasks, which takes a
        second training. ``cleared``: the trained policy with its memory cleared at every bar.
    teachers : Teachers or None
        Strategies that the policy, and its control, copy at first. The objective's cost curriculum then does nothing. What is
        deployed needs no teacher.
    """

    context: int = 60
    deployed: int = 0
    control: Literal["cleared", "trained"] = "cleared"
    teachers: Teachers | None = None
    name: str = "RL2"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deployed < 0:
            raise InputError(f"{self.name}: deployed is {self.deployed}; it must be at least 0")
        if self.control not in ("cleared", "trained"):
            raise InputError(f"{self.name}: control is {self.control!r}; use cleared or trained")

    def fit(self, tasks: Any, validation: Any, *, checkpoint: str | Path | None = None, **options: Any) -> MetaPolicy:
        """Train the policy, and its control after it; arguments as for `MetaLearner.fit`.

        The control has its own checkpoint, with ``-control`` appended to the file's stem.
        """
        meta = super().fit(tasks, validation, checkpoint=checkpoint, **options)
        if self.control == "trained" and isinstance(meta, InContext):
            place = None if checkpoint is None else Path(checkpoint).with_stem(f"{Path(checkpoint).stem}-control")
            control = self.without_memory().fit(tasks, validation, checkpoint=place, **options)
            assert isinstance(control, InContext)
            meta.control = control
        return meta

    def without_memory(self) -> RL2:
        """The learner of the control: the same policy, objective and training, without a memory and features that are one."""
        head = "plain" if self.policy.head == "hyper" else self.policy.head  # only a memory can write weights
        policy = replace(self.policy, memory="none", head=head)
        if isinstance(policy, PolicySettings):
            policy = replace(policy, features=policy.features.without_memory())
        name = f"{self.name}, memoryless"
        return RL2(policy, self.objective, self.training, context=self.context, teachers=self.teachers, name=name)

    def training_sampler(self, policy: nn.Module, tasks: Any) -> TaskSampler:
        sampler = super().training_sampler(policy, tasks)
        return sampler if self.teachers is None else self.teachers.sampler(sampler, self.policy)

    @property
    def idle(self) -> tuple[str, ...]:
        curriculum = ("objective.curriculum",) if self.teachers else ()  # full costs from the first step that counts
        return (*super().idle, *curriculum)

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Algorithm:
        return QueryUtility(policy, sampler)

    def _meta_train(self, tasks: Any, choosing: Any, **options: Any) -> tuple[Any, Algorithm, Algorithm, pd.DataFrame]:
        if self.teachers is not None and isinstance(choosing, TaskSet | Across):
            self.teachers.refuse_seen(choosing)
        return super()._meta_train(tasks, choosing, **options)

    def _config(self) -> dict[str, Any]:
        if self.teachers is not None:
            return replace(self, teachers=None)._config() | {"teachers": self.teachers.config}
        config = super()._config()
        del config["teachers"]  # as in earlier versions, whose checkpoints can still be resumed
        return config

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> InContext:
        assert isinstance(trained, QueryUtility)
        return InContext(self.name, trained.policy, self.deployed or self.context, self.objective, seen_until, history)
