"""What learning maximises, and on which tasks: the interfaces between the learners and what they learn from.

An `Objective` is settings; on tasks it gives a `TaskSampler`, which samples some of them, collects what a policy meets there, and
says what that was worth, differentiably. A learner sees nothing else, so the same learner trades a market with the exact
gradient of `metalearner.objectives.pathwise` and pulls a bandit's arms with `metalearner.objectives.policy_gradient`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from torch import Tensor, nn

from strategies.networks import Parameters

Part = Literal["support", "query"]
Log = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class TaskBatch:
    """Some of the tasks.

    Attributes
    ----------
    task_ids : ndarray of int, shape (B,)
        What tells tasks apart, whichever process has them.
    progress : float
        Of the training that sampled them, in [0, 1].
    """

    task_ids: np.ndarray
    progress: float = field(default=1.0, kw_only=True)

    def __len__(self) -> int:
        return len(self.task_ids)

    def __getitem__(self, rows: Any) -> Self:
        """Some of these tasks."""
        return replace(self, task_ids=self.task_ids[rows])

    def shard(self, rank: int, ranks: int) -> Self:
        """The part of process `rank` among `ranks`: every so-many-th task."""
        return self[rank::ranks]


class TaskSampler(ABC):
    """The tasks of one objective.

    What `collect` returns has its tasks as ``tasks`` and, as ``weight``, their weight in the loss.

    Attributes
    ----------
    identity : str
        Of the tasks: two samplers of one identity hold the same.
    on_policy : bool
        Whether what is collected depends on the policy that acts.
    """

    identity: str
    on_policy: bool = False

    @abstractmethod
    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> Any:
        """A `TaskBatch` of some tasks of training, at `progress` in [0, 1] of it."""

    @abstractmethod
    def all_tasks(self) -> Any:
        """A `TaskBatch` of all tasks, as they are judged."""

    @abstractmethod
    def collect(self, policy: nn.Module, params: Parameters, tasks: Any, part: Part, rng: np.random.Generator) -> Any:
        """What the policy meets in one part of the tasks: a batch for `utility`."""

    @abstractmethod
    def utility(self, policy: nn.Module, params: Parameters, batch: Any, *, twice: bool = False) -> Tensor:
        """What `batch` is worth at `params`, shape (tasks,); with `twice` differentiable twice.

        Raises
        ------
        FloatingPointError
            When one is not finite, naming task and bar.
        """

    def minibatches(self, batches: list[Any], rng: np.random.Generator) -> Iterator[list[Any]]:
        """What updates are made of, one after another: parts of `batches`, each of the same tasks in all of them."""
        yield batches

    def sequences(self, policy: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """What a memory reads in `batch`, shape (tasks, sequences of each, T, inputs), and how many steps each has."""
        raise NotImplementedError(f"{type(self).__name__} has no sequences to infer a belief from")

    def score(self, policy: nn.Module, params: Parameters, batch: Any) -> Tensor:
        """What `batch` earned, shape (tasks,): what validation compares."""
        return self.utility(policy, params, batch)

    def settled(self, progress: float) -> bool:
        """Whether training is by now what it will be to its end, so that patience may count."""
        return True


class Objective(ABC):
    """Settings of what is maximised."""

    kinds: ClassVar[dict[str, type[Objective]]] = {}

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.__name__] = cls

    @abstractmethod
    def policy(self, settings: Any, tasks: Any) -> nn.Module:
        """A new policy for `tasks`, its weights drawn from torch's generator."""

    @abstractmethod
    def sampler(self, tasks: Any, policy: nn.Module, context: int, support: int = 0) -> TaskSampler:
        """The objective on `tasks`.

        Parameters
        ----------
        tasks : TaskSet or callable
        policy : Module
        context : int
            Steps of memory before the first that is judged.
        support : int
            Steps of the support at most; 0 is all.
        """

    @abstractmethod
    def recent(self, task: Any, policy: nn.Module, support: int) -> TaskSampler:
        """One task to adapt to: its support is the last of `task` (bars), or episodes in it (an environment)."""

    @abstractmethod
    def deploy(self, policy: nn.Module, context: int, name: str, seen_until: pd.Timestamp | None) -> Any:
        """What acts: a `Strategy`, or an `Agent`."""

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """What `deploy` made, from where it was saved."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """For JSON."""

    @classmethod
    @abstractmethod
    def from_dict(cls, config: dict[str, Any]) -> Objective:
        """From what `to_dict` and JSON made of it."""
