"""Deep Q-learning, the textbook's way: one agent for all tasks, that does not adapt.

The network says what each action is worth, and is drawn towards what was paid and what the best next action is worth by an
older copy of itself, on steps drawn at random from a memory of many (Mnih et al., "Human-level control through deep
reinforcement learning", Nature 2015)::

    minimise over θ   E_memory [ huber( r + γ (1 − terminated) max_a' Q(x', a'; θ_old) − Q(x, a; θ) ) ]

Memory and copy are buffers of the module that is learnt, so a checkpoint holds them and a resumed training ends in the same
bits. What is remembered is one process's, so that it refuses ``torchrun``.
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
from metalearner.environments.agent import ActorCritic, Choices
from metalearner.environments.rollouts import Rollout, rollout
from metalearner.learners.base import MetaLearner
from metalearner.learners.rl2 import InContext
from metalearner.objectives.policy_gradient import REINFORCE, Episodes
from metalearner.training.loop import Lessons, Training
from strategies.networks import Shape, own


class Replay(nn.Module):
    """The last steps that were met, as buffers.

    Parameters
    ----------
    room : int
        Steps that are kept.
    width : int
        Numbers in what a policy reads.
    """

    count: Tensor
    rounds: Tensor

    def __init__(self, room: int, width: int):
        super().__init__()
        self.room = room
        for name in ("seen", "following"):
            self.register_buffer(name, torch.zeros(room, width))
        for name in ("reward", "ongoing"):
            self.register_buffer(name, torch.zeros(room))
        self.register_buffer("action", torch.zeros(room, dtype=torch.long))
        for name in ("count", "rounds"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def add(self, **steps: Tensor) -> None:
        """Keep a round of `steps`, tensors by name with a row a step, in the place of the oldest."""
        new = len(steps["action"])
        at = (self.count + torch.arange(new).to(self.count))[-self.room :] % self.room
        for name, values in steps.items():
            getattr(self, name)[at] = values[-self.room :].to(getattr(self, name))
        self.count.add_(new)
        self.rounds.add_(1)

    def draw(self, rng: np.random.Generator, steps: int) -> dict[str, Tensor]:
        """Some of what is kept, each as likely."""
        rows = torch.from_numpy(rng.integers(min(int(self.count), self.room), size=steps)).to(self.count.device)
        return {name: held[rows] for name, held in self.named_buffers() if held.ndim}


class QLearning(Lessons):
    """Temporal differences on remembered steps.

    Parameters
    ----------
    policy : ActorCritic
        Its outputs, before any softmax, are what actions are worth: the most probable action is the best one.
    learner : DQN
    worlds : Episodes
    """

    worlds: Episodes

    def __init__(self, policy: ActorCritic, learner: DQN, worlds: Episodes):
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError("DQN remembers what one process met; run it without torchrun")
        self.policy, self.learner, self.worlds = policy, learner, worlds
        self.older = copy.deepcopy(policy.body).requires_grad_(False)
        self.replay = Replay(learner.memory, policy.spaces.observations)
        self.module = nn.ModuleDict({"policy": policy, "older": self.older, "replay": self.replay})

    def groups(self, training: Training) -> list[dict[str, Any]]:
        return [{"params": list(self.policy.parameters()), "faster": 1.0, "weight_decay": training.weight_decay}]

    def losses(self, drawn: Any, tasks: int, rng: np.random.Generator) -> Iterator[Tensor]:
        learner = self.learner
        late = min(drawn.progress / learner.exploring, 1.0)
        if int(self.replay.rounds) % learner.renew == 0:
            self.older.load_state_dict(self.policy.body.state_dict())
        met = self._met(drawn, int(rng.integers(2**31)), 1 + (learner.least - 1) * late)
        self.replay.add(
            seen=met.x[met.alive], following=met.following[met.alive], action=met.action[met.alive],
            reward=met.reward[met.alive], ongoing=~met.terminated[met.alive],
        )  # fmt: skip
        for _ in range(learner.updates):
            held = self.replay.draw(rng, learner.sample)
            best = _worth(self.older, held["following"]).amax(-1)
            wanted = held["reward"] + learner.objective.discount * held["ongoing"] * best
            found = _worth(self.policy.body, held["seen"]).gather(-1, held["action"][:, None])[:, 0]
            yield nn.functional.huber_loss(found, wanted) * len(drawn.seeds) / tasks

    def scores(self, rng: np.random.Generator) -> Tensor:
        everything = self.worlds.everything()
        met = self._met(everything, int(rng.integers(2**31)), 0.0)
        return self.worlds.score(self.policy, own(self.policy), met)

    def _met(self, drawn: Any, key: int, chance: float) -> Rollout:
        """What happens when the best is done, and with some `chance` anything."""
        objective, n = self.learner.objective, self.policy.spaces.actions.outputs

        def choose(head: Tensor, noise: Tensor) -> Tensor:
            anything = (noise / max(chance, 1e-12) * n).long().clamp(max=n - 1)
            return torch.where(noise < chance, anything, head.argmax(-1))

        return rollout(
            self.policy, own(self.policy), self.worlds.environments, drawn, "query", key,
            episodes=objective.episodes, runs=objective.runs, longest=objective.longest, choose=choose,
        )  # fmt: skip


def _worth(body: nn.Module, seen: Tensor) -> Tensor:
    return body(seen[:, None])[0][:, 0]


@dataclass(frozen=True)
class DQN(MetaLearner):
    """Deep Q-learning over all tasks; the attributes not named here are those of `MetaLearner`.

    Attributes
    ----------
    objective : REINFORCE
        Of it are used discount, and how many episodes of a task are met at each step of the training.
    memory : int
        Steps that are remembered.
    sample, updates : int
        Remembered steps an update, and updates after each round of episodes.
    renew : int
        Rounds after which the older copy is renewed.
    least, exploring : float
        Chance of a random action at last, and the share of training over which it falls there from 1.
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

    def lessons(self, policy: nn.Module, tasks: Any) -> QLearning:
        if (
            not isinstance(policy, ActorCritic)
            or not isinstance(policy.spaces.actions, Choices)
            or policy.remembers
            or policy.critic
        ):
            raise InputError(
                "DQN needs environments with discrete actions, a policy with memory='none' and an objective without a critic: "
                "REINFORCE()"
            )
        return QLearning(policy, self, self.objective.on(tasks, policy, 1))

    def made(
        self, lessons: Lessons, used: Lessons, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> InContext:
        assert isinstance(lessons, QLearning)
        return InContext(self.name, lessons.policy, 1, self.objective, seen_until, history)
