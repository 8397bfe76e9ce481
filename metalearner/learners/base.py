"""`MetaLearner`, which learns how to adapt, and `MetaPolicy`, which has learnt it."""

from __future__ import annotations

import copy
import json
import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from rich.progress import track
from safetensors import SafetensorError
from torch import nn

from markets import InputError, TaskSet
from markets.common.formats import check_format
from metalearner.objective import Log, Objective, TaskSampler
from metalearner.objectives.pathwise import Pathwise
from metalearner.training.algorithm import Algorithm
from metalearner.training.config import Training
from metalearner.training.loop import train
from strategies import PolicySettings
from strategies.networks import Parameters, Shape
from strategies.policy import with_shrink
from strategies.serialization import write_config


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

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[MetaPolicy]]] = {}

    def __init_subclass__(cls, kind: str) -> None:
        """`kind` is what saved models call the class: each has its own, or one would be read as the other."""
        other = MetaPolicy.kinds.get(kind)
        if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"there is a MetaPolicy of kind {kind!r} already, {other.__qualname__}; choose another")
        cls.kind = kind
        MetaPolicy.kinds[kind] = cls

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
        return self._deploy(self.policy, self.name).fingerprint

    def _deploy(self, policy: nn.Module, name: str, context: int | None = None) -> Any:
        return self.objective.deploy(policy, context or self.context, name, self.seen_until)

    @abstractmethod
    def adapt(self, task: Any) -> Any:
        """What acts after seeing `task`.

        Parameters
        ----------
        task : Bars or callable
            Bars: the strategy for what comes after them, which reads nothing later than their last row. A maker of
            gymnasium environments: the agent for it.

        Raises
        ------
        InputError
            When `task` is neither, or has too few bars.
        """

    @abstractmethod
    def unadapted(self) -> Any:
        """The same policy kept from adapting: the control of every comparison."""

    @abstractmethod
    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar over each task's query after adapting to its support, shape (len(tasks),).

        Parameters
        ----------
        tasks : TaskSet
            Their supports are of one length.
        """

    @abstractmethod
    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """The same with the policy kept from adapting."""

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
        folder = Path(self._deploy(self.policy, self.name).save(folder))
        objective = {"kind": type(self.objective).__name__} | self.objective.to_dict()
        self.history.to_csv(folder / "history.csv", index=False)
        self._save_more(folder)
        write_config(
            folder / "meta.json", {"learner": self.kind, "name": self.name, "objective": objective, **self._config()}
        )
        return folder

    def _save_more(self, folder: Path) -> None:  # noqa: B027 - most have nothing more
        """Write what JSON cannot hold."""

    def _config(self) -> dict[str, Any]:
        """What a saved one needs besides, for JSON."""
        return {}

    @classmethod
    def load(cls, config: dict[str, Any], folder: Path) -> MetaPolicy:
        """What `save` wrote; `config` is its ``meta.json``. For all learners there is `load_meta`."""
        described = dict(config["objective"])
        objective = Objective.kinds[described.pop("kind")].from_dict(described)
        stored = objective.load(folder)
        meta = cls(config["name"], stored.policy, stored.context, objective, stored.seen_until)
        meta._restore(config, folder)
        if (folder / "history.csv").stat().st_size > 1:  # a learner that does not train has none
            meta.history = pd.read_csv(folder / "history.csv")
        return meta

    def _restore(self, config: dict[str, Any], folder: Path) -> None:  # noqa: B027 - most have nothing to take over
        """Take over what `_config` and `_save_more` wrote."""


def query_scores(sampler: TaskSampler, policy: nn.Module, params: Parameters, rng: np.random.Generator) -> np.ndarray:
    """What `policy` earns at `params` in the query of each task, shape (tasks,)."""
    with torch.no_grad():
        batch = sampler.collect(policy, params, sampler.all_tasks(), "query", rng)
        return sampler.score(policy, params, batch).numpy()


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

    trains: ClassVar[bool] = True  # whether there is meta-training at all

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

    def sampler(self, policy: nn.Module, tasks: Any) -> TaskSampler:
        """`tasks` as the learner meets them."""
        return self.objective.sampler(tasks, policy, self.context)

    @abstractmethod
    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Algorithm:
        """How `policy` learns from the tasks of `sampler`, and is judged on them."""

    def select(self, judged: Algorithm) -> Algorithm:
        """Choose on validation tasks what training does not: by default nothing.

        Parameters
        ----------
        judged : Algorithm
            Of the trained module, on the validation tasks that choose.

        Returns
        -------
        Algorithm
            On the same tasks, adapting as the policy will when it is deployed.
        """
        return judged

    @abstractmethod
    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> MetaPolicy:
        """The meta-policy of what was learnt.

        Parameters
        ----------
        trained : Algorithm
            On the training tasks.
        selected : Algorithm
            What `select` returned.
        seen_until : Timestamp or None
        history : DataFrame
        """

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
        """Build a policy, train it on `tasks`, select on `validation`, deploy.

        Parameters
        ----------
        tasks, validation : TaskSet or callable
            Tasks of a market, or a maker of gymnasium environments (`metalearner.environments`). Validation decides when to
            stop and how much of a tilt stands. A learner that does not train ignores `tasks`.
        checkpoint : path, optional
            File to keep the state of the training in.
        resume : bool
            Continue from `checkpoint`; on one machine the end is bit-identical to a run that was never interrupted.
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
            policy: Any = self.objective.policy(self.policy, tasks if self.trains else validation).eval()
            trained = self.algorithm(policy, self.sampler(policy, tasks)) if self.trains else None
            choosing, judging = self._split(validation)
            judged = self.algorithm(policy, self.sampler(policy, choosing))
        history = pd.DataFrame()
        if trained is None:
            trained = judged
        else:
            judged.module = trained.module
            history = train(
                trained, judged, self.training, self._config(),
                checkpoint=checkpoint, resume=resume, progress=progress, log=log, title=self.name, ceiling=ceiling,
            )  # fmt: skip
        selected = self.select(judged)
        if judging is not None and self.training.evidence is not None:
            with torch.random.fork_rng(devices=[]):
                selected.sampler = self.sampler(policy, judging)
            select_shrinkage(policy, selected, self.training.evidence, progress=progress)
        trained.module.cpu()
        return self.deploy(trained, selected, seen_until(*([tasks] if self.trains else []), validation), history)

    def _split(self, validation: Any) -> tuple[Any, Any]:
        """Validation tasks that choose, and those that judge the tilt, if any: only a trader has a base to tilt."""
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

    def _config(self) -> dict[str, Any]:
        """All settings, for JSON."""
        return asdict(self) | {"learner": type(self).__name__, "objective": self.objective.to_dict()}


def select_shrinkage(
    policy: Any,
    judged: Algorithm,
    evidence: float,
    grid: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0),
    *,
    progress: bool = False,
) -> None:
    """Leave `policy` the share of its tilt that validation supports: the one that gains most over the base, or 0.

    Parameters
    ----------
    policy : Policy
        That of `judged`; its buffer ``shrink`` is set.
    judged : Algorithm
        On tasks that chose nothing yet.
    evidence : float
        t-statistic, over the tasks, that the gain must reach. Without it the base is held: an adaptation must first do no
        harm.
    grid : tuple of float
        Shares that are tried, besides 0.
    """
    before = float(policy.shrink)

    def utilities(share: float) -> np.ndarray:
        policy.shrink.fill_(share)
        with torch.no_grad():
            return judged.scores(np.random.default_rng(0)).numpy()

    try:
        shares = track((0.0, *grid), "judging the tilt", transient=True, disable=not progress)
        base, *found = [utilities(share) for share in shares]
    except BaseException:
        policy.shrink.fill_(before)
        raise
    gains = {share: utility - base for share, utility in zip(grid, found, strict=True)}
    best = max(gains, key=lambda share: gains[share].mean())
    error = gains[best].std(ddof=1) / np.sqrt(len(base)) if len(base) > 1 else np.inf
    policy.shrink.fill_(best if gains[best].mean() > evidence * error else 0.0)


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
        config: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        check_format(config, folder / "meta.json", "train it again")
        return kinds[config["learner"]].load(config, folder)
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
