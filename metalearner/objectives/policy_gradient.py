"""The estimated gradient: what an action was worth, by what followed it.

Where the environment answers to what is done, its gradient is not known and has to be estimated from what was met::

    ∇ E[Σ r]  =  E[ Σ_t ∇ log π(a_t | x_t) A_t ],      A_t = Σ_k (γλ)^k (r_{t+k} + γ V_{t+k+1} − V_{t+k})

(Williams, "Simple statistical gradient-following algorithms", Machine Learning 1992; Schulman et al., "High-dimensional
continuous control using generalized advantage estimation", ICLR 2016). `PPO` learns from one batch several times over, and
takes the gain from no action whose probability has changed by more than a share (Schulman et al., "Proximal policy
optimization algorithms", arXiv 1707.06347)::

    min(ρ A, clip(ρ, 1 − ε, 1 + ε) A),      ρ = π(a | x) / π_old(a | x)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
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
    """Reward in gymnasium environments.

    Attributes
    ----------
    trials : int
        Trials of a task side by side: those of a support, and those of a query.
    episodes_per_trial : int
        One after another; a memory is kept from each to the next.
    discount, gae_lambda : float
        γ and λ of the advantages.
    baseline : {"critic", "linear", "none"}
        What is expected: a learnt value; a line through observation, time and their powers, fitted to each task's own
        returns (Duan et al., "Benchmarking deep reinforcement learning", ICML 2016); or nothing. Only a critic knows what
        would have followed a time limit.
    normalise : bool
        Advantages to mean 0 and standard deviation 1: in the support of each task by itself; in a query the mean over a task
        that has several trials, else over all tasks, and one standard deviation for all.
    clip : float
        ε; a support is not clipped, for it is stepped on where it was met.
    epochs, minibatches : int
        Times that a batch is learnt from, and in how many parts.
    entropy : float
        Weight of the entropy at the start of training, falling to nothing at its end.
    value : float
        Weight of the critic's squared error.
    scale : float
        Rewards are multiplied by it for learning.
    initial_std : float
        Standard deviation of continuous actions at first, in units of half the box.
    max_steps : int
        Steps after which a trial is cut.

    Raises
    ------
    InputError
        When one is unknown or out of range.
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
        """Episodes of `tasks`; memory begins with the trial, and a support has `trials` of them."""
        return EpisodeSampler(self, Environments.of(tasks))

    def recent(self, task: Any, policy: nn.Module, support: int) -> EpisodeSampler:
        """The one task whose environments ``task()`` makes.

        Raises
        ------
        InputError
            When `task` cannot be called like this.
        """
        try:
            inspect.signature(task).bind()
        except (TypeError, ValueError):
            raise InputError(
                f"adapting wants what makes the task's environments, without arguments, as lambda: family(7); not {task!r}"
            ) from None
        return EpisodeSampler(self, Environments(lambda _: task(), (0,)))

    def deploy(self, policy: Any, context: int, name: str, seen_until: pd.Timestamp | None) -> Agent:
        """The agent."""
        return Agent(policy, context, name)

    def load(self, folder: Path) -> Agent:
        return Agent.load(folder)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> PPO:
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in config.items() if k in known})


@dataclass(frozen=True)
class REINFORCE(PPO):
    """The textbook's: each action by all that followed it, once, with nothing expected; attributes as for `PPO`."""

    gae_lambda: float = 1.0
    baseline: Literal["critic", "linear", "none"] = "none"
    normalise: bool = False
    clip: float = math.inf
    epochs: int = 1
    minibatches: int = 1
    entropy: float = 0.0


@dataclass(frozen=True)
class Experience:
    """A rollout, and what its actions were worth.

    Attributes
    ----------
    rollout : Rollout
    part : {"support", "query"}
    advantage, target : Tensor of shape (B, E, T)
        What an action was worth beyond what was expected, and the value that would have been right.
    centre, scale : Tensor of shape (B, 1, 1)
        Of the advantages, for learning.
    steps : float
        What the gain of a task is divided by: for a query of one trial a task the mean over all tasks, or short ones would be
        worth more; 0 is its own number of steps.
    weight : float
        Of a query's tasks in the loss: the number that it is a part of, by the number that it has.
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
        """Some of the tasks."""
        tensors = (self.advantage, self.target, self.centre, self.scale)
        advantage, target, centre, scale = (x[rows] for x in tensors)
        return Experience(self.rollout[rows], self.part, advantage, target, centre, scale, self.steps, self.weight)


class EpisodeSampler(TaskSampler):
    """Episodes of environments.

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
        """Of the environments; it takes steps in one of them, so that only a training asks for it."""
        return self.environments.identity

    def sample(self, rng: np.random.Generator, tasks: int, progress: float) -> SeedBatch:
        return SeedBatch.of(self.environments.sample(rng, tasks), progress)

    def all_tasks(self) -> SeedBatch:
        """All tasks.

        Raises
        ------
        InputError
            When there is no end of them.
        """
        if self.environments.seeds is None:
            raise InputError("tasks to be judged on must be of given seeds: Environments(make, seeds=range(100))")
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
        # a memory lives on from episode to episode; without one, each episode is a life of its own
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
                # a process whose shard has none of them still takes its part in the sum of gradients: with nothing
                weight = tasks.total / len(places) if len(rows) else 0.0
                rows = rows if len(rows) else np.zeros(1, dtype=int)
                parts = [batch[rows] for batch in batches]
                yield [replace(part, weight=weight) if part.part == "query" else part for part in parts]

    def _alike(self, batches: list[Experience]) -> list[Experience]:
        """`batches` with one scale and one length for the queries of all tasks of all processes."""
        queries = [batch for batch in batches if batch.part == "query"]
        if self.objective.normalise:
            queries = _normalised(queries)
        if self.objective.trials == 1:
            # Divided by its own number of steps, what ends an episode early would be worth more than what it pays. The mean
            # over several trials is a weight of the task, and hardly that of an episode.
            queries = [
                replace(query, steps=float(summed(query.rollout.alive.sum())) / query.tasks.total) for query in queries
            ]
        rest = iter(queries)
        return [next(rest) if batch.part == "query" else batch for batch in batches]

    def sequences(self, policy: nn.Module, batch: Experience) -> tuple[Tensor, Tensor]:
        return batch.rollout.x.to(next(policy.parameters()).device), batch.rollout.alive.sum(-1)

    def score(self, policy: nn.Module, params: Parameters, batch: Experience) -> Tensor:
        """Mean reward of an episode."""
        return self.mean_return(batch.rollout)

    def mean_return(self, met: Rollout) -> Tensor:
        """Mean reward of an episode of each task, shape (tasks,)."""
        return met.returns().mean(1).double() / self.objective.episodes_per_trial

    def _check(self, gain: Tensor, batch: Experience) -> None:
        wrong = ~torch.isfinite(gain)
        if wrong.any():
            task, _, step = (int(i) for i in wrong.nonzero()[0])
            raise FloatingPointError(
                f"the gain of the task of seed {batch.tasks.task_ids[task]} at its step {step} is not finite; "
                "look at its rewards, or lower the learning rate"
            )


def advantages(
    reward: Tensor, value: Tensor, after: Tensor, end: Tensor, alive: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Generalised advantages along the last dimension of tensors of one shape.

    Parameters
    ----------
    reward, value : Tensor
    after : Tensor
        Value of what would have followed an `end`: 0 but for time limits.
    end, alive : Tensor of bool
        Steps nothing follows, and steps that count.
    discount, gae_lambda : float
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
    """The linear baseline: least squares of each task's returns on observation and time."""
    none = torch.zeros_like(reward)
    returns = advantages(reward, none, none, end, met.alive, discount, 1.0).double()
    seen = met.observation.double().clamp(-10, 10)
    time = (torch.arange(seen.shape[2]).double() / 100).view(-1, 1).expand(*seen.shape[:3], 1)
    columns = torch.cat([seen, seen**2, time, time**2, time**3, torch.ones_like(time)], -1) * met.alive[..., None]
    a, b = columns.flatten(1, 2), (returns * met.alive).flatten(1, 2)[..., None]
    weights = torch.linalg.solve(a.mT @ a + 1e-5 * torch.eye(a.shape[-1]).double(), a.mT @ b)
    return (columns @ weights[:, None])[..., 0].to(reward)


def _moments(batch: Experience) -> tuple[Tensor, Tensor, Tensor]:
    """Number, sum and sum of squares of each task's advantages, shape (B, 1, 1)."""
    alive = batch.rollout.alive
    held = torch.where(alive, batch.advantage.double(), 0.0)
    return (
        alive.sum((1, 2), keepdim=True).double(),
        held.sum((1, 2), keepdim=True),
        (held**2).sum((1, 2), keepdim=True),
    )


def _normalised(queries: list[Experience]) -> list[Experience]:
    """`queries` with one scale for all tasks of all processes, so that a task weighs by what is at stake in it."""
    count, total, square = (torch.stack(parts) for parts in zip(*map(_moments, queries), strict=True))
    number, mean = summed(count.sum()), summed(total.sum()) / summed(count.sum())
    alone = queries[0].advantage.shape[1] == 1
    centre = mean.expand_as(total) if alone else total / count
    std = (summed((square - 2 * centre * total + centre**2 * count).sum()) / number).sqrt() + 1e-8
    return [replace(q, centre=c.float(), scale=std.expand_as(c).float()) for q, c in zip(queries, centre, strict=True)]
