"""What the engine can run, recognised by its methods alone: this package does not know how a learner learns."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

from markets import Bars, TaskSet
from strategies import Strategy


class Adaptive(Protocol):
    """Anything with `adapt`: a `Strategy`, or a meta-policy returned by a meta-learner."""

    name: str

    def adapt(self, bars: Bars) -> Strategy: ...


class Learner(Protocol):
    """Anything with `fit`, which learns from tasks what is then adapted: the learners of `metalearner`, or a user's.

    ``unadapted()`` of what `fit` returns is its control, and ``with_seed(seed)`` of the learner a copy with another seed; they
    are needed for `walk_forward`'s `controls` and `seeds` alone.
    """

    @property
    def name(self) -> str: ...

    def fit(self, tasks: TaskSet, validation: TaskSet, *, progress: bool) -> Any: ...


def learns(strategy: Adaptive | Learner) -> TypeGuard[Learner]:
    """Whether it is a learner: it can be fitted, and cannot trade before."""
    return hasattr(strategy, "fit") and not hasattr(strategy, "adapt") and not hasattr(strategy, "plan")
