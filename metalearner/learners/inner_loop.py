"""Adaptation by gradient steps on the support: the inner loop of MAML, Reptile, fine-tuning and training from scratch::

    θ' = θ + α ∘ ∇ utility(θ; support),   K times

It changes all parameters or some of them, with one step size or with learnt ones (per parameter and step). All tasks are adapted
in parallel, each with its own copy of the parameters that change (`strategies.networks.call`).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from markets import Bars, InputError, TaskSet
from markets.common.ranges import Range
from metalearner.learners.base import MetaLearner, MetaPolicy, query_scores
from metalearner.objective import TaskSampler
from metalearner.training.algorithm import Algorithm
from strategies import PolicySettings
from strategies.networks import Parameters, named_params, stack
from strategies.serialization import write_tensors
from strategies.strategy import latest

# Prefixes of the names of the parameters that adapt.
ADAPTS = {"all": "", "head": "body.last.", "film": "body.film.", "context_vector": "body.context_vector"}


@dataclass(frozen=True)
class Inner:
    """Settings of the inner loop.

    Attributes
    ----------
    adapts : {"all", "head", "film", "context_vector"}
        Parameters that change: all, the output layer, the FiLM scales and shifts, or the context vector.
    steps : int
        Number of gradient steps, K.
    step_size : float or tuple of float
        α; with ``adam``, roughly the distance that a parameter moves per step. A tuple gives one value per step, and its last
        value is used for all further steps.
    support : int
        Largest number of support bars, the last ones; 0 uses the whole support. In environments the objective sets the number
        of episodes.
    optimizer : {"sgd", "adam"}
        Plain gradient steps, or Adam.

    Raises
    ------
    InputError
        When a setting is unknown or out of range.
    """

    adapts: Literal["all", "head", "film", "context_vector"] = "all"
    steps: Annotated[int, Range(1, 10)] = 5
    step_size: Annotated[float | tuple[float, ...], Range(0.01, 1.0, log=True)] = 0.1
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
        """Step size of each step."""
        given = self.step_size if isinstance(self.step_size, tuple) else (self.step_size,)
        return tuple(given[min(k, len(given) - 1)] for k in range(max(self.steps, 1)))

    def names(self, policy: nn.Module) -> list[str]:
        """Names of the parameters of `policy` that change.

        Raises
        ------
        InputError
            When the policy has none of them, or has a memory.
        """
        memory = policy.settings.memory  # type: ignore[union-attr]
        if memory != "none":
            raise InputError(
                f"the policy's memory is {memory!r}, but gradient steps adapt policies without a memory only, because the "
                "deployed strategy does not keep it; set memory='none', or use RL2 or Latent, which adapt through their memory"
            )
        found = [name for name in named_params(policy) if name.startswith(ADAPTS[self.adapts])]
        if not found:
            wanted = {"film": "head='film'", "context_vector": "context_vector=8 or so"}
            raise InputError(f"the policy has no {self.adapts} to adapt; give it {wanted[self.adapts]}")
        return found


# Learnt step sizes: by parameter name, a tensor with one row per step.
StepSizes = Mapping[str, Tensor] | None


class InnerStep(NamedTuple):
    """State of the inner loop after a step.

    Attributes
    ----------
    params : dict of Tensor
        Parameters of the policy, with one copy per task of those that adapt.
    support : batch or None
        Batch on which the last step was taken; None before the first step.
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
    """Run the inner loop, yielding the parameters before the first step and after each step.

    Parameters
    ----------
    sampler : TaskSampler
    policy : Module
    tasks : TaskBatch
    inner : Inner
    rng : Generator
        For collecting the support.
    step_sizes : dict of Tensor, optional
        Learnt step sizes, used instead of ``inner.step_size``. Steps beyond the last row use the last row.
    order : {1, 2}
        2 makes the steps differentiable, which needs the simulator's second derivative. 1 treats the inner gradients as
        constants.
    supports : sequence of batches, optional
        Batch for each step, if collected before. Otherwise the current policy collects a new one at each step.

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
            # at first order, detach the parameters, so that the graph of each step is freed when the step is done
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
    """Parameters after the last inner step; arguments as for `inner_steps`."""
    *_, last = inner_steps(*args, **options)
    return last.params


def _adam(mean: Tensor, square: Tensor, gradient: Tensor, step: int) -> Tensor:
    """Adam's update for a step size of one (Kingma and Ba, ICLR 2015); the moments are updated in place."""
    mean.mul_(0.9).add_(gradient, alpha=0.1)
    square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    return (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)


class Stepping(Algorithm):
    """Scores a policy on the query after its inner steps; does no meta-training.

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
        """Learnt step sizes, if any."""
        return None

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        """No losses, since there is no meta-training."""
        return iter(())

    def scores(self, rng: np.random.Generator) -> Tensor:
        tasks = self.sampler.all_tasks()
        params = adapted(self.sampler, self.policy, tasks, self.inner, rng, step_sizes=self.step_sizes)
        params = {name: p.detach() for name, p in params.items()}
        batch = self.sampler.collect(self.policy, params, tasks, "query", rng)
        with torch.no_grad():
            return self.sampler.score(self.policy, params, batch)


def best_step_size(algorithm: Stepping, candidates: tuple[float, ...], seed: int) -> Inner:
    """The inner loop of `algorithm`, with the candidate step size of the best mean score on its (validation) tasks."""
    if not candidates:
        return algorithm.inner
    found = {}
    for size in candidates:
        algorithm.inner = replace(algorithm.inner, step_size=size)
        try:
            found[size] = float(algorithm.scores(np.random.default_rng(seed)).nan_to_num(-torch.inf).mean())
        except FloatingPointError:  # the step was too large
            found[size] = -np.inf
    return replace(algorithm.inner, step_size=max(found, key=lambda size: found[size]))


class ByGradient(MetaPolicy, kind="gradient"):
    """A policy that adapts by gradient steps on the support.

    Attributes
    ----------
    inner : Inner
    step_sizes : dict of Tensor or None
        Learnt step sizes, per parameter and step.
    """

    def __init__(
        self, *args: Any, inner: Inner | None = None, step_sizes: dict[str, Tensor] | None = None, **more: Any
    ):
        super().__init__(*args, **more)
        self.inner, self.step_sizes = inner or Inner(), step_sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the policy before adaptation, the inner loop's settings and the learnt step sizes."""
        digest = hashlib.sha256((super().fingerprint + json.dumps(asdict(self.inner))).encode())
        for name, sizes in sorted((self.step_sizes or {}).items()):
            digest.update(name.encode() + sizes.numpy().tobytes())
        return digest.hexdigest()

    def adapt(self, task: Any) -> Any:
        self._check_like_training(task)
        sampler = self.objective.recent(task, self.policy, self.inner.support)
        params = self._adapted(sampler, self.inner, np.random.default_rng(0))
        adapted_to = task.index[-1] if isinstance(task, Bars) else None  # the steps have learnt from these bars
        seen = latest((self.seen_until, adapted_to))
        return self.objective.deploy(with_parameters(self.policy, params), self.context, self.name, seen)

    @property
    def support(self) -> int:
        return self.inner.support

    def unadapted(self) -> Any:
        """The policy before any gradient step."""
        return self._deploy(self.policy, f"{self.name}, unadapted")

    def evaluate(self, tasks: TaskSet, steps: int | None = None) -> np.ndarray:
        """Utility per bar on each task's query, after adapting to its support.

        Parameters
        ----------
        tasks : TaskSet
            With supports of equal length.
        steps : int, optional
            Number of gradient steps, instead of ``inner.steps``.

        Returns
        -------
        ndarray of shape (len(tasks),)
        """
        inner, rng = self.inner if steps is None else replace(self.inner, steps=steps), np.random.default_rng(0)
        sampler = self.objective.sampler(tasks, self.policy, 1, inner.support)
        params = {name: p.detach() for name, p in self._adapted(sampler, inner, rng).items()}
        return query_scores(sampler, self.policy, params, rng)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query before any gradient step."""
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
    """Base class of the learners that adapt by gradient steps. Further attributes are those of `MetaLearner`.

    Attributes
    ----------
    inner : Inner
        Settings of the inner loop.
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
    """A copy of `policy` with the (adapted) parameters of one task."""
    other, shapes = copy.deepcopy(policy), named_params(policy)
    other.load_state_dict({n: p.detach().reshape(shapes[n].shape) for n, p in params.items()}, strict=False)
    return other.eval()
