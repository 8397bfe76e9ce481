"""Ensembles: the same learner trained from several seeds, with the plans averaged.

With little data, a trained network depends strongly on its seed; the average of several depends on it less (Lakshminarayanan,
Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from markets import Bars, InputError, TaskSet
from metalearner.learners.base import MetaLearner, MetaPolicy, load_meta
from metalearner.objectives.pathwise import Pathwise
from strategies import Blend
from strategies.serialization import replacing_files, write_config
from strategies.strategy import latest


class EnsemblePolicy(MetaPolicy, kind="ensemble"):
    """Several meta-policies with equal weights; adapting gives the `Blend` of their strategies.

    Parameters
    ----------
    name : str
    members : sequence of MetaPolicy
    """

    def __init__(self, name: str, members: Sequence[MetaPolicy]):
        first = members[0]
        seen = latest(m.seen_until for m in members)
        super().__init__(name, first.policy, first.context, first.objective, seen, first.history)
        self.members = tuple(members)
        self.trained_on, self.transferred_from = first.trained_on, first.transferred_from

    @property
    def remark(self) -> str:
        """The members' remarks."""
        return " ".join(filter(None, (m.remark for m in self.members)))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the members' fingerprints."""
        return hashlib.sha256("".join(m.fingerprint for m in self.members).encode()).hexdigest()

    def transfer(self, bars: Bars, **options: Any) -> EnsemblePolicy:
        """The members for another market, each with its tilt tested anew; see `MetaPolicy.transfer`."""
        return EnsemblePolicy(self.name, [m.transfer(bars, **options) for m in self.members])

    def as_trained(self) -> Blend:
        return Blend([m.as_trained() for m in self.members], f"{self.name}, as trained")

    def shrunk(self, share: float, name: str) -> EnsemblePolicy:
        """A copy with another factor on each member's tilt; see `MetaPolicy.shrunk`."""
        return EnsemblePolicy(name, [m.shrunk(share, m.name) for m in self.members])

    def adapt(self, task: Bars) -> Blend:
        return Blend([m.adapt(task) for m in self.members], self.name)

    def unadapted(self) -> Blend:
        return Blend([m.unadapted() for m in self.members], f"{self.name}, unadapted")

    def controls(self) -> dict[str, Blend]:
        """Each kind of control that the members have, blended."""
        each = [member.controls() for member in self.members]
        return {kind: Blend([controls[kind] for controls in each], f"{self.name}, {kind}") for kind in each[0]}

    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        """Mean over the members of their own utilities, shape (len(tasks),); not the utility of the blend."""
        return np.mean([m.evaluate(tasks) for m in self.members], axis=0)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        return np.mean([m.evaluate_unadapted(tasks) for m in self.members], axis=0)

    def save(self, folder: str | Path) -> Path:
        """Write each member into its own subfolder, and ``meta.json``; all at once, as `MetaPolicy.save` does."""
        with replacing_files(folder) as beside:
            for k, member in enumerate(self.members):
                member.save(beside / str(k))
            write_config(beside / "meta.json", {"learner": self.kind, "name": self.name, "members": len(self.members)})
        return Path(folder)

    @classmethod
    def load(cls, config: dict[str, Any], folder: Path) -> EnsemblePolicy:
        return cls(config["name"], [load_meta(folder / str(k)) for k in range(config["members"])])


@dataclass(frozen=True)
class Ensemble:
    """Trains a learner from several seeds, for trading. An adapted ensemble is a `Blend`.

    Attributes
    ----------
    learner : MetaLearner
        The first member; further members add 1, 2, ... to its seed.
    members : int
        Number of members.

    Raises
    ------
    InputError
        When the learner does not trade, or `members` is below 1.
    """

    learner: MetaLearner
    members: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.learner, MetaLearner) or not isinstance(self.learner.objective, Pathwise):
            raise InputError(f"an ensemble needs a learner that trades, such as RL2(), not {self.learner!r}")
        if self.members < 1:
            raise InputError(f"an ensemble has {self.members} members; it needs at least 1")

    @property
    def name(self) -> str:
        return f"{self.members} × {self.learner.name}"

    def with_seed(self, seed: int) -> Ensemble:
        """The same ensemble, whose first member has another seed."""
        return replace(self, learner=self.learner.with_seed(seed))

    def fit(self, tasks: TaskSet, validation: TaskSet, *, checkpoint: str | Path | None = None, **options: Any):
        """Train the members one after another; arguments as for `MetaLearner.fit`.

        Each member has its own checkpoint, with ``-0``, ``-1``, ... appended to the file's stem.

        Returns
        -------
        EnsemblePolicy
        """
        members = []
        for k in range(self.members):
            member = replace(self.learner, training=replace(self.learner.training, seed=self.learner.training.seed + k))
            place = None if checkpoint is None else Path(checkpoint).with_stem(f"{Path(checkpoint).stem}-{k}")
            members.append(member.fit(tasks, validation, checkpoint=place, **options))
        return EnsemblePolicy(self.name, members)
