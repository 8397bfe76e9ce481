"""The state of a training run and its checkpoint file.

The file is written to a temporary name and moved into place, so that an interruption never leaves a damaged checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from markets import InputError
from markets.common.files import replacing


@dataclass
class TrainingState:
    """State of a training run, apart from the current weights and the optimiser's moments.

    Attributes
    ----------
    best : dict of Tensor
        Weights with the best validation score so far.
    step : int
        Training steps done.
    waited : int
        Validations since the best one.
    stopped : bool
        Whether patience has ended the training.
    history : list of dict
        One row per validation: step, utility, validation.
    recent : list of float
        Utility of each update since the last validation.
    """

    best: dict[str, Tensor]
    step: int = 0
    waited: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)

    @classmethod
    def fresh(cls, module: nn.Module) -> TrainingState:
        return cls(_copy(module))

    def score(self, ceiling: float | None = None) -> str:
        """The last validation score as text, for the progress bar."""
        if not self.history:
            return "..."
        found = self.history[-1]["validation"]
        return f"{found:+.4f}" + (f" ({found / ceiling:.1%} of the ceiling)" if ceiling else "")

    def consider(self, module: nn.Module, validation: float, step: int, utility: float) -> None:
        """Record a validation, and keep the weights if they are the best so far."""
        if all(validation > row["validation"] for row in self.history):
            self.best, self.waited = _copy(module), 0
        else:
            self.waited += 1
        self.history.append({"step": step, "utility": utility, "validation": validation})

    def save(
        self,
        path: Path,
        fingerprint: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        sampler: dict[str, Tensor],
    ) -> None:
        """Write the checkpoint, with the state of the sampler; if interrupted, the previous file stays intact."""
        tensors = {f"module.{k}": v for k, v in _copy(module).items()}
        tensors |= {f"sampler.{k}": v for k, v in sampler.items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v.clone().contiguous() for k, v in moments.items()}
        state = {"step": self.step, "waited": self.waited, "stopped": self.stopped, "history": self.history}
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            save_file(tensors, beside, metadata={"fingerprint": fingerprint, "state": json.dumps(state)})

    @classmethod
    def load(
        cls,
        path: Path,
        fingerprint: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        sampler: dict[str, Tensor],
    ) -> TrainingState:
        """Read a checkpoint written by `save`, and load it into `module`, `optimizer` and the state of the sampler as well.

        Raises
        ------
        InputError
            When the file is not a checkpoint, or belongs to another configuration or other data.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            state = json.loads(metadata["state"])
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise InputError(f"{path}: not a checkpoint ({error}); delete it, or train without --resume") from None
        if metadata["fingerprint"] != fingerprint:
            raise InputError(
                f"{path}: a checkpoint of another configuration or other data; use the same options, or train without --resume"
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        module.load_state_dict(part("module."))
        for key, value in part("sampler.").items():
            sampler[key].copy_(value)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer.").items():
            i, name = key.split(".", 1)
            moments.setdefault(int(i), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return cls(part("best."), state["step"], state["waited"], state["stopped"], state["history"])


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone().contiguous() for k, v in module.state_dict().items()}
