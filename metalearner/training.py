"""The one training loop: seeded step by step, validated, and kept on disk so that nothing is lost.

Randomness at step k comes from ``default_rng([seed, k])`` alone, so a resumed run draws what the interrupted one would
have drawn, and ends in the same bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from markets import Costs, Execution, InputError
from metalearner.objectives import CostCurriculum, MeanVariance, Pathwise
from strategies import Policy
from strategies.policy import with_shrink


@dataclass(frozen=True)
class Training:
    """How a policy is trained.

    Attributes
    ----------
    steps : int
        Updates (Adam, decoupled weight decay).
    batch : int
        Tasks an update.
    symbols : int
        Each path trades this many symbols, drawn anew; 0 is all. Many small universes instead of one: with all symbols there
        is one market path to remember, and that is what is learnt.
    learning_rate, weight_decay : float
    largest_gradient : float
        Norm to which a gradient is cut.
    evaluate_every : int
        Updates between validations; the best weights on validation are kept, and a checkpoint is written.
    patience : int
        Validations without a gain at full costs before training stops; 0 never stops early.
    evidence : float
        t-statistic of the gain over the base on validation below which the tilt is dropped.
    seed : int
    costs, execution : Costs, Execution
    utility : MeanVariance
    curriculum : CostCurriculum
    """

    steps: int = 300
    batch: int = 16
    symbols: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    largest_gradient: float = 1.0
    evaluate_every: int = 20
    patience: int = 0
    evidence: float = 1.0
    seed: int = 0
    costs: Costs = field(default_factory=lambda: Costs.parse("10bp"))
    execution: Execution = field(default_factory=Execution)
    utility: MeanVariance = field(default_factory=MeanVariance)
    curriculum: CostCurriculum = field(default_factory=CostCurriculum)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"training: {name} is {getattr(self, name)}; it must be at least 1")
        if self.seed < 0:
            raise InputError(f"training: seed is {self.seed}; it must be at least 0")

    @classmethod
    def from_dict(cls, about: dict[str, Any]) -> Training:
        """From what ``dataclasses.asdict`` and JSON made of it."""
        kinds = {"costs": Costs, "execution": Execution, "utility": MeanVariance, "curriculum": CostCurriculum}
        known = {f.name for f in fields(cls)}
        return cls(**{k: kinds[k](**v) if k in kinds else v for k, v in about.items() if k in known})


def train(
    policy: Policy,
    training: Training,
    tasks: Pathwise,
    validation: Pathwise,
    *,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    log: Callable[[dict[str, float], int], None] | None = None,
    title: str = "training",
) -> pd.DataFrame:
    """Maximise `tasks` in place; `policy` ends with the weights that were best on `validation`.

    Returns
    -------
    DataFrame
        A row an evaluation: ``step``, ``utility`` (mean over the updates since the last), ``validation`` (at full costs)
        and ``cost`` (share charged in training).

    Raises
    ------
    InputError
        When `resume` finds a checkpoint of another configuration.
    FloatingPointError
        When a utility or a gradient is not finite, naming the step, the task or the parameter.
    """
    optimizer = torch.optim.AdamW(policy.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    fingerprint = _fingerprint(policy, training, tasks, validation)
    state = _State.fresh(policy)
    if checkpoint is not None and resume and Path(checkpoint).exists():
        state = _State.load(Path(checkpoint), fingerprint, policy, optimizer)
    everything = np.arange(len(validation))
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("validation {task.fields[score]}"), transient=False, disable=not progress,
    )  # fmt: skip
    with bar:
        row = bar.add_task(title, total=training.steps, completed=state.step, score=state.score())
        if state.step == 0 and not state.history:
            state.consider(policy, _evaluate(policy, validation, everything), 0, 0.0, 0.0)
        while state.step < training.steps and not state.stopped:
            step = state.step
            rng = np.random.default_rng([training.seed, step])
            which = rng.choice(len(tasks), size=min(training.batch, len(tasks)), replace=False)
            share = training.curriculum(step / training.steps)
            policy.train()
            utility = tasks(policy, which, share, _universes(rng, len(which), tasks.symbols, training.symbols))
            _check_utility(utility, which, step)
            optimizer.zero_grad()
            (-utility.mean()).backward()
            _check_gradients(policy, step)
            torch.nn.utils.clip_grad_norm_(policy.parameters(), training.largest_gradient)
            optimizer.step()
            state.step = step + 1
            state.recent.append(utility.mean().item())
            if state.step % training.evaluate_every == 0 or state.step == training.steps:
                found = _evaluate(policy, validation, everything)
                state.consider(policy, found, state.step, float(np.mean(state.recent)), share)
                state.recent.clear()
                if share == 1.0 and training.patience and state.waited >= training.patience:
                    state.stopped = True
                with _finished_first():
                    if checkpoint is not None:
                        state.save(Path(checkpoint), fingerprint, policy, optimizer)
                    if log is not None:
                        log({k: v for k, v in state.history[-1].items() if k != "step"}, state.step)
            bar.update(row, completed=state.step, score=state.score())
    policy.load_state_dict(state.best)
    policy.eval()
    return pd.DataFrame(state.history)


def earned_share(policy: Policy, validation: Pathwise, needed: float, grid=(0.25, 0.5, 0.75, 1.0)) -> float:
    """Share of the tilt that validation supports: the one that gains most over the base, or 0.

    Parameters
    ----------
    needed : float
        t-statistic, over the validation tasks, that the gain must reach. Without evidence the base is held: an adaptation
        must first do no harm.
    """
    everything = np.arange(len(validation))

    def utilities(share: float) -> np.ndarray:
        with torch.no_grad():
            return validation(with_shrink(policy, share).eval(), everything).numpy()

    base = utilities(0.0)
    gains = {share: utilities(share) - base for share in grid}
    best = max(gains, key=lambda share: gains[share].mean())
    error = gains[best].std(ddof=1) / np.sqrt(len(base)) if len(base) > 1 else np.inf
    return best if gains[best].mean() > needed * error else 0.0


def _universes(rng: np.random.Generator, paths: int, symbols: int, few: int) -> np.ndarray | None:
    """A random `few` of the symbols for each path, as a mask (paths, symbols)."""
    if few <= 0 or few >= symbols:
        return None
    mask = np.zeros((paths, symbols), dtype=bool)
    np.put_along_axis(mask, rng.random((paths, symbols)).argsort(axis=1)[:, :few], True, axis=1)
    return mask


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


def _evaluate(policy: Policy, objective: Pathwise, which: np.ndarray) -> float:
    policy.eval()
    with torch.no_grad():
        return float(objective(policy, which).mean())


def _check_utility(utility: torch.Tensor, which: np.ndarray, step: int) -> None:
    if not torch.isfinite(utility).all():
        task = which[int(torch.argmax((~torch.isfinite(utility)).int()))]
        raise FloatingPointError(f"step {step}: the utility of task {task} is not finite; look at its prices")


def _check_gradients(policy: Policy, step: int) -> None:
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            raise FloatingPointError(f"step {step}: the gradient of {name} is not finite; lower the learning rate")


def _fingerprint(policy: Policy, training: Training, *objectives: Pathwise) -> str:
    """What a checkpoint must share with the run that resumes it: configuration, shape and data."""
    digest = hashlib.sha256(json.dumps([asdict(policy.settings), asdict(training)], sort_keys=True).encode())
    for objective in objectives:
        digest.update(objective.identity.encode())
        digest.update(objective.start.tobytes())
        digest.update(objective.counted.numpy().tobytes())
    return digest.hexdigest()


@dataclass
class _State:
    """Where training stands, beside the weights and the optimiser's moments."""

    best: dict[str, torch.Tensor]
    step: int = 0
    waited: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)

    @classmethod
    def fresh(cls, policy: Policy) -> _State:
        return cls(_copy(policy))

    def score(self) -> str:
        return f"{self.history[-1]['validation']:+.4f}" if self.history else "..."

    def consider(self, policy: Policy, validation: float, step: int, utility: float, share: float) -> None:
        """Note an evaluation, and keep the weights if they are the best so far."""
        if all(validation > row["validation"] for row in self.history):
            self.best, self.waited = _copy(policy), 0
        else:
            self.waited += 1
        self.history.append({"step": step, "utility": utility, "validation": validation, "cost": share})

    def save(self, path: Path, fingerprint: str, policy: Policy, optimizer: torch.optim.Optimizer) -> None:
        """One file, written beside and moved into place: a kill at any instant leaves the old one or the new one."""
        tensors = {f"policy.{k}": v for k, v in _copy(policy).items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for i, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v.clone().contiguous() for k, v in moments.items()}
        about = {"step": self.step, "waited": self.waited, "stopped": self.stopped, "history": self.history}
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        save_file(tensors, beside, metadata={"fingerprint": fingerprint, "about": json.dumps(about)})
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)

    @classmethod
    def load(cls, path: Path, fingerprint: str, policy: Policy, optimizer: torch.optim.Optimizer) -> _State:
        try:
            with safe_open(path, "pt") as file:
                metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            about = json.loads(metadata["about"])
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise InputError(f"{path}: not a checkpoint ({error}); delete it, or train without --resume") from None
        if metadata["fingerprint"] != fingerprint:
            raise InputError(
                f"{path}: a checkpoint of another configuration or other data; use the same options, or train without --resume"
            )

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        policy.load_state_dict(part("policy."))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in part("optimizer.").items():
            i, name = key.split(".", 1)
            moments.setdefault(int(i), {})[name] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return cls(part("best."), about["step"], about["waited"], about["stopped"], about["history"])


def _copy(policy: Policy) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone().contiguous() for k, v in policy.state_dict().items()}
