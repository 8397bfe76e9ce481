"""Policy gradients estimated from rollouts (`PPO`, `REINFORCE`), for any gymnasium environment.

If the environment reacts to actions, the gradient of the expected reward is not available and is estimated from rollouts::

    ∇ E[Σ r]  =  E[ Σ_t ∇ log π(a_t | x_t) A_t ],      A_t = Σ_k (γλ)^k (r_{t+k} + γ V_{t+k+1} − V_{t+k})

(Williams, "Simple statistical gradient-following algorithms", Machine Learning 1992; Schulman et al., "High-dimensional
continuous control using generalized advantage estimation", ICLR 2016). `PPO` uses each batch for several updates, and removes
the incentive to change an action's probability by more than a factor 1 ± ε (Schulman et al., "Proximal policy optimization
algorithms", arXiv 1707.06347)::

    min(ρ A, clip(ρ, 1 − ε, 1 + ε) A),      ρ = π(a | x) / π_old(a | x)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError
from metalearner.distributed import summed
from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.agent import Agent
from metalearner.environments.rollouts import Rollout, SeedBatch, evaluate, rollout
from metalearner.environments.tasks import Environments
from metalearner.objective import Objective, Part, TaskSampler
from strategies.networks import Parameters, Shape


@dataclass(frozen=True)
class PPO(Objective):
    """Expected reward in gymnasium environments, by proximal policy optimisation.

    Attributes
    ----------
    trials : int
        Parallel trials per task, in the support and in the query each.
    episodes_per_trial : int
        Consecutive episodes in a trial; the policy's memory is kept from one to the next.
    discount, gae_lambda : float
        γ and λ of generalised advantage estimation.
    baseline : {"critic", "linear", "none"}
        Baseline of the advantages. ``critic``: a learnt value function. ``linear``: a linear regression of each task's own
        returns on observation, time and their powers (Duan et al., "Benchmarking deep reinforcement learning", ICML 2016).
        ``none``: zero. Only the critic bootstraps at time limits.
    normalise : bool
        Whether to standardise advantages. In the support, each task uses its own mean and standard deviation. In the query,
        the mean is per task if `trials` is above 1, else over all tasks, and the standard deviation is over all tasks.
    clip : float
        ε. Only the query is clipped: the inner step on the support is taken at the policy that collected it.
    epochs, minibatches : int
        Passes over each batch, and minibatches per pass.
    entropy : float
        Weight of the entropy bonus at the start of training; it falls linearly to zero at the end.
    value : float
        Weight of the critic's squared error.
    scale : float
        Factor on the rewards in training.
    initial_std : float
        Initial standard deviation of continuous actions, in units of half the width of the action space.
    max_steps : int
        Largest number of steps in a trial.

    Raises
    ------
    InputError
        When a setting is unknown or out of range.
    """

    trials: int = 1
    episodes_per_trial: int = 1
    discount: float = 0.99
    gae_lambda: float = 0.95
    baseline: Literal["critic", "linear", "none"] = "critic"
    normalise: bool = True
    clip: float = 0.2
    epochs: int = 4
    minibatches: int = 4
    entropy: float = 0.01
    value: float = 0.5
    scale: float = 1.0
    initial_std: float = 0.5
    max_steps: int = 1000

    def __post_init__(self) -> None:
        if self.baseline not in ("critic", "linear", "none"):
            raise InputError(f"objective: baseline {self.baseline!r} is unknown; use critic, linear or none")
        for name in ("trials", "episodes_per_trial", "epochs", "minibatches", "max_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"objective: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"objective: {name} is {getattr(self, name)}; it must be in [0, 1]")
        for name in ("clip", "scale", "initial_std"):
            if not getattr(self, name) > 0:
                raise InputError(f"objective: {name} is {getattr(self, name)}; it must be above 0")

    def policy(self, settings: Shape, tasks: Any) -> ActorCritic:
        return ActorCritic(settings, Environments.of(tasks).spaces, self.baseline == "critic", self.initial_std)

    def sampler(self, tasks: Any, policy: nn.Module, context: int, support: int = 0) -> EpisodeSampler:
        """An `EpisodeSampler` on `tasks`. `context` and `support` are not used: memory starts at the beginning of each trial."""
        return EpisodeSampler(self, Environments.of(tasks))

    def recent(self, task: Any, policy: nn.Module, support: int) -> EpisodeSampler:
        """A sampler with a single task, whose environments are made by ``task()``.

        Raises
        ------
        InputError
            When `task` cannot be called without arguments.
        """
        try:
            inspect.signature(task).bind()
        except (TypeError, ValueError):
            raise InputError(
                "adapting needs a function that makes the task's environments, without arguments, as lambda: family(7); "
                f"not {task!r}"
            ) from None
        return EpisodeSampler(self, Environments(lambda _: task(), (0,)))

    def deploy(self, policy: Any, context: int, name: str, seen_until: pd.Timestamp | None) -> Agent:
        """The policy as an `Agent`."""
        return Agent(policy, context, name)

    def load(self, folder: Path) -> Agent:
        return Agent.load(folder)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> PPO:
        return cls(**config)


@dataclass(frozen=True)
class REINFORCE(PPO):
    """REINFORCE: the plain policy gradient, with full returns, no baseline and one update per batch; attributes as for `PPO`."""

    gae_lambda: float = 1.0
    baseline: Literal["critic", "linear", "none"] = "none"
    normalise: bool = False
    clip: float = math.inf
    epochs: int = 1
    minibatches: int = 1
    entropy: float = 0.0


@dataclass(frozen=True)
class Experience:
    """A rollout with its advantages.

    Attributes
    ----------
    rollout : Rollout
    part : {"support", "query"}
    advantage, target : Tensor of shape (B, E, T)
        Advantage of each action, and regression target of the critic.
    centre, scale : Tensor of shape (B, 1, 1)
        Mean and standard deviation by which advantages are standardised.
    steps : float
        Number of steps by which the sum over a task is divided; 0 is the task's own number. With one trial per task, queries
        use the mean over all tasks, because dividing by their own number would give short episodes more weight.
    weight : float
        Weight of the tasks in the loss. In a minibatch of queries: number of all tasks / number in the minibatch.
    """

    rollout: Rollout
    part: Part
    advantage: Tensor
    target: Tensor
    centre: Tensor
    scale: Tensor
    steps: float = 0.0
    weight: float = 1.0

    @property
    def tasks(self) -> SeedBatch:
        return self.rollout.tasks

    def __getitem__(self, rows: Any) -> Experience:
        """The experience of the tasks selected by `rows`."""
        tensors = (self.advantage, self.target, self.centre, self.scale)
        advantage, target, centre, scale = (x[rows] for x in tensors)
        return Experience(self.rollout[rows], self.part, advantage, target, centre, scale, self.steps, self.weight)


class EpisodeSampler(TaskSampler):
    """Samples tasks from gymnasium environments, and collects episodes in them.

    Parameters
    ----------
    objective : PPO
    environments : Environments
    """

    on_policy = True

    def __init__(self, objective: PPO, environments: Environments):
        self.objective, self.environments = objective, environments

    @property
    def identity(self) -> str:  # type: ignore[override]
        """Fingerprint of the environments. Computing it steps one of them, so only training does it."""
        return self.environments.identity

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> SeedBatch:
        return SeedBatch.of(self.environments.sample(rng, tasks), progress)

    def all_tasks(self) -> SeedBatch:
        """All tasks.

        Raises
        ------
        InputError
            When the environments have no fixed list of seeds.
        """
        if self.environments.seeds is None:
            raise InputError("tasks for evaluation must have fixed seeds: Environments(make, seeds=range(100))")
        return SeedBatch.of(np.asarray(self.environments.seeds))

    def collect(
        self, policy: nn.Module, params: Parameters, tasks: SeedBatch, part: Part, rng: np.random.Generator
    ) -> Experience:
        assert isinstance(policy, ActorCritic)
        objective = self.objective
        met = rollout(
            policy, params, self.environments, tasks, int(rng.integers(2**31)), trials=objective.trials,
            episodes_per_trial=objective.episodes_per_trial, max_steps=objective.max_steps,
        )  # fmt: skip
        # With a memory, advantages run on over the episodes of a trial; without one, each episode is on its own.
        end = met.done & (met.episode == objective.episodes_per_trial - 1) if policy.remembers else met.done.clone()
        end[..., -1] = True
        reward = objective.scale * met.reward
        value = _line(met, reward, end, objective.discount) if objective.baseline == "linear" else met.value
        worth = advantages(reward, value, met.after, end, met.alive, objective.discount, objective.gae_lambda)
        one = torch.ones(len(tasks), 1, 1)
        found = Experience(met, part, worth, worth + value, 0 * one, one)
        if not objective.normalise:
            return found
        count, total, square = _moments(found)
        centre = total / count
        std = (square / count - centre**2).clamp(min=0).sqrt() + 1e-8
        return replace(found, centre=centre.to(worth), scale=std.to(worth))

    def utility(self, policy: nn.Module, params: Parameters, batch: Experience, *, twice: bool = False) -> Tensor:
        assert isinstance(policy, ActorCritic)
        objective, actions, met = self.objective, policy.spaces.actions, batch.rollout
        head, value, _ = evaluate(policy, params, met.x)
        ratio = (actions.log_prob(head, met.action) - met.log_prob).exp()
        worth = (batch.advantage - batch.centre) / batch.scale
        gain = ratio * worth
        if batch.part == "query":
            gain = torch.minimum(gain, ratio.clamp(1 - objective.clip, 1 + objective.clip) * worth)
            if objective.entropy:
                gain = gain + objective.entropy * (1 - batch.tasks.progress) * actions.entropy(head)
        if value is not None:
            gain = gain - objective.value * (value - batch.target) ** 2
        gain = torch.where(met.alive, gain, 0.0)
        self._check(gain, batch)
        return batch.weight * gain.sum((1, 2)) / (batch.steps or met.alive.sum((1, 2)))

    def minibatches(self, batches: list[Experience], rng: np.random.Generator) -> Iterator[list[Experience]]:
        batches, tasks = self._alike(batches), batches[0].tasks
        for _ in range(self.objective.epochs):
            for places in np.array_split(rng.permutation(tasks.total), min(self.objective.minibatches, tasks.total)):
                rows = np.flatnonzero(np.isin(tasks.places, places))
                # a process without any of these tasks must still join the all-reduce, so it contributes one task of weight 0
                weight = tasks.total / len(places) if len(rows) else 0.0
                rows = rows if len(rows) else np.zeros(1, dtype=int)
                parts = [batch[rows] for batch in batches]
                yield [replace(part, weight=weight) if part.part == "query" else part for part in parts]

    def _alike(self, batches: list[Experience]) -> list[Experience]:
        """`batches`, with the queries' scale and number of steps made common to all tasks of all processes."""
        queries = [batch for batch in batches if batch.part == "query"]
        if self.objective.normalise:
            queries = _normalised(queries)
        if self.objective.trials == 1:
            # Dividing by the task's own number of steps would reward actions that end an episode early. With several trials
            # per task, the division weights whole tasks and hardly affects single episodes.
            queries = [
                replace(query, steps=float(summed(query.rollout.alive.sum())) / query.tasks.total) for query in queries
            ]
        rest = iter(queries)
        return [next(rest) if batch.part == "query" else batch for batch in batches]

    def sequences(self, policy: nn.Module, batch: Experience) -> tuple[Tensor, Tensor]:
        return batch.rollout.x.to(next(policy.parameters()).device), batch.rollout.alive.sum(-1)

    def score(self, policy: nn.Module, params: Parameters, batch: Experience) -> Tensor:
        """Mean total reward per episode of each task, shape (tasks,)."""
        return self.mean_return(batch.rollout)

    def mean_return(self, met: Rollout) -> Tensor:
        """Mean total reward per episode of each task in the rollout, shape (tasks,)."""
        return met.returns().mean(1).double() / self.objective.episodes_per_trial

    def _check(self, gain: Tensor, batch: Experience) -> None:
        wrong = ~torch.isfinite(gain)
        if wrong.any():
            task, _, step = (int(i) for i in wrong.nonzero()[0])
            raise FloatingPointError(
                f"the gain of the task of seed {batch.tasks.task_ids[task]} at its step {step} is not finite; "
                "check its rewards, or lower the learning rate"
            )


def advantages(
    reward: Tensor, value: Tensor, after: Tensor, end: Tensor, alive: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Generalised advantage estimation along the last dimension; all tensors have the same shape.

    Parameters
    ----------
    reward, value : Tensor
    after : Tensor
        Bootstrap value after each `end`: the value of the next state at a time limit, else 0.
    end, alive : Tensor of bool
        Last steps of a sequence, and steps that count.
    discount, gae_lambda : float
        γ and λ.

    Returns
    -------
    Tensor
        Advantages; 0 at steps that do not count.
    """
    found, last, following = [], torch.zeros_like(reward[..., 0]), torch.zeros_like(reward[..., 0])
    for t in reversed(range(reward.shape[-1])):
        expected = torch.where(end[..., t], after[..., t], following)
        surprise = reward[..., t] + discount * expected - value[..., t]
        last = torch.where(alive[..., t], surprise + discount * gae_lambda * torch.where(end[..., t], 0.0, last), 0.0)
        found.append(last)
        following = value[..., t]
    return torch.stack(found[::-1], -1)


def _line(met: Rollout, reward: Tensor, end: Tensor, discount: float) -> Tensor:
    """The linear baseline: least-squares regression of each task's returns on observation and time."""
    none = torch.zeros_like(reward)
    returns = advantages(reward, none, none, end, met.alive, discount, 1.0).double()
    seen = met.observation.double().clamp(-10, 10)
    time = (torch.arange(seen.shape[2]).double() / 100).view(-1, 1).expand(*seen.shape[:3], 1)
    columns = torch.cat([seen, seen**2, time, time**2, time**3, torch.ones_like(time)], -1) * met.alive[..., None]
    a, b = columns.flatten(1, 2), (returns * met.alive).flatten(1, 2)[..., None]
    weights = torch.linalg.solve(a.mT @ a + 1e-5 * torch.eye(a.shape[-1]).double(), a.mT @ b)
    return (columns @ weights[:, None])[..., 0].to(reward)


def _moments(batch: Experience) -> tuple[Tensor, Tensor, Tensor]:
    """Count, sum and sum of squares of each task's advantages, each of shape (B, 1, 1)."""
    alive = batch.rollout.alive
    held = torch.where(alive, batch.advantage.double(), 0.0)
    return (
        alive.sum((1, 2), keepdim=True).double(),
        held.sum((1, 2), keepdim=True),
        (held**2).sum((1, 2), keepdim=True),
    )


def _normalised(queries: list[Experience]) -> list[Experience]:
    """`queries`, with one scale for all tasks of all processes, so that tasks with larger advantages have more weight."""
    count, total, square = (torch.stack(parts) for parts in zip(*map(_moments, queries), strict=True))
    number, mean = summed(count.sum()), summed(total.sum()) / summed(count.sum())
    alone = queries[0].advantage.shape[1] == 1
    centre = mean.expand_as(total) if alone else total / count
    std = (summed((square - 2 * centre * total + centre**2 * count).sum()) / number).sqrt() + 1e-8
    return [replace(q, centre=c.float(), scale=std.expand_as(c).float()) for q, c in zip(queries, centre, strict=True)]
