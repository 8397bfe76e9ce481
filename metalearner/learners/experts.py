"""Experts: a specialist for each regime, and a gate over them that reads the regime filter.

A policy over policies. A regime detector is fitted on the bars before validation. Each task belongs to the regime that is the
most probable over its query, and the tasks of each regime train a policy of their own. Its weights are selected and its tilt is
tested on the validation tasks of the regime; where these are too few for a test, on all. What is traded is the mixture of the
specialists, weighted by the filtered probabilities of the regimes (the identity gate), or by a gate learnt from there
(`metalearner.learners.gating`) as far as validation supports it (Jacobs, Jordan, Nowlan and Hinton, "Adaptive mixtures of local
experts", Neural Computation 1991; with regimes, Guidolin and Timmermann 2007, see `strategies.rules.regime_gated`).

At a new regime nothing is trained: the filter reads the bars, and the gate moves from one specialist to another. The detector
stays as it was fitted until the learner is trained again, because the specialists were trained on its regimes.

The control is the same specialists in one mixture that ignores the filter, *trained* on the same tasks in the same way. So the
difference to it is what reading the filter is worth.
"""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from markets import Bars, HiddenMarkovRegimes, InputError, RegimeDetector, TaskSet
from markets.common.words import count
from markets.regimes import load_detector
from metalearner.learners.base import MetaPolicy, load_meta, query_scores, seen_until
from metalearner.learners.gating import ExpertSampler, GateModule
from metalearner.learners.rl2 import RL2, QueryUtility
from metalearner.learners.tilt import TiltTest, select_shrinkage
from metalearner.objective import Log
from metalearner.objectives.pathwise import Pathwise
from metalearner.training.config import Training
from metalearner.training.loop import train
from strategies import Gate, PolicySettings, RegimeGated
from strategies.networks import named_params
from strategies.serialization import replacing_files, write_config
from strategies.strategy import latest

_ALL = "all regimes"  # what the policy trained on all tasks is called
_TESTED = 4  # validation tasks that a tilt needs to be tested
_RATE = 0.05  # learning rate of the gate, whose parameters are logs


class ExpertsPolicy(MetaPolicy, kind="experts"):
    """Specialists and a gate; adapting gives the `RegimeGated` of their strategies.

    Attributes
    ----------
    experts : tuple of MetaPolicy
        One for each regime, in the detector's order.
    detector : RegimeDetector
        As it was fitted at training.
    gate : Gate
    constant : Gate
        That of the control, which ignores the filter.
    gate_test : TiltTest or None
        How the share of the learnt gate was selected; None where it was not tested.
    """

    gate_test: TiltTest | None = None

    def __init__(
        self, name: str, experts: Sequence[MetaPolicy], detector: RegimeDetector, gate: Gate, constant: Gate,
        seen: pd.Timestamp | None = None,
    ):  # fmt: skip
        first = experts[0]
        history = {expert.name: expert.history for expert in experts}
        super().__init__(
            name, first.policy, first.context, first.objective, seen,
            pd.concat(history, names=["expert"]).reset_index("expert").reset_index(drop=True),
        )  # fmt: skip
        self.experts, self.detector, self.gate, self.constant = tuple(experts), detector, gate, constant
        self.trained_on, self.transferred_from = first.trained_on, first.transferred_from

    @property
    def remark(self) -> str:
        """What was trained, and what validation says of the gate and of each specialist's tilt."""
        general = [
            regime
            for regime, expert in zip(self.detector.names, self.experts, strict=True)
            if expert.name.endswith(_ALL)
        ]
        few = f"{self.name} had too few tasks for specialists of {', '.join(general)}: the policy trained on all regimes is used"
        share = self.gate.share
        how = f"{share:.0%} by its learnt gate" if share else "by the probability of their regimes"
        why = "" if self.gate_test is None else f": {self.gate_test.describe('the learnt gate')}"
        remarks = dict.fromkeys(expert.remark for expert in self.experts)
        return " ".join(
            filter(None, (f"{few}." if general else "", f"{self.name} weighs its experts {how}{why}.", *remarks))
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the experts' fingerprints, the detector and the gate."""
        fitted = {name: np.asarray(value).tolist() for name, value in vars(self.detector).items()}
        parts = [*(expert.fingerprint for expert in self.experts), _as_dict(self.gate), repr(sorted(fitted.items()))]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def gated(self, gate: Gate, name: str) -> ExpertsPolicy:
        """The same experts behind another gate.

        Parameters
        ----------
        gate : Gate
            Such as ``Gate.identity(2)``.
        name : str
        """
        other = copy.copy(self)
        other.name, other.gate, other.gate_test = name, gate, None
        return other

    def transfer(self, bars: Bars, **options: Any) -> ExpertsPolicy:
        """The experts for another market, each with its tilt tested anew; see `MetaPolicy.transfer`.

        Regimes are those of the new market: the detector is fitted anew on `bars`. What the learnt gate is worth was shown in the
        old market alone, so the identity gate takes its place.
        """
        experts = [expert.transfer(bars, **options) for expert in self.experts]
        detector = copy.deepcopy(self.detector).fit(bars.without_past())
        seen = latest(expert.seen_until for expert in experts)
        return ExpertsPolicy(self.name, experts, detector, Gate.identity(len(experts)), self.constant, seen)

    def as_trained(self) -> RegimeGated:
        parts = [expert.as_trained() for expert in self.experts]
        return self._strategy(parts, self.gate, f"{self.name}, as trained")

    def shrunk(self, share: float, name: str) -> ExpertsPolicy:
        """A copy with another factor on each expert's tilt; see `MetaPolicy.shrunk`."""
        other = self.gated(self.gate, name)
        other.gate_test = self.gate_test
        other.experts = tuple(expert.shrunk(share, expert.name) for expert in self.experts)
        return other

    def adapt(self, task: Any) -> RegimeGated:
        """The experts, adapted to `task`, behind the gate; the detector stays as it is."""
        self._check_like_training(task)
        return self._strategy([expert.adapt(task) for expert in self.experts], self.gate, self.name)

    def unadapted(self) -> RegimeGated:
        """The control: the same experts in one mixture that ignores the filter, trained so.

        An expert with a memory keeps it: `RL2.control` of a specialist says what that is worth.
        """
        parts = [expert._deploy(expert.policy, expert.name) for expert in self.experts]
        return self._strategy(parts, self.constant, f"{self.name}, unadapted")

    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        return self._scores(tasks, self.gate)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        return self._scores(tasks, self.constant)

    def _strategy(self, parts: Sequence[Any], gate: Gate, name: str) -> RegimeGated:
        # share 0 is the identity gate, which needs none
        gated = RegimeGated(self.detector, parts, refit=False, warmup=1, gate=gate if gate.share else None)
        gated.name = name
        return gated

    def _scores(self, tasks: TaskSet, gate: Gate, context: int | None = None) -> np.ndarray:
        assert isinstance(self.objective, Pathwise)
        context = tasks[0].cut - tasks[0].start if context is None else context
        policies = [expert.policy for expert in self.experts]
        sampler = ExpertSampler(self.objective, tasks, policies, self.detector, context)
        module = GateModule.of(gate)
        return query_scores(sampler, module, named_params(module), np.random.default_rng(0))

    def save(self, folder: str | Path) -> Path:
        """Write each expert into its own subfolder, ``detector.json`` and ``meta.json``; see `MetaPolicy.save`."""
        with replacing_files(folder) as beside:
            for k, expert in enumerate(self.experts):
                expert.save(beside / str(k))
            self.detector.save(beside / "detector.json")
            config = {
                "learner": self.kind, "name": self.name, "experts": len(self.experts),
                "gate": _as_dict(self.gate), "constant": _as_dict(self.constant),
                "gate_test": None if self.gate_test is None else asdict(self.gate_test),
                "seen_until": None if self.seen_until is None else str(self.seen_until),
            }  # fmt: skip
            write_config(beside / "meta.json", config)
        return Path(folder)

    @classmethod
    def load(cls, config: dict[str, Any], folder: Path) -> ExpertsPolicy:
        experts = [load_meta(folder / str(k)) for k in range(config["experts"])]
        seen = config["seen_until"]
        meta = cls(
            config["name"], experts, load_detector(folder / "detector.json"), Gate(**config["gate"]),
            Gate(**config["constant"]), None if seen is None else pd.Timestamp(seen),
        )  # fmt: skip
        meta.gate_test = None if config["gate_test"] is None else TiltTest(**config["gate_test"])
        return meta


def _as_dict(gate: Gate) -> dict[str, Any]:
    return {"mix": gate.mix.tolist(), "sharpness": gate.sharpness, "share": gate.share}


@dataclass(frozen=True)
class Experts(RL2):
    """A specialist for each regime behind a gate. The specialists are `RL2` learners with the other settings of this one.

    Attributes
    ----------
    gate : {"learnt", "identity"}
        ``identity`` weighs each specialist by the probability of its regime. ``learnt`` begins there, learns another gate on the
        validation tasks that select the specialists' weights, and keeps as much of it as the later ones support
        (`Training.evidence`; without it, all).
    n_regimes : int
        Number of regimes of the default detector.
    detector : RegimeDetector, optional
        By default `HiddenMarkovRegimes`. It is fitted on the bars before validation; one that is fitted already is used as it
        is, and must have been fitted on bars before those to be traded.
    fewest : int
        Training tasks of a regime below which it has no specialist: the policy trained on all tasks stands in.
    gate_steps : int
        Training steps of the gate, and of the control's.

    Raises
    ------
    InputError
        When a setting is out of range, or the policy or the objective is not one that trades.
    """

    gate: Literal["learnt", "identity"] = "learnt"
    n_regimes: int = 2
    detector: Any = None
    fewest: int = 8
    gate_steps: int = 200
    name: str = "experts"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.objective, Pathwise) or not isinstance(self.policy, PolicySettings):
            raise InputError(f"{self.name}: experts trade, so they need Pathwise(...) and PolicySettings(...)")
        if self.objective.worst_case is not None:
            raise InputError(
                f"{self.name}: each specialist has one regime, which has no worst one; leave worst_case out"
            )
        if self.training.on_validation:
            raise InputError(
                f"{self.name}: training.on_validation would train specialists on the tasks that a gate is learnt on; leave it out"
            )
        if self.gate not in ("learnt", "identity"):
            raise InputError(f"{self.name}: gate is {self.gate!r}; use learnt or identity")
        if self.detector is not None and not isinstance(self.detector, RegimeDetector):
            raise InputError(
                f"{self.name}: detector is a {type(self.detector).__name__}; it must be a RegimeDetector, such as "
                "HiddenMarkovRegimes(2)"
            )
        regimes = self.n_regimes if self.detector is None else self.detector.n_regimes
        if regimes < 2:
            raise InputError(
                f"{self.name}: with {count(regimes, 'regime')} there is nothing to choose between; use at least 2"
            )
        if self.fewest < 1 or self.gate_steps < 1:
            raise InputError(
                f"{self.name}: fewest is {self.fewest} and gate_steps {self.gate_steps}; both must be at least 1"
            )

    def fit(
        self, tasks: Any, validation: Any, *, checkpoint: str | Path | None = None, log: Log | None = None,
        ceiling: float | None = None, **options: Any,
    ) -> ExpertsPolicy:  # fmt: skip
        """Fit the detector, train the specialists one after another, then the control's mixture and the gate.

        Arguments are those of `MetaLearner.fit`. The first specialist has the checkpoint `checkpoint`; each other training has
        one of its own, with its name appended to the file's stem.

        Raises
        ------
        InputError
            When tasks are not of one universe, no regime has enough of them, or one has them all; and as `MetaLearner.fit` does.

        Warns
        -----
        UserWarning
            When a regime has too few tasks for a specialist.
        """
        detector = self._fitted(tasks, validation)
        if self.teachers is not None:
            self.teachers.refuse_seen(validation)  # before hours of training, not after some
        training, judged = (by_regime(each, detector) for each in (tasks, validation))
        enough = self._with_specialists(detector, training)
        least = 1 if self.training.evidence is None else _TESTED
        judged = [some if len(some) >= least else validation for some in judged]
        started: list[str] = []

        def settings(name: str) -> dict[str, Any]:
            """Where a training keeps its state, and where it logs."""
            started.append(name)
            place = checkpoint
            if checkpoint is not None and len(started) > 1:
                place = Path(checkpoint).with_stem(f"{Path(checkpoint).stem}-{name.replace(' ', '-')}")
            return options | {"checkpoint": place, "log": _renamed(log, name)}

        experts: list[MetaPolicy | None] = [
            self.specialist(name).fit(training[k], judged[k], **settings(name)) if enough[k] else None
            for k, name in enumerate(detector.names)
        ]
        if not all(enough):
            general = self.specialist(_ALL).fit(tasks, validation, **settings(_ALL))
            experts = [expert or general for expert in experts]
        trained = [expert for expert in experts if expert is not None]
        choosing, judging = self._split(validation)
        policies = [expert.policy for expert in trained]

        def learnt(reads: bool, name: str) -> GateModule:
            return self._learn_gate(
                GateModule(len(trained), reads), choosing, policies, detector, name, ceiling=ceiling, **settings(name)
            )

        constant, gate, tested = learnt(False, "constant").gate(), Gate.identity(len(trained)), None
        if self.gate == "learnt":
            module = learnt(True, "gate")
            if judging is not None and self.training.evidence is not None:
                sampler = ExpertSampler(self.objective, judging, policies, detector, self.context)  # type: ignore[arg-type]
                tested = select_shrinkage(
                    module,
                    QueryUtility(module, sampler),
                    self.training.evidence,
                    progress=options.get("progress", True),
                )
            gate = module.gate()
        meta = ExpertsPolicy(self.name, trained, detector, gate, constant, seen_until(tasks, validation))
        meta.gate_test = tested
        return meta

    def validate(self, tasks: Any, validation: Any, *, log: Log | None = None, progress: bool = True) -> float:
        """As `MetaLearner.validate`, with the identity gate: another one would be learnt on the very tasks that score it."""
        choosing, _ = self._split(validation)
        untested = replace(self, gate="identity", training=replace(self.training, evidence=None), gate_steps=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            meta = untested.fit(tasks, choosing, progress=progress)
        score = float(meta._scores(choosing, meta.gate, self.context).mean())
        if log is not None:
            log({"validation": score}, self.training.steps)
        return score

    def specialist(self, regime: str) -> RL2:
        """The learner of one specialist."""
        return RL2(
            policy=self.policy, objective=self.objective, training=self.training, context=self.context,
            deployed=self.deployed, control=self.control, teachers=self.teachers, name=f"{self.name}, {regime}",
        )  # fmt: skip

    def _fitted(self, tasks: Any, validation: Any) -> RegimeDetector:
        """The detector, fitted on the visible bars before the first validation task."""
        for each in (tasks, validation):
            if not isinstance(each, TaskSet) or not len(each):
                what = "no tasks" if isinstance(each, TaskSet) else type(each).__name__
                raise InputError(f"{self.name}: experts need a TaskSet of one universe, with tasks in it, not {what}")
        detector: RegimeDetector = HiddenMarkovRegimes(self.n_regimes) if self.detector is None else self.detector
        if detector.fitted:
            return detector
        held = tasks.bars.with_past()
        end = int(held.index.searchsorted(validation[0].times[0]))
        if end <= tasks.bars.past:
            raise InputError(
                f"{self.name}: there are no bars before validation, on which regimes are fitted; start it later"
            )
        return copy.deepcopy(detector).fit(held.rows(tasks.bars.past, end).without_past())

    def _with_specialists(self, detector: RegimeDetector, training: Sequence[TaskSet]) -> list[bool]:
        """Which regimes have tasks enough for a specialist; says which have not."""
        counts = ", ".join(f"{name} {len(some)}" for name, some in zip(detector.names, training, strict=True))
        if sum(len(some) > 0 for some in training) < 2:
            raise InputError(
                f"{self.name}: training tasks by regime are {counts}; with one regime alone there is nothing to choose between: "
                "use more bars, or another learner"
            )
        short = f"{self.name}: training tasks by regime are {counts}, and a specialist needs {self.fewest}"
        enough = [len(some) >= self.fewest for some in training]
        if not any(enough):
            raise InputError(f"{short}; use more bars, shorter tasks or fewer regimes")
        if not all(enough):
            lacking = [name for name, there in zip(detector.names, enough, strict=True) if not there]
            warnings.warn(f"{short}; for {', '.join(lacking)} the policy trained on all is used", stacklevel=3)
        return enough

    def _learn_gate(
        self, module: GateModule, tasks: TaskSet, policies: Sequence[Any], detector: RegimeDetector, name: str, **options: Any
    ) -> GateModule:  # fmt: skip
        """Train a gate in place."""
        training = Training(
            steps=self.gate_steps, batch=max(self.training.batch, 4), learning_rate=_RATE, weight_decay=0.0, schedule="linear",
            evaluate_every=max(self.gate_steps // 4, 1), evidence=None, keep="last", seed=self.training.seed,
            device=self.training.device, threads=self.training.threads,
        )  # fmt: skip
        assert isinstance(self.objective, Pathwise)
        sampler = ExpertSampler(self.objective, tasks, policies, detector, self.context)
        rule = QueryUtility(module, sampler)
        train(rule, rule, training, self._config(), title=f"{self.name}, {name}", **options)
        return module.cpu()


def by_regime(tasks: TaskSet, detector: RegimeDetector) -> list[TaskSet]:
    """The tasks of each regime: the one that is the most probable over the query, by the filter's mean."""
    path = detector.filter(tasks.bars.with_past()).probabilities
    labels = [int(path[task.cut : task.stop].mean(axis=0).argmax()) for task in tasks]
    return [
        replace(tasks, tasks=tuple(task for task, label in zip(tasks, labels, strict=True) if label == k))
        for k in range(path.shape[1])
    ]


def _renamed(log: Log | None, name: str) -> Log | None:
    """`log` for one training of several, which would overwrite each other's metrics."""
    if log is None:
        return None
    return lambda metrics, step: log({f"{name}/{metric}": value for metric, value in metrics.items()}, step)
