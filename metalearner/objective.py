"""Interfaces between the learners and what they learn from: `Objective`, `TaskSampler` and `TaskBatch`.

An `Objective` holds settings. Given tasks, it builds a `TaskSampler`, which samples batches of tasks, collects the data that a
policy sees in them, and computes a differentiable utility. Learners use these interfaces only, so the same learner works with
the exact gradient of a market simulation (`metalearner.objectives.pathwise`) and with policy gradients in any gymnasium
environment (`metalearner.objectives.policy_gradient`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets.common.kinds import register
from strategies.networks import Parameters

Part = Literal["support", "query"]
Log = Callable[[dict[str, float], int], None]


@dataclass(frozen=True)
class TaskBatch:
    """A batch of B tasks.

    Attributes
    ----------
    task_ids : ndarray of int, shape (B,)
        Identifies each task, independently of the process that holds it.
    progress : float
        Fraction of the training completed when the batch was sampled, in [0, 1].
    """

    task_ids: np.ndarray
    progress: float = field(default=1.0, kw_only=True)

    def __len__(self) -> int:
        return len(self.task_ids)

    def __getitem__(self, rows: Any) -> Self:
        """The batch of the tasks selected by `rows`, an index or mask for an ndarray."""
        return replace(self, task_ids=self.task_ids[rows])

    def shard(self, rank: int, ranks: int) -> Self:
        """The tasks of process `rank` among `ranks`: every `ranks`-th task, starting at `rank`."""
        return self[rank::ranks]


class TaskSampler(ABC):
    """Samples tasks and evaluates a policy on them, for one objective.

    The batches returned by `collect` have an attribute ``tasks`` (their `TaskBatch`) and an attribute ``weight`` (their weight
    in the loss).

    Attributes
    ----------
    identity : str
        Fingerprint of the tasks: samplers of equal identity hold the same tasks.
    on_policy : bool
        Whether the collected data depend on the policy that acts.
    state : dict of Tensor
        What changes in it as training goes on, in place; checkpoints keep it.
    """

    identity: str
    on_policy: bool = False
    state: dict[str, Tensor] = {}  # noqa: RUF012 - of most samplers nothing changes

    @abstractmethod
    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> Any:
        """Sample a batch of training tasks.

        Parameters
        ----------
        rng : Generator
        tasks : int
            Number of tasks.
        progress : float
            Fraction of the training completed, in [0, 1].

        Returns
        -------
        TaskBatch
        """

    @abstractmethod
    def all_tasks(self) -> Any:
        """A `TaskBatch` of all tasks, under evaluation conditions (``progress`` 1)."""

    @abstractmethod
    def collect(self, policy: nn.Module, params: Parameters, tasks: Any, part: Part, rng: np.random.Generator) -> Any:
        """Collect the data of one part of each task.

        Parameters
        ----------
        policy : Module
        params : Parameters
            Parameters at which the policy acts.
        tasks : TaskBatch
        part : {"support", "query"}
        rng : Generator

        Returns
        -------
        Any
            A batch for `utility`, with the attributes ``tasks`` and ``weight``.
        """

    @abstractmethod
    def utility(self, policy: nn.Module, params: Parameters, batch: Any, *, twice: bool = False) -> Tensor:
        """Utility of each task in `batch`, differentiable with respect to `params`.

        Parameters
        ----------
        policy : Module
        params : Parameters
        batch
            Returned by `collect`.
        twice : bool
            Whether the result must be differentiable twice, as second-order MAML needs.

        Returns
        -------
        Tensor of shape (tasks,)

        Raises
        ------
        FloatingPointError
            When a utility is not finite; the message names the task and the bar.
        """

    def earns(self, progress: float) -> bool:
        """Whether the utility is what is earned, by which a worst case weighs groups; not while teachers are copied."""
        return True

    def weights(self, utility: Tensor, tasks: Any) -> Tensor:
        """Weight of each task in the loss, of mean 1 over all processes; all alike, unless the objective is a worst case.

        Parameters
        ----------
        utility : Tensor of shape (tasks,)
        tasks : TaskBatch

        Returns
        -------
        Tensor of shape (tasks,)
            Constant: the loss is not differentiated through it.
        """
        return torch.ones_like(utility.detach())

    def minibatches(self, batches: list[Any], rng: np.random.Generator) -> Iterator[list[Any]]:
        """Split `batches` into minibatches, one per update. Each contains the same tasks in every one of `batches`."""
        yield batches

    def sequences(self, policy: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """The input sequences of the policy's memory in `batch`.

        Returns
        -------
        inputs : Tensor of shape (tasks, sequences per task, T, inputs)
        steps : Tensor of int, shape (tasks, sequences per task)
            Number of valid steps in each sequence.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sequences to infer a belief from")

    def score(self, policy: nn.Module, params: Parameters, batch: Any) -> Tensor:
        """Score of each task in `batch`, shape (tasks,), as compared on validation; the utility by default."""
        return self.utility(policy, params, batch)

    def settled(self, progress: float) -> bool:
        """Whether the training conditions (such as the cost curriculum) no longer change, so that patience may count."""
        return True


class Objective(ABC):
    """Settings of the quantity that training maximises."""

    kinds: ClassVar[dict[str, type[Objective]]] = {}

    def __init_subclass__(cls) -> None:
        register(Objective.kinds, cls.__name__, cls, "objectives")

    @abstractmethod
    def policy(self, settings: Any, tasks: Any) -> nn.Module:
        """A new policy for `tasks`, with initial weights drawn from torch's global generator."""

    @abstractmethod
    def sampler(self, tasks: Any, policy: nn.Module, context: int, support: int = 0) -> TaskSampler:
        """Build the sampler of this objective on `tasks`.

        Parameters
        ----------
        tasks : TaskSet or callable
        policy : Module
        context : int
            Steps of memory before the first step that is evaluated.
        support : int
            Largest number of support steps; 0 uses all.

        Returns
        -------
        TaskSampler
        """

    @abstractmethod
    def recent(self, task: Any, policy: nn.Module, support: int) -> TaskSampler:
        """A sampler with the single task to adapt to.

        Parameters
        ----------
        task : Bars or callable
            Bars, of which the last `support` are the support; or an environment factory, of which episodes are the support.
        policy : Module
        support : int
            Number of support steps.

        Returns
        -------
        TaskSampler
        """

    @abstractmethod
    def deploy(self, policy: nn.Module, context: int, name: str, seen_until: pd.Timestamp | None) -> Any:
        """The deployable form of `policy`: a `Strategy`, or an `Agent` for environments.

        Parameters
        ----------
        policy : Module
        context : int
            Steps of memory.
        name : str
        seen_until : Timestamp or None
            Last bar used for training or selection.
        """

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Read a saved result of `deploy`."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Settings, for JSON."""

    @classmethod
    @abstractmethod
    def from_dict(cls, config: dict[str, Any]) -> Objective:
        """Rebuild from the result of `to_dict`, after a round trip through JSON."""
