"""The training loop of all learners: validation, early stopping, data-parallel processes, checkpoints.

All randomness at step k comes from ``default_rng([seed, k])``, so a resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from markets import InputError
from markets.common.progress import visible
from metalearner.distributed import Ranks
from metalearner.objective import Log
from metalearner.training.algorithm import Algorithm
from metalearner.training.checkpoints import TrainingState
from metalearner.training.config import Training


def train(
    algorithm: Algorithm,
    validation: Algorithm,
    training: Training,
    config: Any,
    *,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    log: Log | None = None,
    title: str = "training",
    ceiling: float | None = None,
) -> pd.DataFrame:
    """Train the module of `algorithm` in place.

    The module ends with the weights that were best on `validation`, or the final ones (`Training.keep`). Under ``torchrun``
    each process trains on its shard of every step's tasks, and one all-reduce per update sums the gradients.

    Parameters
    ----------
    algorithm, validation : Algorithm
        The same module, on the training tasks and on the validation tasks.
    training : Training
    config
        All settings of the learner, for JSON. A checkpoint of other settings is refused.
    checkpoint, resume, progress, log
        See `MetaLearner.fit`.
    title : str
        Label of the progress bar.
    ceiling : float, optional
        Utility of the optimal strategy on `validation`. If given, the progress bar shows the score as a fraction of it.

    Returns
    -------
    DataFrame
        One row per validation: ``step``, ``utility`` (mean over the updates since the previous row) and ``validation``.

    Raises
    ------
    InputError
        When `resume` finds a checkpoint of another configuration, or `checkpoint` is a folder or missing.
    FloatingPointError
        When a utility or a gradient is not finite. The message names the step, and the task and bar, or the parameter.
    """
    if resume and checkpoint is None:
        raise InputError("there is nothing to resume from: say which checkpoint file")
    if checkpoint is not None and Path(checkpoint).is_dir():
        raise InputError(
            f"{checkpoint}: a folder; a checkpoint is a file, such as {Path(checkpoint) / 'checkpoint.safetensors'}"
        )
    ranks = Ranks.join()  # before any use of CUDA, since it selects this process's GPU
    module = algorithm.module.to(training.on_device)
    optimizer = torch.optim.AdamW(algorithm.parameter_groups(training), lr=training.learning_rate)
    fingerprint = _fingerprint(config, training, algorithm.sampler.identity, validation.sampler.identity)
    state = TrainingState.fresh(module)
    if checkpoint is not None and resume and Path(checkpoint).exists():
        state = TrainingState.load(Path(checkpoint), fingerprint, module, optimizer, algorithm.sampler.state)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("validation {task.fields[score]}"), transient=False, disable=not visible(progress) or ranks.rank > 0,
    )  # fmt: skip
    with bar, _threads(training.threads):
        row = bar.add_task(title, total=training.steps, completed=state.step, score=state.score(ceiling))
        if not state.history:
            state.consider(module, _validated(validation, training), 0, math.nan)
        while state.step < training.steps and not state.stopped:
            step = state.step
            rng = np.random.default_rng([training.seed, step])
            tasks = algorithm.sampler.sample(rng, training.batch, step / training.steps)
            _descend(algorithm, ranks.shard(tasks), len(tasks), rng, optimizer, training, state, ranks)
            state.step = step + 1
            if state.step % training.evaluate_every == 0 or state.step == training.steps:
                state.consider(module, _validated(validation, training), state.step, float(np.mean(state.recent)))
                state.recent.clear()
                if not algorithm.sampler.settled(state.step / training.steps):
                    state.waited = 0  # patience counts only after the cost curriculum
                state.stopped = bool(training.patience and state.waited >= training.patience)
                with _finished_first():
                    if checkpoint is not None and ranks.rank == 0:
                        state.save(Path(checkpoint), fingerprint, module, optimizer, algorithm.sampler.state)
                    if log is not None and ranks.rank == 0:
                        log({k: v for k, v in state.history[-1].items() if k != "step"}, state.step)
            bar.update(row, completed=state.step, score=state.score(ceiling))
    if training.keep == "best":
        module.load_state_dict(state.best)
    module.eval()
    return pd.DataFrame(state.history)


def _descend(algorithm, tasks, total, rng, optimizer, training, state, ranks) -> None:
    """The updates of one training step."""
    algorithm.module.train()
    for group in optimizer.param_groups:
        group["lr"] = training.rate(state.step) * group["faster"]
    try:
        for loss in algorithm.losses(tasks, total, rng):
            optimizer.zero_grad()
            loss.backward()
            value = ranks.add_up(algorithm.module, loss.detach())
            _clip_gradients(algorithm.module, training.largest_gradient)
            optimizer.step()
            state.recent.append(-value)
    except FloatingPointError as error:
        raise FloatingPointError(f"step {state.step}: {error}") from None


def _validated(validation: Algorithm, training: Training) -> float:
    validation.module.eval()
    with torch.no_grad():
        scores = validation.scores(np.random.default_rng([training.seed, 2**31]))
    if not torch.isfinite(scores).all():
        task = int((~torch.isfinite(scores)).nonzero()[0])
        raise FloatingPointError(f"the score of validation task {task} is not finite; check its prices or rewards")
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
    """Delay Ctrl-C until the block has finished, so that files are written completely."""
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


def _clip_gradients(module: nn.Module, largest: float) -> None:
    """Clip the gradients to the norm `largest`. To read their norm, the CPU waits for the device, once and not per parameter."""
    parameters = [p for p in module.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])  # type: ignore[misc]
    if not math.isfinite(float(norm)):
        wrong = [n for n, p in module.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
        raise FloatingPointError(
            f"the gradient of {wrong[0]} is not finite; lower the learning rate"
            if wrong
            else "the norm of the gradients is beyond the largest float32; lower the learning rate"
        )
    torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)


def _fingerprint(config: Any, training: Training, *identities: str) -> str:
    """SHA-256 of the configuration and the data; a checkpoint can be resumed only if it matches."""
    text = json.dumps([config, asdict(training), *identities], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
