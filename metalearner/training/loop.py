"""The one training loop: seeded step by step, validated, shared among processes, and kept on disk so that nothing is lost.

Randomness at step k comes from ``default_rng([seed, k])`` alone, so a resumed run draws what the interrupted one would
have drawn, and ends in the same bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from markets import InputError
from metalearner.distributed import Ranks
from metalearner.objective import Log, Worlds
from metalearner.training.checkpoints import State


@dataclass(frozen=True)
class Training:
    """How a policy is trained.

    Attributes
    ----------
    steps : int
        Updates (Adam, decoupled weight decay).
    batch : int
        Tasks an update.
    learning_rate, weight_decay : float
    schedule : {"constant", "cosine", "linear"}
        Of the learning rate; ``cosine`` falls to a hundredth over the last half (of the steps), ``linear`` to nothing over
        all of them.
    largest_gradient : float
        Norm to which a gradient is cut.
    evaluate_every : int
        Updates between validations; the best weights on validation are kept, and a checkpoint is written.
    patience : int
        Validations without a gain at full costs before training stops; 0 never stops early.
    evidence : float or None
        t-statistic of the gain over the base on validation below which the tilt is dropped; it takes at least 4 validation
        tasks. None leaves the tilt alone.
    keep : {"best", "last"}
        Weights to end with: those best on validation, or the final ones, where tasks are endless and choosing is noise.
    seed : int
    device : {"auto", "cpu", "cuda"}
        ``auto`` is CUDA where there is one. Networks are float32 there too, and money float64: no mixed precision.
    threads : int
        Of torch on a CPU, while training. Small networks gain nothing from a second one, and where cores are shared its
        waiting makes them several times slower.

    Raises
    ------
    InputError
        When one is unknown or out of range, or there is no such device.
    """

    steps: int = 300
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    schedule: str = "constant"
    largest_gradient: float = 1.0
    evaluate_every: int = 20
    patience: int = 0
    evidence: float | None = 1.0
    keep: str = "best"
    seed: int = 0
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.patience < 0 or (self.evidence is not None and math.isnan(self.evidence)):
            raise InputError(
                f"training: patience is {self.patience} and evidence {self.evidence}; at least 0, and a number or None"
            )
        for name in ("steps", "batch", "evaluate_every", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"training: {name} is {getattr(self, name)}; it must be at least 1")
        for name, value in (("learning_rate", self.learning_rate), ("largest_gradient", self.largest_gradient)):
            if not value > 0:
                raise InputError(f"training: {name} is {value}; it must be above 0")
        if self.seed < 0:
            raise InputError(f"training: seed is {self.seed}; it must be at least 0")
        if self.schedule not in ("constant", "cosine", "linear"):
            raise InputError(f"training: schedule {self.schedule!r} is unknown; use constant, cosine or linear")
        if self.keep not in ("best", "last"):
            raise InputError(f"training: keep {self.keep!r} is unknown; use best or last")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"training: device {self.device!r} is unknown; use auto, cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("training: device is cuda, but torch finds none here; use auto or cpu")

    @classmethod
    def from_dict(cls, about: dict[str, Any]) -> Training:
        """From what ``dataclasses.asdict`` and JSON made of it."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in about.items() if k in known})

    @property
    def on_device(self) -> torch.device:
        """Where the networks are trained."""
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")

    def rate(self, step: int) -> float:
        """Learning rate at `step`."""
        if self.schedule == "linear":
            return self.learning_rate * (1 - step / self.steps)
        late = max(2 * step / self.steps - 1, 0.0) if self.schedule == "cosine" else 0.0
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * late)))


class Lessons(ABC):
    """What a learner does with tasks: how their worlds become losses, and how it is judged on them.

    Attributes
    ----------
    module : Module
        All that is learnt.
    worlds : Worlds
    """

    module: nn.Module
    worlds: Worlds

    def groups(self, training: Training) -> list[dict[str, Any]]:
        """What the optimiser is to change: parameters, how much ``faster`` than the weights, and their decay."""
        return [{"params": list(self.module.parameters()), "faster": 1.0, "weight_decay": training.weight_decay}]

    @abstractmethod
    def losses(self, drawn: Any, tasks: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """Losses to descend one after another, an update each.

        Parameters
        ----------
        drawn
            This process's share of the drawn tasks.
        tasks : int
            Number of tasks that all processes have: a loss is the sum over the share, divided by it.
        rng : Generator
        """

    @abstractmethod
    def scores(self, rng: np.random.Generator) -> Tensor:
        """Utility on each task after adapting to it, shape (tasks,)."""


def train(
    lessons: Lessons,
    validation: Lessons,
    training: Training,
    about: Any,
    *,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    log: Log | None = None,
    title: str = "training",
    ceiling: float | None = None,
) -> pd.DataFrame:
    """Learn in place; the module ends with the weights that were best on `validation`, which has the same module.

    Under ``torchrun`` each process takes its share of every step's tasks, and one all-reduce adds up the gradients.

    Parameters
    ----------
    lessons, validation : Lessons
    training : Training
    about
        All settings, for JSON: a checkpoint of others is refused.
    checkpoint, resume, progress, log
        See `MetaLearner.fit`.
    title : str
    ceiling : float, optional
        Utility of the best possible trader on `validation`; progress is shown as a share of it.

    Returns
    -------
    DataFrame
        A row an evaluation: ``step``, ``utility`` (mean over the updates since the last) and ``validation``.

    Raises
    ------
    InputError
        When `resume` finds a checkpoint of another configuration, or `checkpoint` is no place for a file.
    FloatingPointError
        When a utility or a gradient is not finite, naming the step, and the task and bar or the parameter.
    """
    if resume and checkpoint is None:
        raise InputError("there is nothing to resume from: say which checkpoint")
    if checkpoint is not None and Path(checkpoint).is_dir():
        raise InputError(
            f"{checkpoint}: a folder; a checkpoint is a file, as {Path(checkpoint) / 'checkpoint.safetensors'}"
        )
    ranks = Ranks.join()  # first: it says which of several GPUs is this process's
    module = lessons.module.to(training.on_device)
    optimizer = torch.optim.AdamW(lessons.groups(training), lr=training.learning_rate)
    fingerprint = _fingerprint(about, training, lessons.worlds.identity, validation.worlds.identity)
    state = State.fresh(module)
    if checkpoint is not None and resume and Path(checkpoint).exists():
        state = State.load(Path(checkpoint), fingerprint, module, optimizer)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("validation {task.fields[score]}"), transient=False, disable=not progress or ranks.rank > 0,
    )  # fmt: skip
    with bar, _threads(training.threads):
        row = bar.add_task(title, total=training.steps, completed=state.step, score=state.score(ceiling))
        if not state.history:
            state.consider(module, _validated(validation, training), 0, math.nan)
        while state.step < training.steps and not state.stopped:
            step = state.step
            rng = np.random.default_rng([training.seed, step])
            drawn = lessons.worlds.draw(rng, training.batch, step / training.steps)
            tasks = lessons.worlds.size(drawn)
            _descend(lessons, ranks.share(lessons.worlds, drawn), tasks, rng, optimizer, training, state, ranks)
            state.step = step + 1
            if state.step % training.evaluate_every == 0 or state.step == training.steps:
                state.consider(module, _validated(validation, training), state.step, float(np.mean(state.recent)))
                state.recent.clear()
                if not lessons.worlds.settled(state.step / training.steps):
                    state.waited = 0  # patience counts at full costs alone
                state.stopped = bool(training.patience and state.waited >= training.patience)
                with _finished_first():
                    if checkpoint is not None and ranks.rank == 0:
                        state.save(Path(checkpoint), fingerprint, module, optimizer)
                    if log is not None and ranks.rank == 0:
                        log({k: v for k, v in state.history[-1].items() if k != "step"}, state.step)
            bar.update(row, completed=state.step, score=state.score(ceiling))
    if training.keep == "best":
        module.load_state_dict(state.best)
    module.eval()
    return pd.DataFrame(state.history)


def _descend(lessons, drawn, tasks, rng, optimizer, training, state, ranks) -> None:
    """One step's updates."""
    lessons.module.train()
    for group in optimizer.param_groups:
        group["lr"] = training.rate(state.step) * group["faster"]
    try:
        for loss in lessons.losses(drawn, tasks, rng):
            optimizer.zero_grad()
            loss.backward()
            total = ranks.add_up(lessons.module, loss.detach())
            _check_gradients(lessons.module)
            torch.nn.utils.clip_grad_norm_(lessons.module.parameters(), training.largest_gradient)
            optimizer.step()
            state.recent.append(-total)
    except FloatingPointError as error:
        raise FloatingPointError(f"step {state.step}: {error}") from None


def _validated(validation: Lessons, training: Training) -> float:
    validation.module.eval()
    with torch.no_grad():
        scores = validation.scores(np.random.default_rng([training.seed, 2**31]))
    if not torch.isfinite(scores).all():
        task = int((~torch.isfinite(scores)).nonzero()[0])
        raise FloatingPointError(f"the score of validation task {task} is not finite; look at its prices or rewards")
    return float(scores.mean())


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _finished_first() -> Iterator[None]:
    """Hold Ctrl-C back until what is being written is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


def _check_gradients(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            raise FloatingPointError(f"the gradient of {name} is not finite; lower the learning rate")


def _fingerprint(about: Any, training: Training, *identities: str) -> str:
    """What a checkpoint must share with the run that resumes it: configuration and data."""
    said = json.dumps([about, asdict(training), *identities], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()
