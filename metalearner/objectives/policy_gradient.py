"""The estimated gradient: what an action was worth, by what followed it.

Where the world answers to what is done, its gradient is not known and has to be estimated from what was met::

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
from metalearner.environments.agent import ActorCritic, Agent
from metalearner.environments.rollouts import Drawn, Environments, Rollout, evaluate, rollout
from metalearner.objective import Objective, Part, Worlds
from strategies.networks import Parameters, Shape


@dataclass(frozen=True)
class PPO(Objective):
    """Reward in gymnasium environments.

    Attributes
    ----------
    episodes : int
        Meta-episodes of a task side by side: those of a support, and those of a query.
    runs : int
        Episodes of a meta-episode, one after another; a memory is kept from each to the next.
    discount, decay : float
        γ and λ of the advantages.
    baseline : {"critic", "linear", "none"}
        What is expected: a learnt value; a line through observation, time and their powers, fitted to each task's own
        returns (Duan et al., "Benchmarking deep reinforcement learning", ICML 2016); or nothing. Only a critic knows what
        would have followed a time limit.
    normalise : bool
        Advantages to mean 0 and spread 1: in the support of each task by itself; in a query the mean over a task that has
        several meta-episodes, else over all tasks, and one spread for all.
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
    spread : float
        First standard deviation of continuous actions, in units of half the box.
    longest : int
        Steps after which a meta-episode is cut.

    Raises
    ------
    InputError
        When one is unknown or out of range.
    """

    episodes: int = 1
    runs: int = 1
    discount: float = 0.99
    decay: float = 0.95
    baseline: Literal["critic", "linear", "none"] = "critic"
    normalise: bool = True
    clip: float = 0.2
    epochs: int = 4
    minibatches: int = 4
    entropy: float = 0.01
    value: float = 0.5
    scale: float = 1.0
    spread: float = 0.5
    longest: int = 1000

    def __post_init__(self) -> None:
        if self.baseline not in ("critic", "linear", "none"):
            raise InputError(f"objective: baseline {self.baseline!r} is unknown; use critic, linear or none")
        for name in ("episodes", "runs", "epochs", "minibatches", "longest"):
            if getattr(self, name) < 1:
                raise InputError(f"objective: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("discount", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"objective: {name} is {getattr(self, name)}; it must be in [0, 1]")
        for name in ("clip", "scale", "spread"):
            if not getattr(self, name) > 0:
                raise InputError(f"objective: {name} is {getattr(self, name)}; it must be above 0")

    def policy(self, settings: Shape, tasks: Any) -> ActorCritic:
        return ActorCritic(settings, Environments.of(tasks).spaces, self.baseline == "critic", self.spread)

    def on(self, tasks: Any, policy: nn.Module, context: int, support: int = 0) -> Episodes:
        """Episodes of `tasks`; memory begins with the meta-episode, and a support has `episodes` of them."""
        return Episodes(self, Environments.of(tasks))

    def recent(self, task: Any, policy: nn.Module, support: int) -> Episodes:
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
        return Episodes(self, Environments(lambda _: task(), (0,)))

    def deploy(self, policy: Any, context: int, name: str, seen_until: pd.Timestamp | None) -> Agent:
        """The agent."""
        return Agent(policy, context, name)

    def load(self, folder: Path) -> Agent:
        return Agent.load(folder)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, about: dict[str, Any]) -> PPO:
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in about.items() if k in known})


@dataclass(frozen=True)
class REINFORCE(PPO):
    """The textbook's: each action by all that followed it, once, with nothing expected; attributes as for `PPO`."""

    decay: float = 1.0
    baseline: Literal["critic", "linear", "none"] = "none"
    normalise: bool = False
    clip: float = math.inf
    epochs: int = 1
    minibatches: int = 1
    entropy: float = 0.0


class Episodes(Worlds):
    """Episodes of environments.

    Parameters
    ----------
    objective : PPO
    environments : Environments
    """

    steered = True

    def __init__(self, objective: PPO, environments: Environments):
        self.objective, self.environments = objective, environments

    @property
    def identity(self) -> str:  # type: ignore[override]
        """Of the environments; it takes steps in one of them, so that only a training asks for it."""
        return self.environments.identity

    def draw(self, rng: np.random.Generator, tasks: int, progress: float) -> Drawn:
        return Drawn.all_of(self.environments.draw(rng, tasks), progress)

    def everything(self) -> Drawn:
        """All tasks.

        Raises
        ------
        InputError
            When there is no end of them.
        """
        if self.environments.seeds is None:
            raise InputError("tasks to be judged on must be of given seeds: Environments(family, seeds=range(100))")
        return Drawn.all_of(np.asarray(self.environments.seeds))

    def share(self, drawn: Drawn, rank: int, ranks: int) -> Drawn:
        return drawn[np.arange(rank, len(drawn.seeds), ranks)]

    def size(self, drawn: Drawn) -> int:
        return len(drawn.seeds)

    def numbers(self, drawn: Drawn) -> np.ndarray:
        return drawn.seeds

    def collect(
        self, policy: nn.Module, params: Parameters, drawn: Drawn, part: Part, rng: np.random.Generator
    ) -> Rollout:
        assert isinstance(policy, ActorCritic)
        objective = self.objective
        met = rollout(
            policy, params, self.environments, drawn, part, int(rng.integers(2**31)),
            episodes=objective.episodes, runs=objective.runs, longest=objective.longest,
        )  # fmt: skip
        # a memory lives on from run to run; without one, each run is a life of its own
        end = met.done & (met.run == objective.runs - 1) if policy.remembers else met.done.clone()
        end[..., -1] = True
        reward = objective.scale * met.reward
        value = _line(met, reward, end, objective.discount) if objective.baseline == "linear" else met.value
        worth = advantages(reward, value, met.after, end, met.alive, objective.discount, objective.decay)
        met = replace(met, advantage=worth, target=worth + value)
        if not objective.normalise:
            return met
        count, total, square = _moments(met)
        centre = total / count
        spread = (square / count - centre**2).clamp(min=0).sqrt() + 1e-8
        return replace(met, centre=centre.to(worth), scale=spread.to(worth))

    def utility(self, policy: nn.Module, params: Parameters, batch: Rollout, *, twice: bool = False) -> Tensor:
        assert isinstance(policy, ActorCritic)
        objective, actions, query = self.objective, policy.spaces.actions, batch.part == "query"
        head, value, _ = evaluate(policy, params, batch.x)
        ratio = (actions.log_prob(head, batch.action) - batch.log_prob).exp()
        worth = (batch.advantage - batch.centre) / batch.scale
        gain = ratio * worth
        if query:
            gain = torch.minimum(gain, ratio.clamp(1 - objective.clip, 1 + objective.clip) * worth)
            if objective.entropy:
                gain = gain + objective.entropy * (1 - batch.drawn.progress) * actions.entropy(head)
        if value is not None:
            gain = gain - objective.value * (value - batch.target) ** 2
        gain = torch.where(batch.alive, gain, 0.0)
        self._check(gain, batch)
        return batch.share * gain.sum((1, 2)) / (batch.steps or batch.alive.sum((1, 2)))

    def minibatches(self, batches: list[Rollout], rng: np.random.Generator) -> Iterator[list[Rollout]]:
        if self.objective.normalise:
            batches = _alike(batches)
        drawn = batches[0].drawn
        if self.objective.episodes == 1:
            # Divided by its own number of steps, what ends an episode early would be worth more than what it pays. The mean
            # over several episodes is a weight of the task, and hardly that of an episode.
            steps = [float(summed(b.alive.sum())) / drawn.total if b.part == "query" else 0.0 for b in batches]
            batches = [replace(batch, steps=mean) for batch, mean in zip(batches, steps, strict=True)]
        for _ in range(self.objective.epochs):
            for places in np.array_split(rng.permutation(drawn.total), min(self.objective.minibatches, drawn.total)):
                rows = np.flatnonzero(np.isin(drawn.places, places))
                # a process whose share has none of them still takes its part in the sum of gradients: with nothing
                share = drawn.total / len(places) if len(rows) else 0.0
                rows = rows if len(rows) else np.zeros(1, dtype=int)
                parts = [batch[rows] for batch in batches]
                yield [replace(part, share=share) if part.part == "query" else part for part in parts]

    def sequences(self, policy: nn.Module, batch: Rollout) -> tuple[Tensor, Tensor]:
        return batch.x.to(next(policy.parameters()).device), batch.alive.sum(-1)

    def score(self, policy: nn.Module, params: Parameters, batch: Rollout) -> Tensor:
        """Mean reward of a run."""
        return batch.returns().mean(1).double() / self.objective.runs

    def _check(self, gain: Tensor, batch: Rollout) -> None:
        wrong = ~torch.isfinite(gain)
        if wrong.any():
            task, _, step = (int(i) for i in wrong.nonzero()[0])
            raise FloatingPointError(
                f"the gain of the task of seed {batch.drawn.seeds[task]} at its step {step} is not finite; "
                "look at its rewards, or lower the learning rate"
            )


def advantages(
    reward: Tensor, value: Tensor, after: Tensor, end: Tensor, alive: Tensor, discount: float, decay: float
) -> Tensor:
    """Generalised advantages along the last dimension of tensors of one shape.

    Parameters
    ----------
    reward, value : Tensor
    after : Tensor
        Value of what would have followed an `end`: 0 but for time limits.
    end, alive : Tensor of bool
        Steps nothing follows, and steps that count.
    discount, decay : float
    """
    found, last, following = [], torch.zeros_like(reward[..., 0]), torch.zeros_like(reward[..., 0])
    for t in reversed(range(reward.shape[-1])):
        expected = torch.where(end[..., t], after[..., t], following)
        surprise = reward[..., t] + discount * expected - value[..., t]
        last = torch.where(alive[..., t], surprise + discount * decay * torch.where(end[..., t], 0.0, last), 0.0)
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


def _moments(met: Rollout) -> tuple[Tensor, Tensor, Tensor]:
    """Number, sum and sum of squares of each task's advantages, shape (B, 1, 1)."""
    held = torch.where(met.alive, met.advantage.double(), 0.0)
    return (
        met.alive.sum((1, 2), keepdim=True).double(),
        held.sum((1, 2), keepdim=True),
        (held**2).sum((1, 2), keepdim=True),
    )


def _alike(batches: list[Rollout]) -> list[Rollout]:
    """The queries among `batches` with one scale for all tasks of all processes, so that a task weighs by what is at stake."""
    queries = [batch for batch in batches if batch.part == "query"]
    count, total, square = (torch.stack(parts) for parts in zip(*map(_moments, queries), strict=True))
    number, mean = summed(count.sum()), summed(total.sum()) / summed(count.sum())
    alone = batches[0].reward.shape[1] == 1
    centre = mean.expand_as(total) if alone else total / count
    spread = (summed((square - 2 * centre * total + centre**2 * count).sum()) / number).sqrt() + 1e-8
    made = iter(
        [replace(q, centre=c.float(), scale=spread.expand_as(c).float()) for q, c in zip(queries, centre, strict=True)]
    )
    return [next(made) if batch.part == "query" else batch for batch in batches]
