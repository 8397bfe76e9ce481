"""`MetaLearner`, which learns how to adapt, and `MetaPolicy`, which has learnt it."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from markets import Bars, InputError, TaskSet
from metalearner.training import Training
from strategies import Policy, PolicyStrategy
from strategies.policy import with_shrink

Log = Callable[[dict[str, float], int], None]


class MetaPolicy(ABC):
    """A policy and the way in which it adapts.

    Attributes
    ----------
    name : str
    policy : Policy
    context : int
        Bars of memory, 1 for none.
    history : DataFrame
        Training curve, a row an evaluation: step, utility, validation, cost.
    seen_until : Timestamp or None
        Last bar that training or validation read: what comes before is no test.
    """

    learner: ClassVar[str]

    def __init__(
        self,
        name: str,
        policy: Policy,
        context: int,
        training: Training,
        seen_until: pd.Timestamp | None = None,
        history: pd.DataFrame | None = None,
    ):
        self.name, self.policy, self.context, self.training = name, policy.eval(), context, training
        self.seen_until = seen_until
        self.history = pd.DataFrame() if history is None else history

    @property
    def fingerprint(self) -> str:
        """Of the weights before any adaptation; see `PolicyStrategy.fingerprint`."""
        return self._strategy(self.policy, self.context, self.name).fingerprint

    def _strategy(self, policy: Policy, context: int, name: str) -> PolicyStrategy:
        return PolicyStrategy(policy, context, name, self.seen_until)

    @abstractmethod
    def adapt(self, bars: Bars) -> PolicyStrategy:
        """The strategy for what comes after `bars`; reads nothing later than their last row."""

    @abstractmethod
    def unadapted(self) -> PolicyStrategy:
        """The same policy kept from adapting: the control of every comparison."""

    def save(self, folder: str | Path) -> Path:
        """Write the policy (as `PolicyStrategy.save` does) and ``meta.json``."""
        folder = self._strategy(self.policy, self.context, self.name).save(folder)
        about = {"learner": self.learner, "name": self.name, "training": asdict(self.training)}
        (folder / "meta.json").write_text(json.dumps(about, indent=1))
        self.history.to_csv(folder / "history.csv", index=False)
        return folder


def shrunk(meta: MetaPolicy, share: float, name: str) -> MetaPolicy:
    """The same meta-policy with another share of its tilt."""
    other = copy.copy(meta)
    other.name, other.policy = name, with_shrink(meta.policy, share).eval()
    return other


class MetaLearner(ABC):
    """Learns from tasks how to adapt to the next one."""

    @abstractmethod
    def fit(
        self,
        tasks: TaskSet,
        validation: TaskSet,
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        log: Log | None = None,
    ) -> MetaPolicy:
        """Meta-train on `tasks`; `validation` decides when to stop and how much of the tilt stands.

        Parameters
        ----------
        tasks, validation : TaskSet
        checkpoint : path, optional
            File to keep the state of the training in.
        resume : bool
            Continue from `checkpoint`; the end is bit-identical to a run that was never interrupted.
        progress : bool
        log : callable, optional
            Called with (metrics, step).
        """


def load_meta(folder: str | Path) -> MetaPolicy:
    """Read what `MetaPolicy.save` wrote.

    Raises
    ------
    InputError
        When the folder holds no meta-policy, or one of an unknown learner.
    """
    folder = Path(folder)
    kinds: dict[str, type[MetaPolicy]] = {kind.learner: kind for kind in MetaPolicy.__subclasses__()}
    try:
        about: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        kind = kinds[about["learner"]]
        training = Training.from_dict(about["training"])
    except OSError:
        raise InputError(
            f"{folder}: no trained model there (meta.json is missing); make one with: regimeshift train"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder}/meta.json: not a trained model of {', '.join(kinds)} ({error!r})") from None
    stored = PolicyStrategy.load(folder)
    return kind(about["name"], stored.policy, stored.context, training, stored.seen_until)
