"""`Training`: settings of the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from markets import InputError
from markets.common.ranges import OneOf, Range


@dataclass(frozen=True)
class Training:
    """Settings of the training loop. The optimiser is AdamW (Adam with decoupled weight decay).

    Attributes
    ----------
    steps : int
        Training steps.
    batch : int
        Tasks per step.
    learning_rate, weight_decay : float
    schedule : {"constant", "cosine", "linear"}
        Schedule of the learning rate. ``cosine`` is constant over the first half of the steps and then falls to a hundredth;
        ``linear`` falls to zero over all steps.
    largest_gradient : float
        Norm to which gradients are clipped.
    evaluate_every : int
        Steps between validations. At each, the best weights are updated and a checkpoint is written.
    patience : int
        Stop after this many validations without improvement. Only validations after the cost curriculum count. 0 never stops
        early.
    evidence : float or None
        Smallest t-statistic, over validation tasks, of the gain over the base for which the tilt is kept; below it the policy
        falls back to its base. It is for many tasks; with few, more is wanted, by Student's t, so that chance passes as rarely.
        Needs at least 4 validation tasks. None keeps the full tilt without a test.
    keep : {"best", "last"}
        Weights to return: the best on validation, or the final ones. Use ``last`` where new tasks can be sampled without
        limit, because there the best validation score is mostly noise.
    on_validation : bool
        Whether to train on the validation tasks too, which are the latest. Only where nothing is selected on them: `keep` is
        ``last`` and `evidence` None.
    seed : int
        Seed of the initial weights and of every training step.
    device : {"auto", "cpu", "cuda"}
        ``auto`` is CUDA if available. Networks use float32 and the account float64 on every device; there is no mixed
        precision.
    threads : int
        torch threads on a CPU during training. Small networks gain nothing from a second thread, and on shared cores thread
        synchronisation makes them several times slower.

    Raises
    ------
    InputError
        When a setting is unknown or out of range, or the device is not available.
    """

    steps: int = 300
    batch: Annotated[int, Range(4, 32, log=True)] = 16
    learning_rate: Annotated[float, Range(1e-4, 3e-2, log=True)] = 2e-3
    weight_decay: Annotated[float, Range(1e-4, 1.0, log=True)] = 1e-2
    schedule: Annotated[str, OneOf(("constant", "cosine", "linear"))] = "constant"
    largest_gradient: float = 1.0
    evaluate_every: int = 20
    patience: int = 0
    evidence: float | None = 1.0
    keep: str = "best"
    on_validation: bool = False
    seed: int = 0
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.patience < 0 or (self.evidence is not None and math.isnan(self.evidence)):
            raise InputError(
                f"training: patience is {self.patience} and evidence {self.evidence}; patience must be at least 0, and evidence "
                "a number or None"
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
        if self.on_validation and (self.keep != "last" or self.evidence is not None):
            raise InputError(
                "training: on_validation trains on the tasks that select the weights and test the tilt; set keep='last' and "
                "evidence=None with it"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"training: device {self.device!r} is unknown; use auto, cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("training: device is cuda, but torch finds no CUDA device; use auto or cpu")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Training:
        """Rebuild from ``dataclasses.asdict`` after a round trip through JSON."""
        return cls(**config)

    @property
    def on_device(self) -> torch.device:
        """The torch device to train on."""
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")

    def rate(self, step: int) -> float:
        """Learning rate at `step`."""
        if self.schedule == "linear":
            return self.learning_rate * (1 - step / self.steps)
        late = max(2 * step / self.steps - 1, 0.0) if self.schedule == "cosine" else 0.0
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * late)))
