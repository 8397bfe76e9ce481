"""Trained models on disk: what was trained once, on the same bars with the same settings, is read instead of trained again.

The key of a model is the SHA-256 of its learner's settings (`described`) and of the tasks: the content of the bars up to the last
one known, and where they are cut. Code is *not* in the key, so that the figures of a trial can be printed again from its models
by a later version; beside each model stands the digest of the code that trained it, and a run says how many were trained by other
code. A model is written into its place when it is whole, so a training that is killed costs itself and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from benchmarks.real_market.described import described
from markets import TaskSet
from markets.common.files import replacing
from metalearner import Across

_CODE = ("markets", "strategies", "metalearner")  # what a training runs through
_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """A learner whose trained models are kept in a folder, and found again.

    Attributes
    ----------
    learner : learner
    name : str
        In tables.
    folder : Path
    """

    learner: Any
    name: str
    folder: Path

    def with_seed(self, seed: int) -> Self:
        """The same with another seed."""
        return replace(self, learner=self.learner.with_seed(seed), name=f"{self.name}, seed {seed}")

    def place(self, *tasks: Any) -> Path:
        """Folder of the model that these tasks make."""
        content = [_FORMAT, described(self.learner), [cuts(each) for each in tasks]]
        return self.folder / hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

    def fit(self, tasks: Any, validation: Any, *, progress: bool = True) -> Any:
        """The model, from the disk if it is there; see `metalearner.MetaLearner.fit`."""
        from metalearner.learners.base import load_meta

        place = self.place(tasks, validation)
        if (place / "meta.json").is_file():
            return load_meta(place)
        meta = self.learner.fit(tasks, validation, progress=progress)
        if not hasattr(meta, "save"):  # nothing was trained, such as a rule's weights at one bar
            return meta
        place.mkdir(parents=True, exist_ok=True)
        with replacing(place / "trained.json") as beside:
            beside.write_text(json.dumps({"learner": self.name, "code": code()}) + "\n")
        meta.save(place)
        return load_meta(place)  # as every later run will have it, to the bit


def cuts(tasks: TaskSet | Across) -> list[Any]:
    """What tells tasks apart: the bars and the rows of each task; of several universes also what trading costs there."""
    if isinstance(tasks, TaskSet):
        return [tasks.bars.hash, [[task.start, task.cut, task.stop] for task in tasks]]
    return [[cuts(each.tasks), described(each.costs), described(each.execution)] for each in tasks.universes]


@cache
def code() -> str:
    """SHA-256 of the source that a training runs through."""
    found, root = hashlib.sha256(), Path(__file__).parents[2]
    for package in _CODE:
        for path in sorted((root / package).rglob("*.py")):
            found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()


def kept(folder: Path) -> tuple[int, int]:
    """How many models there are in a folder, and how many of them were trained by other code than the present."""
    whole = [path.with_name("trained.json") for path in folder.glob("*/meta.json")]
    trained = [json.loads(path.read_text())["code"] for path in whole]
    return len(trained), sum(found != code() for found in trained)
