"""Adapting by gradient: a few steps from what was learnt, on the support alone.

The inner loop of every learner that adapts so::

    θ' = θ + α ∘ ∇ utility(θ; support),   K times

on all parameters or a few of them, with one step size or learnt ones, one a parameter and update. All tasks step at once: each
has its own copy of what adapts (`strategies.networks.call`).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from markets import InputError, TaskSet
from metalearner.learners.base import MetaLearner, MetaPolicy, query_scores
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm
from strategies import PolicySettings
from strategies.networks import Parameters, named_params, stack
from strategies.serialization import write_tensors

# Where the names of the parameters that adapt begin.
ADAPTS = {"all": "", "head": "body.last.", "film": "body.film.", "context_vector": "body.context_vector"}


@dataclass(frozen=True)
class Inner:
    """How a policy takes its steps.

    Attributes
    ----------
    adapts : {"all", "head", "film", "context_vector"}
        Parameters that change: all, the output layer, the scales and shifts of the units, or the context vector.
    steps : int
    step_size : float or tuple of float
        With ``adam``, about how far a parameter moves in a step. A tuple is one an update, its last for all beyond.
    support : int
        Bars at most; 0 is all that a task has. Of environments, the objective says how many episodes.
    optimizer : {"sgd", "adam"}
        Plain gradient steps, or Adam's.

    Raises
    ------
    InputError
        When one is unknown or out of range.
    """

    adapts: Literal["all", "head", "film", "context_vector"] = "all"
    steps: int = 5
    step_size: float | tuple[float, ...] = 0.1
    support: int = 120
    optimizer: Literal["sgd", "adam"] = "sgd"

    def __post_init__(self) -> None:
        if self.adapts not in ADAPTS:
            raise InputError(f"adapts {self.adapts!r} is unknown; use {', '.join(ADAPTS)}")
        if self.optimizer not in ("sgd", "adam"):
            raise InputError(f"optimizer {self.optimizer!r} is unknown; use sgd or adam")
        if not isinstance(self.step_size, (int, float)):
            object.__setattr__(self, "step_size", tuple(self.step_size))  # JSON makes lists of tuples
        if self.steps < 0 or not all(size > 0 for size in self.sizes) or self.support < 0:
            raise InputError("inner steps and support must be at least 0, and step_size above 0")

    @property
    def sizes(self) -> tuple[float, ...]:
        """The size of each step."""
        given = self.step_size if isinstance(self.step_size, tuple) else (self.step_size,)
        return tuple(given[min(k, len(given) - 1)] for k in range(max(self.steps, 1)))

    def names(self, policy: nn.Module) -> list[str]:
        """Names of the parameters that change.

        Raises
        ------
        InputError
            When the policy has none of them.
        """
        memory = policy.settings.memory  # type: ignore[union-attr]
        if memory != "none":
            raise InputError(
                f"the policy's memory is {memory!r}, but gradient steps adapt one without: what is deployed would forget; "
                "set memory='none', or let RL2 or Latent adapt by it"
            )
        found = [name for name in named_params(policy) if name.startswith(ADAPTS[self.adapts])]
        if not found:
            wanted = {"film": "head='film'", "context_vector": "context_vector=8 or so"}
            raise InputError(f"the policy has no {self.adapts} to adapt; give it {wanted[self.adapts]}")
        return found


# Learnt ones: of each parameter by name, its step sizes at each update, one row an update.
StepSizes = Mapping[str, Tensor] | None


class InnerStep(NamedTuple):
    """Where the inner loop stands.

    Attributes
    ----------
    params : dict of Tensor
        Of the policy, one copy a task of those that adapt.
    support : batch or None
        What the last step was taken on; None before the first.
    """

    params: dict[str, Tensor]
    support: Any


def inner_steps(
    sampler: TaskSampler,
    policy: nn.Module,
    tasks: Any,
    inner: Inner,
    rng: np.random.Generator,
    *,
    step_sizes: StepSizes = None,
    order: Literal[1, 2] = 1,
    supports: Sequence[Any] | None = None,
) -> Iterator[InnerStep]:
    """The policy before its steps and after each of them.

    Parameters
    ----------
    sampler : TaskSampler
    policy : Module
    tasks : TaskBatch
    inner : Inner
    rng : Generator
        For what is met by chance.
    step_sizes : dict of Tensor, optional
        Instead of ``inner.step_size``; steps beyond the last row are of its size.
    order : int
        With 2 the steps themselves are differentiable, through the simulator's second derivative; with 1 they count as
        constants.
    supports : sequence of batches, optional
        What each step is taken on, where it was met before; otherwise the policy as it then is meets it now.

    Yields
    ------
    InnerStep
    """
    names = inner.names(policy)
    params = stack(named_params(policy), names, len(tasks))
    moments = {name: (torch.zeros_like(params[name]), torch.zeros_like(params[name])) for name in names}
    yield InnerStep(params, None)
    for k, size in enumerate(inner.sizes[: inner.steps]):
        batch = sampler.collect(policy, params, tasks, "support", rng) if supports is None else supports[k]
        with torch.enable_grad():
            # what is not differentiated again is cut off, so that the graph of a step is gone when it is done
            at = params if order == 2 else {n: p.detach().requires_grad_() for n, p in params.items()}
            at = at if at[names[0]].requires_grad else {n: p.requires_grad_() for n, p in at.items()}
            utility = sampler.utility(policy, at, batch, twice=order == 2)
            gradients = torch.autograd.grad(utility.sum(), [at[n] for n in names], create_graph=order == 2)
        moved = {}
        for name, gradient in zip(names, gradients, strict=True):
            step = gradient if inner.optimizer == "sgd" else _adam(*moments[name], gradient, k + 1)
            learnt = None if step_sizes is None else step_sizes[name]
            moved[name] = params[name] + (size if learnt is None else learnt[min(k, len(learnt) - 1)]) * step
        params = params | moved
        yield InnerStep(params, batch)


def adapted(*args: Any, **options: Any) -> dict[str, Tensor]:
    """Parameters after the last step; see `inner_steps`."""
    *_, last = inner_steps(*args, **options)
    return last.params


def _adam(mean: Tensor, square: Tensor, gradient: Tensor, step: int) -> Tensor:
    """Adam's step of unit size; the moments are updated in place (Kingma and Ba, ICLR 2015)."""
    mean.mul_(0.9).add_(gradient, alpha=0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    return (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)


class Stepping(Algorithm):
    """A policy that is judged after its steps.

    Parameters
    ----------
    policy : Module
    sampler : TaskSampler
    inner : Inner
    """

    def __init__(self, policy: nn.Module, sampler: TaskSampler, inner: Inner):
        inner.names(policy)
        self.module = self.policy = policy
        self.sampler, self.inner = sampler, inner

    @property
    def step_sizes(self) -> StepSizes:
        """Those that were learnt, if any."""
        return None

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """None: nothing is learnt before the steps."""
        return iter(())

    def scores(self, rng: np.random.Generator) -> Tensor:
        tasks = self.sampler.all_tasks()
        params = adapted(self.sampler, self.policy, tasks, self.inner, rng, step_sizes=self.step_sizes)
        params = {name: p.detach() for name, p in params.items()}
        batch = self.sampler.collect(self.policy, params, tasks, "query", rng)
        with torch.no_grad():
            return self.sampler.score(self.policy, params, batch)


def best_step_size(algorithm: Stepping, candidates: tuple[float, ...], seed: int) -> Inner:
    """The inner loop of `algorithm` with the candidate that scores best after adapting: for validation tasks."""
    if not candidates:
        return algorithm.inner
    found = {}
    for size in candidates:
        algorithm.inner = replace(algorithm.inner, step_size=size)
        try:
            found[size] = float(algorithm.scores(np.random.default_rng(seed)).nan_to_num(-torch.inf).mean())
        except FloatingPointError:  # too large a step went out of range
            found[size] = -np.inf
    return replace(algorithm.inner, step_size=max(found, key=lambda size: found[size]))


class ByGradient(MetaPolicy, kind="gradient"):
    """A policy that takes gradient steps on what it saw last.

    Attributes
    ----------
    inner : Inner
    step_sizes : dict of Tensor or None
        One a parameter and update, if they were learnt.
    """

    def __init__(
        self, *args: Any, inner: Inner | None = None, step_sizes: dict[str, Tensor] | None = None, **more: Any
    ):
        super().__init__(*args, **more)
        self.inner, self.step_sizes = inner or Inner(), step_sizes

    @property
    def fingerprint(self) -> str:
        """Of the weights before any step, and of the steps."""
        digest = hashlib.sha256((super().fingerprint + json.dumps(asdict(self.inner))).encode())
        for name, sizes in sorted((self.step_sizes or {}).items()):
            digest.update(name.encode() + sizes.numpy().tobytes())
        return digest.hexdigest()

    def adapt(self, task: Any) -> Any:
        sampler = self.objective.recent(task, self.policy, self.inner.support)
        params = self._adapted(sampler, self.inner, np.random.default_rng(0))
        return self._deploy(with_parameters(self.policy, params), self.name)

    def unadapted(self) -> Any:
        """The weights before any step."""
        return self._deploy(self.policy, f"{self.name}, unadapted")

    def evaluate(self, tasks: TaskSet, steps: int | None = None) -> np.ndarray:
        """The policy takes its steps on the support, or `steps` of them, and then stands."""
        inner, rng = self.inner if steps is None else replace(self.inner, steps=steps), np.random.default_rng(0)
        sampler = self.objective.sampler(tasks, self.policy, 1, inner.support)
        params = {name: p.detach() for name, p in self._adapted(sampler, inner, rng).items()}
        return query_scores(sampler, self.policy, params, rng)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """No steps."""
        return self.evaluate(tasks, steps=0)

    def _adapted(self, sampler: TaskSampler, inner: Inner, rng: np.random.Generator) -> dict[str, Tensor]:
        return adapted(sampler, self.policy, sampler.all_tasks(), inner, rng, step_sizes=self.step_sizes)

    def _config(self) -> dict[str, Any]:
        return {"inner": asdict(self.inner), "learnt_step_sizes": self.step_sizes is not None}

    def _save_more(self, folder: Path) -> None:
        if self.step_sizes is not None:
            write_tensors(folder / "step_sizes.safetensors", self.step_sizes)

    def _restore(self, config: dict[str, Any], folder: Path) -> None:
        self.inner = Inner(**config["inner"])
        self.step_sizes = load_file(folder / "step_sizes.safetensors") if config["learnt_step_sizes"] else None


@dataclass(frozen=True)
class GradientLearner(MetaLearner):
    """A learner whose policy adapts by gradient steps; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    inner : Inner
    """

    policy: Any = field(default_factory=lambda: PolicySettings(memory="none"))
    inner: Inner = field(default_factory=Inner)

    def sampler(self, policy: nn.Module, tasks: Any) -> TaskSampler:
        return self.objective.sampler(tasks, policy, 1, self.inner.support)

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> ByGradient:
        assert isinstance(selected, Stepping)
        sizes = selected.step_sizes
        return ByGradient(
            self.name, selected.policy, 1, self.objective, seen_until, history, inner=selected.inner,
            step_sizes=None if sizes is None else {name: size.detach().cpu() for name, size in sizes.items()},
        )  # fmt: skip


def with_parameters(policy: nn.Module, params: Parameters) -> nn.Module:
    """A copy of `policy` with the parameters of one task."""
    other, shapes = copy.deepcopy(policy), named_params(policy)
    other.load_state_dict({n: p.detach().reshape(shapes[n].shape) for n, p in params.items()}, strict=False)
    return other.eval()
