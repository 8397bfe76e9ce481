"""`Training`: how a policy is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch

from markets import InputError


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
    def from_dict(cls, config: dict[str, Any]) -> Training:
        """From what ``dataclasses.asdict`` and JSON made of it."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in config.items() if k in known})

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
