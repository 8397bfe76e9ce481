"""Deep Q-learning (DQN), as a baseline without adaptation: one agent for all tasks.

The Q-network is trained on steps sampled uniformly from a replay buffer, with targets from an older copy of itself (Mnih et al.,
"Human-level control through deep reinforcement learning", Nature 2015)::

    minimise over θ   E_replay [ huber( r + γ (1 − terminated) max_a' Q(x', a'; θ_old) − Q(x, a; θ) ) ]

The replay buffer and the target network are buffers of the trained module, so checkpoints contain them and a resumed run is
bit-identical. The replay buffer belongs to one process, so DQN does not support ``torchrun``.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError
from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.distributions import Categorical
from metalearner.environments.rollouts import Rollout, rollout
from metalearner.learners.base import MetaLearner
from metalearner.learners.rl2 import InContext
from metalearner.objective import TaskSampler
from metalearner.objectives.policy_gradient import REINFORCE, EpisodeSampler
from metalearner.training.algorithm import Algorithm
from metalearner.training.config import Training
from strategies.networks import Shape, named_params


class Replay(nn.Module):
    """Replay buffer of the most recent steps.

    Parameters
    ----------
    capacity : int
        Largest number of steps.
    width : int
        Length of an observation.
    """

    count: Tensor
    rounds: Tensor

    def __init__(self, capacity: int, width: int):
        super().__init__()
        self.capacity = capacity
        for name in ("seen", "following"):
            self.register_buffer(name, torch.zeros(capacity, width))
        for name in ("reward", "ongoing"):
            self.register_buffer(name, torch.zeros(capacity))
        self.register_buffer("action", torch.zeros(capacity, dtype=torch.long))
        for name in ("count", "rounds"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def add(self, **steps: Tensor) -> None:
        """Add the steps of one round of episodes (tensors by name, one row per step), replacing the oldest."""
        new = len(steps["action"])
        at = (self.count + torch.arange(new).to(self.count))[-self.capacity :] % self.capacity
        for name, values in steps.items():
            getattr(self, name)[at] = values[-self.capacity :].to(getattr(self, name))
        self.count.add_(new)
        self.rounds.add_(1)

    def sample(self, rng: np.random.Generator, steps: int) -> dict[str, Tensor]:
        """Sample `steps` steps uniformly, with replacement."""
        rows = torch.from_numpy(rng.integers(min(int(self.count), self.capacity), size=steps)).to(self.count.device)
        return {name: held[rows] for name, held in self.named_buffers() if held.ndim}


class QLearning(Algorithm):
    """Minimises temporal-difference errors on replayed steps.

    Parameters
    ----------
    policy : ActorCritic
        Its outputs, before the softmax, are the Q-values, so the most probable action is the greedy one.
    learner : DQN
    sampler : EpisodeSampler
    """

    sampler: EpisodeSampler

    def __init__(self, policy: ActorCritic, learner: DQN, sampler: EpisodeSampler):
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("DQN's replay buffer belongs to one process; run it without torchrun")
        self.policy, self.learner, self.sampler = policy, learner, sampler
        self.older = copy.deepcopy(policy.body).requires_grad_(False)
        self.replay = Replay(learner.memory, policy.spaces.observations)
        self.module = nn.ModuleDict({"policy": policy, "older": self.older, "replay": self.replay})

    def parameter_groups(self, training: Training) -> list[dict[str, Any]]:
        return [{"params": list(self.policy.parameters()), "faster": 1.0, "weight_decay": training.weight_decay}]

    def losses(self, tasks: Any, total: int, rng: np.random.Generator) -> Iterator[Tensor]:
        learner = self.learner
        late = min(tasks.progress / learner.exploring, 1.0)
        if int(self.replay.rounds) % learner.renew == 0:
            self.older.load_state_dict(self.policy.body.state_dict())
        met = self._met(tasks, int(rng.integers(2**31)), 1 + (learner.least - 1) * late)
        self.replay.add(
            seen=met.x[met.alive], following=met.following[met.alive], action=met.action[met.alive],
            reward=met.reward[met.alive], ongoing=~met.terminated[met.alive],
        )  # fmt: skip
        for _ in range(learner.updates):
            held = self.replay.sample(rng, learner.sample)
            best = _worth(self.older, held["following"]).amax(-1)
            wanted = held["reward"] + learner.objective.discount * held["ongoing"] * best
            found = _worth(self.policy.body, held["seen"]).gather(-1, held["action"][:, None])[:, 0]
            yield nn.functional.huber_loss(found, wanted) * len(tasks) / total

    def scores(self, rng: np.random.Generator) -> Tensor:
        met = self._met(self.sampler.all_tasks(), int(rng.integers(2**31)), 0.0)
        return self.sampler.mean_return(met)

    def _met(self, tasks: Any, key: int, chance: float) -> Rollout:
        """Rollouts of the epsilon-greedy policy: a uniformly random action with probability `chance`, else the greedy one."""
        objective, n = self.learner.objective, self.policy.spaces.actions.outputs

        def choose(head: Tensor, noise: Tensor) -> Tensor:
            anything = (noise / max(chance, 1e-12) * n).long().clamp(max=n - 1)
            return torch.where(noise < chance, anything, head.argmax(-1))

        return rollout(
            self.policy, named_params(self.policy), self.sampler.environments, tasks, key,
            trials=objective.trials, episodes_per_trial=objective.episodes_per_trial, max_steps=objective.max_steps,
            choose=choose,
        )  # fmt: skip


def _worth(body: nn.Module, seen: Tensor) -> Tensor:
    return body(seen[:, None])[0][:, 0]


@dataclass(frozen=True)
class DQN(MetaLearner):
    """Deep Q-learning over all tasks. Further attributes are those of `MetaLearner`.

    Attributes
    ----------
    objective : REINFORCE
        Only its discount and its numbers of episodes and steps are used.
    memory : int
        Capacity of the replay buffer, in steps.
    sample, updates : int
        Steps per minibatch, and updates after each round of episodes.
    renew : int
        Rounds between copies of the network to the target network.
    least, exploring : float
        Final probability of a random action, and the fraction of training over which it falls linearly from 1 to that.
    """

    policy: Shape = field(default_factory=lambda: Shape(memory="none", hidden=64, layers=2, activation="relu"))
    objective: REINFORCE = field(default_factory=REINFORCE)
    memory: int = 20_000
    sample: int = 64
    updates: int = 32
    renew: int = 5
    least: float = 0.05
    exploring: float = 0.5
    name: str = "DQN"

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> QLearning:
        if (
            not isinstance(policy, ActorCritic)
            or not isinstance(policy.spaces.actions, Categorical)
            or policy.remembers
            or policy.critic
        ):
            raise InputError(
                "DQN needs environments with discrete actions, a policy with memory='none' and an objective without a critic: "
                "REINFORCE()"
            )
        assert isinstance(sampler, EpisodeSampler)
        return QLearning(policy, self, sampler)

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> InContext:
        assert isinstance(trained, QLearning)
        return InContext(self.name, trained.policy, 1, self.objective, seen_until, history)
