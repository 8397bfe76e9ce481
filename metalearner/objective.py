"""What learning maximises, and on which tasks: the two interfaces between the learners and the worlds they learn from.

An `Objective` is settings; bound to tasks it is a `Worlds`, which draws some of them, collects what a policy meets there, and
says what that was worth, differentiably. A learner sees nothing else, so the same learner trades a market with the exact
gradient of `metalearner.objectives.pathwise` and pulls a bandit's arms with `metalearner.objectives.policy_gradient`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn

from strategies.networks import Parameters

Part = Literal["support", "query"]


class Worlds(ABC):
    """The tasks of one objective.

    What `collect` returns has the tasks as ``drawn``, and as ``share`` their weight in the loss.

    Attributes
    ----------
    identity : str
        Of the tasks: two of one identity hold the same.
    steered : bool
        What is collected depends on the policy that acts.
    """

    identity: str
    steered: bool = False

    @abstractmethod
    def draw(self, rng: np.random.Generator, tasks: int, progress: float) -> Any:
        """Some tasks of training, at `progress` in [0, 1] of it."""

    @abstractmethod
    def everything(self) -> Any:
        """All tasks, as they are judged."""

    @abstractmethod
    def share(self, drawn: Any, rank: int, ranks: int) -> Any:
        """Every so-many-th of the drawn tasks."""

    @abstractmethod
    def numbers(self, drawn: Any) -> np.ndarray:
        """What tells the drawn tasks apart, whichever process has them."""

    @abstractmethod
    def collect(self, policy: nn.Module, params: Parameters, drawn: Any, part: Part, rng: np.random.Generator) -> Any:
        """What the policy meets in one part of the drawn tasks: a batch for `utility`, whose ``drawn`` are the tasks."""

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

    @abstractmethod
    def size(self, drawn: Any) -> int:
        """Number of the drawn tasks."""


class Objective(ABC):
    """Settings of what is maximised."""

    kinds: ClassVar[dict[str, type[Objective]]] = {}

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.__name__] = cls

    @abstractmethod
    def policy(self, settings: Any, tasks: Any) -> nn.Module:
        """A new policy for `tasks`, its weights drawn from torch's generator."""

    @abstractmethod
    def on(self, tasks: Any, policy: nn.Module, context: int, support: int = 0) -> Worlds:
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
    def recent(self, task: Any, policy: nn.Module, support: int) -> Worlds:
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
    def from_dict(cls, about: dict[str, Any]) -> Objective:
        """From what `to_dict` and JSON made of it."""


Log = Callable[[dict[str, float], int], None]
