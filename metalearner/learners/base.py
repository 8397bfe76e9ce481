"""`MetaLearner`, which learns how to adapt, and `MetaPolicy`, which has learnt it."""

from __future__ import annotations

import copy
import json
import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from rich.progress import track
from safetensors import SafetensorError
from torch import nn

from markets import InputError, TaskSet
from metalearner.objective import Log, Objective
from metalearner.objectives.pathwise import Pathwise
from metalearner.training.loop import Lessons, Training, train
from strategies import PolicySettings
from strategies.networks import Shape
from strategies.policy import with_shrink


class MetaPolicy(ABC):
    """A policy and the way in which it adapts.

    Attributes
    ----------
    name : str
    policy : Module
    context : int
        Bars of memory, 1 for none.
    objective : Objective
    history : DataFrame
        Training curve, a row an evaluation: step, utility, validation.
    seen_until : Timestamp or None
        Last bar that training or validation read: what comes before is no test.
    """

    learner: ClassVar[str]
    kinds: ClassVar[dict[str, type[MetaPolicy]]] = {}

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.learner] = cls

    def __init__(
        self,
        name: str,
        policy: Any,
        context: int,
        objective: Objective,
        seen_until: pd.Timestamp | None = None,
        history: pd.DataFrame | None = None,
    ):
        self.name, self.policy, self.context, self.objective = name, policy.eval(), context, objective
        self.seen_until = seen_until
        self.history = pd.DataFrame() if history is None else history

    @property
    def fingerprint(self) -> str:
        """Of the weights before any adaptation; see `PolicyStrategy.fingerprint`."""
        return self._deployed(self.policy, self.name).fingerprint

    def _deployed(self, policy: nn.Module, name: str, context: int | None = None) -> Any:
        return self.objective.deploy(policy, context or self.context, name, self.seen_until)

    @abstractmethod
    def adapt(self, task: Any) -> Any:
        """What acts after seeing `task`.

        Raises
        ------
        InputError
            When `task` is neither, or has too few bars.

        Parameters
        ----------
        task : Bars or callable
            Bars: the strategy for what comes after them, which reads nothing later than their last row. A maker of
            gymnasium environments: the agent for it.
        """

    @abstractmethod
    def unadapted(self) -> Any:
        """The same policy kept from adapting: the control of every comparison."""

    def shrunk(self, share: float, name: str) -> MetaPolicy:
        """The same with another share of its tilt.

        Parameters
        ----------
        share : float
            In [0, 1].
        name : str
        """
        other = copy.copy(self)
        other.name, other.policy = name, with_shrink(self.policy, share).eval()
        return other

    def save(self, folder: str | Path) -> Path:
        """Write the policy (as `PolicyStrategy.save` does), and ``meta.json`` last: where it is, everything is."""
        folder = Path(self._deployed(self.policy, self.name).save(folder))
        about = {"learner": self.learner, "name": self.name, "objective": self.objective.to_dict(), **self._about()}
        about["objective"]["kind"] = type(self.objective).__name__
        self.history.to_csv(folder / "history.csv", index=False)
        self._keep(folder)
        beside = folder / ".meta.json"
        beside.write_text(json.dumps(about, indent=1))
        beside.replace(folder / "meta.json")
        return folder

    def _keep(self, folder: Path) -> None:  # noqa: B027 - most have nothing more
        """Write what JSON cannot hold."""

    def _about(self) -> dict[str, Any]:
        """What a saved one needs besides, for JSON."""
        return {}

    @classmethod
    def load(cls, about: dict[str, Any], folder: Path) -> MetaPolicy:
        """What `save` wrote; `about` is its ``meta.json``. For all learners there is `load_meta`."""
        objective = Objective.kinds[about["objective"]["kind"]].from_dict(about["objective"])
        stored = objective.load(folder)
        meta = cls(about["name"], stored.policy, stored.context, objective, stored.seen_until)
        meta._restore(about, folder)
        if (folder / "history.csv").stat().st_size > 1:  # a learner that does not train has none
            meta.history = pd.read_csv(folder / "history.csv")
        return meta

    def _restore(self, about: dict[str, Any], folder: Path) -> None:  # noqa: B027 - most have nothing to take over
        """Take over what `_about` said."""


@dataclass(frozen=True)
class MetaLearner(ABC):
    """Learns from tasks how to adapt to the next one.

    Attributes
    ----------
    policy : Shape
        Of the network; `PolicySettings` where it trades.
    objective : Objective
    training : Training
    context : int
        Bars of memory before the first that is judged, 1 for none; of no meaning to learners whose policy has no memory.
    name : str

    Raises
    ------
    InputError
        When a setting is out of range, or two do not go together; so do those of every learner.
    """

    policy: Shape = field(default_factory=PolicySettings)
    objective: Objective = field(default_factory=Pathwise)
    training: Training = field(default_factory=Training)
    context: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise InputError(
                f"{self.name}: objective is {self.objective!r}; it wants Pathwise(...), PPO(...) or another Objective"
            )
        if self.context < 1:
            raise InputError(f"{self.name}: context is {self.context}; it must be at least 1")

    @abstractmethod
    def lessons(self, policy: nn.Module, tasks: Any) -> Lessons:
        """What is done with `tasks`."""

    def used(self, judged: Lessons) -> Lessons:
        """`judged` as the policy will be used, where that is not how it was trained: by default it is."""
        return judged

    @abstractmethod
    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> MetaPolicy:
        """The meta-policy of what was learnt; `used` are the lessons as they were judged on validation tasks."""

    def fit(
        self,
        tasks: Any,
        validation: Any,
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        log: Log | None = None,
        ceiling: float | None = None,
    ) -> MetaPolicy:
        """Meta-train on `tasks`; `validation` decides when to stop and how much of a tilt stands.

        Parameters
        ----------
        tasks, validation : TaskSet or callable
            Tasks of a market, or a maker of gymnasium environments (`metalearner.environments.rollouts`).
        checkpoint : path, optional
            File to keep the state of the training in.
        resume : bool
            Continue from `checkpoint`; the end is bit-identical to a run that was never interrupted.
        progress : bool
        log : callable, optional
            Called with (metrics, step).
        ceiling : float, optional
            Utility of the best possible on `validation`; progress is shown as a share of it.

        Raises
        ------
        InputError
            When tasks, policy and objective do not go together, or a checkpoint is another training's.
        FloatingPointError
            See `train`.

        Warns
        -----
        UserWarning
            When there are too few validation tasks to support a tilt, whatever is learnt.
        """
        with torch.random.fork_rng(devices=[]):  # the start is seeded; the caller's generator is left alone
            torch.manual_seed(self.training.seed)
            policy: Any = self.objective.policy(self.policy, tasks)
            lessons = self.lessons(policy, tasks)
            choosing, judging = self._split(validation)
            chosen = self._judged(lessons, policy, choosing)
        history = train(
            lessons, chosen, self.training, self._said(),
            checkpoint=checkpoint, resume=resume, progress=progress, log=log, title=self.name, ceiling=ceiling,
        )  # fmt: skip
        used = self.used(chosen)
        self._weigh(policy, used, judging, progress)
        lessons.module.cpu()
        return self.made(lessons, used, seen_until(tasks, validation), history)

    def _split(self, validation: Any) -> tuple[Any, Any]:
        """Validation tasks that choose, and those that weigh the tilt, if any: only a trader has a base to tilt."""
        if self.training.evidence is None or not isinstance(validation, TaskSet):
            return validation, None
        choosing, judging = _halves(validation)
        if len(judging) < 2:
            warnings.warn(
                f"{len(validation)} validation tasks cannot support a tilt, so that the base will be held whatever is learnt: "
                "at least 4 are needed; give more bars, or validation an earlier start",
                stacklevel=3,
            )
        return choosing, judging

    def _weigh(self, policy: Any, used: Lessons, judging: Any, progress: bool) -> None:
        """Leave the policy the share of its tilt that other tasks support, adapting the same way."""
        if judging is not None and self.training.evidence is not None:
            with torch.random.fork_rng(devices=[]):
                used.worlds = self.lessons(policy, judging).worlds
            share = earned_share(policy, used, self.training.evidence, progress=progress)
            policy.settings = replace(policy.settings, shrink=share)

    def _judged(self, lessons: Lessons, policy: nn.Module, tasks: Any) -> Lessons:
        """What `lessons` are judged by: others, of the same module."""
        judged = self.lessons(policy, tasks)
        judged.module = lessons.module
        return judged

    def _said(self) -> dict[str, Any]:
        return asdict(self) | {"learner": type(self).__name__, "objective": self.objective.to_dict()}


def earned_share(
    policy: Any, validation: Lessons, needed: float, grid=(0.25, 0.5, 0.75, 1.0), *, progress: bool = False
) -> float:
    """Share of the tilt that validation supports: the one that gains most over the base, or 0.

    Parameters
    ----------
    policy : Policy
        That of `validation`.
    validation : Lessons
    needed : float
        t-statistic, over the validation tasks, that the gain must reach. Without evidence the base is held: an adaptation
        must first do no harm.
    """
    own = policy.settings

    def utilities(share: float) -> np.ndarray:
        policy.settings = replace(own, shrink=share)
        with torch.no_grad():
            return validation.scores(np.random.default_rng(0)).numpy()

    try:
        shares = track((0.0, *grid), "weighing the tilt", transient=True, disable=not progress)
        base, *found = [utilities(share) for share in shares]
        gains = {share: utility - base for share, utility in zip(grid, found, strict=True)}
    finally:
        policy.settings = own
    best = max(gains, key=lambda share: gains[share].mean())
    error = gains[best].std(ddof=1) / np.sqrt(len(base)) if len(base) > 1 else np.inf
    return best if gains[best].mean() > needed * error else 0.0


def _halves(validation: TaskSet) -> tuple[TaskSet, TaskSet]:
    """Tasks that choose the weights, and later ones that decide on the tilt: those that have chosen would flatter it."""
    half = (len(validation) + 1) // 2
    choosing = TaskSet(validation.tasks[:half])
    return choosing, TaskSet(validation.tasks[half:]) if len(validation) > 1 else choosing


def seen_until(*sets: Any) -> pd.Timestamp | None:
    """Last bar of any task; None where tasks are no stretches of bars."""
    if not all(isinstance(tasks, TaskSet) for tasks in sets):
        return None
    return max(task.times[2] for tasks in sets for task in tasks)


def load_meta(folder: str | Path) -> MetaPolicy:
    """Read what `MetaPolicy.save` wrote.

    Raises
    ------
    InputError
        When the folder holds no meta-policy, or one of an unknown learner or an earlier version.
    """
    folder = Path(folder)
    kinds = MetaPolicy.kinds
    try:
        about: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        return kinds[about["learner"]].load(about, folder)
    except InputError:
        raise  # it says what is wrong
    except (OSError, SafetensorError) as error:
        if (folder / "meta.json").exists():
            raise InputError(
                f"{folder}: a trained model of which a file cannot be read ({error}); train it again"
            ) from None
        other = " but an adapted strategy" if (folder / "strategy.json").exists() else ""
        raise InputError(
            f"{folder}: no trained model there{other} (meta.json is missing); make one with: regimeshift train"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder}/meta.json: not a trained model of {', '.join(kinds)} in this version ({error!r}); train it again"
        ) from None
