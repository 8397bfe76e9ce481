"""Base classes: `MetaLearner` is meta-trained on tasks, and returns a `MetaPolicy` that adapts to new data."""

from __future__ import annotations

import copy
import json
import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from torch import nn

from markets import Bars, Costs, Execution, InputError, TaskSet
from markets.common.formats import check_format
from markets.common.kinds import find, register
from metalearner.learners.tilt import TiltTest, halves, select_shrinkage
from metalearner.learners.transfer import NewMarket, Origin, TrainingBars, check_transferable, known_until
from metalearner.objective import Log, Objective, TaskSampler
from metalearner.objectives.across import Across
from metalearner.objectives.pathwise import Pathwise
from metalearner.training.algorithm import Algorithm
from metalearner.training.config import Training
from metalearner.training.loop import train
from strategies import PolicySettings
from strategies.learned import LearnedStrategy
from strategies.networks import Parameters, Shape
from strategies.policy import with_shrink
from strategies.serialization import replacing_files, settled, write_config


class MetaPolicy(ABC):
    """A meta-trained policy, with its adaptation procedure.

    Attributes
    ----------
    name : str
        Label in tables and plots.
    policy : Module
        The policy before adaptation.
    context : int
        Bars of memory; 1 is none.
    objective : Objective
    history : DataFrame
        Training curve, one row per validation: step, utility, validation.
    seen_until : Timestamp or None
        Last bar used by training or validation. Results up to this bar are in sample. None for environments.
    tilt_test : TiltTest or None
        How the factor on the tilt was selected; None where it was not tested.
    trained_on : TrainingBars or None
        What the bars of training were like, which `adapt` compares; None for environments, and models of earlier versions.
    transferred_from : Origin or None
        Where the policy comes from, if it was trained on another market; see `transfer`.
    """

    tilt_test: TiltTest | None = None
    trained_on: TrainingBars | None = None
    transferred_from: Origin | None = None
    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[MetaPolicy]]] = {}

    def __init_subclass__(cls, kind: str = "") -> None:
        """Register the class under `kind`, the name by which saved models refer to it; it must be unique."""
        if not kind:
            raise TypeError(
                f'{cls.__name__} needs a kind, its name in saved models: class {cls.__name__}(MetaPolicy, kind="mine")'
            )
        register(MetaPolicy.kinds, kind, cls, "kinds of MetaPolicy")
        cls.kind = kind

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

    def __repr__(self) -> str:
        seen = "" if self.seen_until is None else f", trained on data up to {self.seen_until}"
        return f"{type(self).__name__}({self.name!r}{seen})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the policy before adaptation; see `PolicyStrategy.fingerprint`."""
        return self._deploy(self.policy, self.name).fingerprint

    @property
    def remark(self) -> str:
        """Where the policy comes from, and what validation says of its tilt; empty where there is nothing to say."""
        share = getattr(self.policy, "shrink", None)
        came = f", {self.transferred_from}," if self.transferred_from else ""
        if share is None or (share and self.tilt_test is None):
            return f"{self.name}{came} keeps {share:.0%} of its tilt, which was not tested there." if came else ""
        base = self.policy.settings.base_name
        what = f"keeps {share:.0%} of its tilt on its base ({base})" if share else f"holds its base ({base})"
        why = "the factor on its tilt is 0" if self.tilt_test is None else self.tilt_test
        return f"{self.name}{came} {what}: {why}."

    def _deploy(self, policy: nn.Module, name: str, context: int | None = None) -> Any:
        return self.objective.deploy(policy, context or self.context, name, self.seen_until)

    @abstractmethod
    def adapt(self, task: Any) -> Any:
        """Adapt to `task`.

        Parameters
        ----------
        task : Bars or callable
            Bars to adapt to, of which none after the last row is used; or a factory of gymnasium environments.

        Returns
        -------
        Strategy or Agent
            A strategy for the bars that follow, or an agent for the environment.

        Raises
        ------
        InputError
            When `task` is neither, has too few bars, or bars of another length than those of training.
        """

    def _check_like_training(self, task: Any) -> None:
        if self.trained_on is not None and isinstance(task, Bars):
            self.trained_on.check(task, self.name)

    def transfer(
        self,
        bars: Bars,
        *,
        costs: Costs | str | None = None,
        execution: Execution | None = None,
        validation: TaskSet | None = None,
        evidence: float | None = 1.0,
    ) -> Self:
        """The policy for another market: other symbols, another asset class, or bars of another length.

        Nothing is trained. Weights stay as they are, and so do a network's numbers of bars: its features, its memory and its
        steps. Half-lives and windows of volatility are restated for the length of the bars; see `metalearner.learners.transfer`.
        The factor on the tilt is tested anew on the bars given, since evidence of one market is none of another: without
        evidence the policy holds its base. Controls are handed over alike.

        Parameters
        ----------
        bars : Bars
            The past of the new market. Nothing after their last row is used, and results up to it are in sample.
        costs : Costs or str, optional
            What trading costs there; by default what the policy was trained with.
        execution : Execution, optional
            The account there; by default that of training.
        validation : TaskSet, optional
            Tasks of the past of that market, which training has not seen, to test the tilt on. By default windows of `bars`; of
            bars with symbols that training has seen, those after it alone.
        evidence : float, optional
            t-statistic that the gain of the tilt over the base must exceed with many tasks; with few, see `TiltTest.wanted`.
            None keeps the factor as it is, untested.

        Returns
        -------
        MetaPolicy
            Of the same kind, for `adapt` to bars like those given. Its `transferred_from` says where it comes from.

        Raises
        ------
        InputError
            When the policy acts in environments, was saved by an earlier version, or reads what `bars` do not have; or there are
            too few bars to adapt to.
        """
        check_transferable(self, bars)
        assert self.trained_on is not None
        seen = None if self.seen_until is None else str(self.seen_until)
        origin = Origin(self.fingerprint, self.trained_on, seen, self.transferred_from)
        return self._transferred(NewMarket(bars, origin, costs, execution, validation, evidence))

    def _transferred(self, market: NewMarket) -> Self:
        """The policy for a market; subclasses hand over what else they hold."""
        other, objective = copy.copy(self), self.objective
        assert isinstance(objective, Pathwise)
        other.objective, other.policy = market.objective(objective), market.policy(self.policy)
        other.trained_on, other.transferred_from = market.like, market.origin
        last = market.bars.index[-1]
        seen = last if self.seen_until is None else known_until(self.seen_until, self.trained_on, market.bars)
        other.seen_until = max(seen, last)
        # refuses too few bars, and costs that these do not quote
        other.objective.recent(market.bars, other.policy, other.support)
        other.tilt_test = market.earned(other.policy, other.evaluate, other.support)
        return other

    def as_trained(self) -> Any:
        """The policy with the windows and the factor on its tilt that it has, and without steps, for whatever bars.

        It is what `transfer` is compared with: nothing is checked, restated or tested.
        """
        return self._deploy(self.policy, f"{self.name}, as trained")

    @property
    def support(self) -> int:
        """Bars that it reads or adapts to, the last ones; 0 is all that there are."""
        return self.context

    @abstractmethod
    def unadapted(self) -> Any:
        """The strategy or agent without adaptation, the control in comparisons."""

    def controls(self) -> dict[str, Any]:
        """All strategies or agents to compare with, by what they are: ``unadapted``, and what a subclass adds."""
        return {"unadapted": self.unadapted()}

    @abstractmethod
    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each task's query, after adapting to its support.

        Parameters
        ----------
        tasks : TaskSet
            With supports of equal length.

        Returns
        -------
        ndarray of shape (len(tasks),)
        """

    @abstractmethod
    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each task's query without adaptation, shape (len(tasks),)."""

    def shrunk(self, share: float, name: str) -> MetaPolicy:
        """A copy with another factor on the policy's tilt.

        Parameters
        ----------
        share : float
            Factor in [0, 1]; 0 is the base.
        name : str
            Name of the copy.
        """
        other = copy.copy(self)
        other.name, other.policy, other.tilt_test = name, with_shrink(self.policy, share).eval(), None
        return other

    def save(self, folder: str | Path) -> Path:
        """Write the policy (as `PolicyStrategy.save` does), the training curve and ``meta.json``.

        A model that the folder holds already is replaced as a whole; see `strategies.serialization.replacing_files`.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            When the disk is full or the folder cannot be written to.
        """
        objective = {"kind": type(self.objective).__name__} | self.objective.to_dict()
        tested = None if self.tilt_test is None else asdict(self.tilt_test)
        with replacing_files(folder) as beside:
            self._deploy(self.policy, self.name).save(beside)
            self.history.to_csv(beside / "history.csv", index=False)
            self._save_more(beside)
            write_config(
                beside / "meta.json",
                {
                    "learner": self.kind,
                    "name": self.name,
                    "objective": objective,
                    "tilt_test": tested,
                    "trained_on": None if self.trained_on is None else asdict(self.trained_on),
                    "transferred_from": None if self.transferred_from is None else asdict(self.transferred_from),
                    **self._config(),
                },
            )
        return Path(folder)

    def _save_more(self, folder: Path) -> None:  # noqa: B027 - optional hook
        """Write data of the subclass that JSON cannot hold."""

    def _config(self) -> dict[str, Any]:
        """Further settings of the subclass to save, for JSON."""
        return {}

    @classmethod
    def load(cls, config: dict[str, Any], folder: Path) -> MetaPolicy:
        """Read a meta-policy of this class, given the contents of its ``meta.json``. `load_meta` reads any class."""
        described = dict(config["objective"])
        objective = find(Objective.kinds, described.pop("kind"), f"{folder}: objective").from_dict(described)
        stored = objective.load(folder)
        meta = cls(config["name"], stored.policy, stored.context, objective, stored.seen_until)
        tested = config.get("tilt_test")  # models of earlier versions do not say
        meta.tilt_test = None if tested is None else TiltTest(**tested)
        meta.trained_on = TrainingBars(**config["trained_on"]) if config.get("trained_on") else None
        meta.transferred_from = Origin.from_dict(config["transferred_from"]) if config.get("transferred_from") else None
        meta._restore(config, folder)
        if (folder / "history.csv").stat().st_size > 1:  # empty for learners without meta-training
            meta.history = pd.read_csv(folder / "history.csv")
        return meta

    def _restore(self, config: dict[str, Any], folder: Path) -> None:  # noqa: B027 - optional hook
        """Read the data written by `_config` and `_save_more`."""


def query_scores(sampler: TaskSampler, policy: nn.Module, params: Parameters, rng: np.random.Generator) -> np.ndarray:
    """Score of `policy` at `params` on the query of each task, shape (tasks,)."""
    with torch.no_grad():
        batch = sampler.collect(policy, params, sampler.all_tasks(), "query", rng)
        return sampler.score(policy, params, batch).numpy()


@dataclass(frozen=True)
class MetaLearner(ABC):
    """Base class of the learners: settings, and `fit`, which meta-trains a policy on tasks.

    Attributes
    ----------
    policy : Shape
        Architecture of the policy: `PolicySettings` for trading, `Shape` for other environments.
    objective : Objective
        What training maximises.
    training : Training
        Settings of the training loop.
    context : int
        Bars of memory before the first bar that is evaluated; 1 is none. Ignored if the policy has no memory.
    name : str
        Label in tables and plots.

    Raises
    ------
    InputError
        When a setting is out of range, or settings are incompatible.
    """

    trains: ClassVar[bool] = True  # whether there is meta-training

    policy: Shape = field(default_factory=PolicySettings)
    objective: Objective = field(default_factory=Pathwise)
    training: Training = field(default_factory=Training)
    context: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.objective, Objective):
            raise InputError(
                f"{self.name}: objective is {self.objective!r}; it must be Pathwise(...), PPO(...) or another Objective"
            )
        if self.context < 1:
            raise InputError(f"{self.name}: context is {self.context}; it must be at least 1")

    def with_seed(self, seed: int) -> Self:
        """The same learner with another seed."""
        return replace(self, training=replace(self.training, seed=seed))

    def sampler(self, policy: nn.Module, tasks: Any) -> TaskSampler:
        """The objective's sampler on `tasks`, with this learner's context and support."""
        return self.objective.sampler(tasks, policy, self.context)

    def training_sampler(self, policy: nn.Module, tasks: Any) -> TaskSampler:
        """The sampler of the training tasks, whose utility is maximised; `sampler` by default."""
        return self.sampler(policy, tasks)

    @property
    def idle(self) -> tuple[str, ...]:
        """Settings, by dotted names, that do nothing in this learner, which tuning therefore leaves alone."""
        return () if self.trains else ("training",)

    @abstractmethod
    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Algorithm:
        """The learning rule for `policy` on the tasks of `sampler`; also used to score it on validation tasks."""

    def select(self, judged: Algorithm) -> Algorithm:
        """Select hyperparameters on validation tasks after training; none by default.

        Parameters
        ----------
        judged : Algorithm
            The trained module on the validation tasks used for selection.

        Returns
        -------
        Algorithm
            On the same tasks, adapting in the way the deployed policy will.
        """
        return judged

    @abstractmethod
    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> MetaPolicy:
        """The meta-policy that results from training.

        Parameters
        ----------
        trained : Algorithm
            On the training tasks.
        selected : Algorithm
            Returned by `select`.
        seen_until : Timestamp or None
            Last bar used by training or validation.
        history : DataFrame
            Training curve.
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
        """Build a policy, train it on `tasks`, and select on `validation`.

        Parameters
        ----------
        tasks, validation : TaskSet, Across or callable
            Market tasks, of one universe or across several, or a factory of gymnasium environments
            (`metalearner.environments`). Validation is used for early stopping, hyperparameter selection and shrinkage of the
            tilt. Learners without meta-training ignore `tasks`.
        checkpoint : path, optional
            File for the state of the training.
        resume : bool
            Continue from `checkpoint`. On the same machine the result is bit-identical to an uninterrupted run.
        progress : bool
            Whether to show a progress bar.
        log : callable, optional
            Called with (metrics, step) after each validation.
        ceiling : float, optional
            Utility of the optimal strategy on `validation`. If given, the progress bar shows the score as a fraction of it.

        Returns
        -------
        MetaPolicy

        Raises
        ------
        InputError
            When tasks, policy and objective are incompatible, or the checkpoint belongs to another training run.
        FloatingPointError
            When a utility or a gradient is not finite; see `train`.

        Warns
        -----
        UserWarning
            When there are too few validation tasks to test the tilt, so that the base will be held.
        """
        if self.trains:
            _check_alike(tasks, validation)
            tasks = _together(tasks, validation) if self.training.on_validation else tasks
        choosing, judging = self._split(validation)
        if judging is not None and len(validation) > 0 and len(judging) < 2:
            warnings.warn(
                f"{len(validation)} validation tasks cannot support a tilt, so the policy will hold its base whatever it learns; "
                "at least 4 are needed: use more bars, or start validation earlier",
                stacklevel=2,
            )
        policy, trained, judged, history = self._meta_train(
            tasks, choosing, checkpoint=checkpoint, resume=resume, progress=progress, log=log, ceiling=ceiling
        )
        selected, tested = self.select(judged), None
        if judging is not None and self.training.evidence is not None:
            with torch.random.fork_rng(devices=[]):
                selected.sampler = self.sampler(policy, judging)
            tested = select_shrinkage(policy, selected, self.training.evidence, progress=progress)
        trained.module.cpu()
        meta = self.deploy(trained, selected, seen_until(*([tasks] if self.trains else []), validation), history)
        meta.tilt_test = tested
        judged_on = tasks if self.trains else validation
        if isinstance(judged_on, Across):
            meta.trained_on = TrainingBars.of(*(universe.tasks.bars for universe in judged_on.universes))
        elif isinstance(judged_on, TaskSet):
            meta.trained_on = TrainingBars.of(judged_on.bars)
        return meta

    def validate(self, tasks: Any, validation: Any, *, log: Log | None = None, progress: bool = True) -> float:
        """Train as `fit` does, and return the mean score on the validation tasks that select the weights, and on no others.

        Settings are chosen by it (`metalearner.tuning`). So that what is chosen can still be judged, the later half of the
        validation tasks, which tests the tilt, is not opened, nor are validation tasks trained on (`Training.on_validation`).
        No control is trained.

        Parameters
        ----------
        tasks, validation, log, progress
            See `fit`.

        Returns
        -------
        float
            The score of the weights that `Training.keep` says, after adapting to each task.

        Raises
        ------
        InputError, FloatingPointError
            As `fit` does.
        """
        if self.trains:
            _check_alike(tasks, validation)
        choosing, _ = self._split(validation)
        _, _, judged, _ = self._meta_train(tasks, choosing, log=log, progress=progress)
        with torch.no_grad():
            return float(self.select(judged).scores(np.random.default_rng([self.training.seed, 2**31])).mean())

    def _meta_train(self, tasks: Any, choosing: Any, **options: Any) -> tuple[Any, Algorithm, Algorithm, pd.DataFrame]:
        """A new policy, the trained algorithm, the same on the validation tasks that it was selected on, and the curve."""
        with torch.random.fork_rng(devices=[]):  # seed the initial weights without changing the caller's random state
            torch.manual_seed(self.training.seed)
            policy: Any = self.objective.policy(self.policy, tasks if self.trains else choosing).eval()
            trained = self.algorithm(policy, self.training_sampler(policy, tasks)) if self.trains else None
            judged = self.algorithm(policy, self.sampler(policy, choosing))
        if trained is None:
            return policy, judged, judged, pd.DataFrame()
        judged.module = trained.module
        history = train(trained, judged, self.training, self._config(), title=self.name, **options)
        return policy, trained, judged, history

    def _split(self, validation: Any) -> tuple[Any, Any]:
        """Validation tasks for selection, and those for testing the tilt (None in environments, where there is no base)."""
        if self.training.evidence is None or not isinstance(validation, TaskSet | Across):
            return validation, None
        return halves(validation)

    def _config(self) -> dict[str, Any]:
        """All settings, for JSON."""
        return asdict(self) | {"learner": type(self).__name__, "objective": self.objective.to_dict()}


def _check_alike(tasks: Any, validation: Any) -> None:
    """Raise `InputError` unless both are of one universe, or across as many, or neither; perturbed copies do not count."""
    if isinstance(tasks, Across) and tasks.copies == len(tasks.universes) > 1 and isinstance(validation, TaskSet):
        return
    counts = [len(each.universes) // each.copies if isinstance(each, Across) else 0 for each in (tasks, validation)]
    if counts[0] != counts[1]:
        raise InputError(
            f"training is across {counts[0]} universes and validation across {counts[1]}; give both Across the same ones"
        )


def _together(tasks: Any, validation: Any) -> Any:
    """Training and validation tasks in one set; in environments they are sampled from the same source already."""
    if isinstance(tasks, Across) and tasks.copies > 1:
        raise InputError(
            "on_validation does not go with perturbed copies, which validation tasks have none of; set it to False"
        )
    if isinstance(tasks, Across):
        pairs = zip(tasks.universes, validation.universes, strict=True)
        return Across(tuple(replace(one, tasks=_together(one.tasks, other.tasks)) for one, other in pairs))
    return replace(tasks, tasks=tasks.tasks + validation.tasks) if isinstance(tasks, TaskSet) else tasks


def seen_until(*sets: Any) -> pd.Timestamp | None:
    """Last bar of any task; None for environments."""
    if not all(isinstance(tasks, TaskSet | Across) for tasks in sets):
        return None
    return max(task.times[2] for tasks in sets for task in tasks)


def load_meta(folder: str | Path) -> MetaPolicy:
    """Read a meta-policy written by `MetaPolicy.save`.

    Raises
    ------
    InputError
        When the folder holds no meta-policy, or one of an unknown learner or an earlier version.
    """
    folder = Path(folder)
    kinds = MetaPolicy.kinds
    try:
        with settled(folder):
            config: dict[str, Any] = json.loads((folder / "meta.json").read_text())
            check_format(config, folder / "meta.json", "train it again")
            return find(kinds, config["learner"], f"{folder}: learner").load(config, folder)
    except InputError:
        raise  # its message is specific already
    except (OSError, SafetensorError) as error:
        if (folder / "meta.json").exists():
            raise InputError(
                f"{folder}: a trained model, of which a file cannot be read ({error}); train it again"
            ) from None
        other = " but an adapted strategy" if any((folder / file).exists() for file in LearnedStrategy.kinds) else ""
        raise InputError(
            f"{folder}: no trained model there{other} (meta.json is missing); make one with: regimeshift train"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder}/meta.json: not a trained model of {', '.join(kinds)} in this version ({error!r}); train it again"
        ) from None
