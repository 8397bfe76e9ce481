"""What acts in gymnasium environments: the network, and the agent that has adapted.

The network is the same `Body` that trades. One with a memory reads, beside what it observes, what it did last, what that paid
and whether an episode ended then; the memory runs on over the ends of episodes, for it is there that it learns the task (Duan
et al., "RL²", arXiv 1611.02779).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from torch import Tensor, nn

from markets import InputError
from strategies import serialization as saving
from strategies.networks import Body, Shape


@dataclass(frozen=True)
class Choices:
    """One of n things, by the logits that the network puts out.

    A `head` is what it makes of the outputs: the parameters of a distribution over actions, which `sample` draws from by
    `noise` that was drawn before; ``outputs`` is how many there must be.

    Attributes
    ----------
    n, start : int
        As in `gymnasium.spaces.Discrete`.
    """

    n: int
    start: int = 0

    @property
    def outputs(self) -> int:
        return self.n

    def head(self, out: Tensor, log_spread: Tensor | None) -> Tensor:
        return out.log_softmax(-1)

    def noise(self, rng: np.random.Generator, *shape: int) -> Tensor:
        return torch.from_numpy(rng.random(shape, dtype=np.float32))

    def sample(self, head: Tensor, noise: Tensor) -> Tensor:
        return (head.exp().cumsum(-1) < noise[..., None]).sum(-1).clamp(max=self.n - 1)

    def best(self, head: Tensor) -> Tensor:
        return head.argmax(-1)

    def log_prob(self, head: Tensor, action: Tensor) -> Tensor:
        return head.gather(-1, action[..., None]).squeeze(-1)

    def entropy(self, head: Tensor) -> Tensor:
        return -(head.exp() * head).sum(-1)

    def encode(self, action: Tensor) -> Tensor:
        return nn.functional.one_hot(action, self.n).float()

    def to_environment(self, action: Tensor) -> np.ndarray:
        return action.numpy() + self.start


@dataclass(frozen=True)
class Moves:
    """A point of a box, by the means of normals in units of half its width, or of 1 where it has no end; see `Choices`.

    Attributes
    ----------
    low, high : tuple of float
    shape : tuple of int
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]

    @property
    def outputs(self) -> int:
        return len(self.low)

    def head(self, out: Tensor, log_spread: Tensor | None) -> Tensor:
        assert log_spread is not None
        return torch.cat([out, log_spread.expand_as(out)], -1)

    def noise(self, rng: np.random.Generator, *shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal((*shape, self.outputs), dtype=np.float32))

    def sample(self, head: Tensor, noise: Tensor) -> Tensor:
        mean, log_spread = head.chunk(2, -1)
        return mean + log_spread.exp() * noise

    def best(self, head: Tensor) -> Tensor:
        return head.chunk(2, -1)[0]

    def log_prob(self, head: Tensor, action: Tensor) -> Tensor:
        mean, log_spread = head.chunk(2, -1)
        z = (action - mean) / log_spread.exp()
        return (-0.5 * z**2 - log_spread - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, head: Tensor) -> Tensor:
        return (head.chunk(2, -1)[1] + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def encode(self, action: Tensor) -> Tensor:
        return action.clamp(-1, 1)

    def to_environment(self, action: Tensor) -> np.ndarray:
        low, high = np.array(self.low), np.array(self.high)
        bounded = np.isfinite(low) & np.isfinite(high)
        centre = np.add(low, high, where=bounded, out=np.zeros_like(low)) / 2
        half = np.subtract(high, low, where=bounded, out=np.full_like(low, 2.0)) / 2
        placed = np.clip(centre + half * action.numpy(), low, high).astype(np.float32)
        return placed.reshape(*action.shape[:-1], *self.shape)


Actions = Choices | Moves


@dataclass(frozen=True)
class Spaces:
    """What an environment shows and takes, as it is kept in JSON.

    Attributes
    ----------
    observations : int
        Numbers in an observation; of a `Discrete` one, its values.
    one_of : bool
        Observations are `Discrete`.
    actions : Actions
    first : int
        The least `Discrete` observation.
    """

    observations: int
    one_of: bool
    actions: Actions
    first: int = 0

    @classmethod
    def of(cls, observation: Space, action: Space) -> Spaces:
        """Those of an environment.

        Raises
        ------
        InputError
            When they are neither `Box` nor `Discrete`.
        """
        actions: Actions
        if isinstance(action, Discrete):
            actions = Choices(int(action.n), int(action.start))
        elif isinstance(action, Box):
            low, high = (tuple(float(x) for x in end.flatten()) for end in (action.low, action.high))
            actions = Moves(low, high, tuple(action.shape))
        else:
            raise InputError(f"the environment's actions are {action}; agents know Box and Discrete")
        if isinstance(observation, Discrete):
            return cls(int(observation.n), True, actions, int(observation.start))
        if isinstance(observation, Box):
            return cls(int(np.prod(observation.shape)), False, actions)
        raise InputError(f"the environment's observations are {observation}; agents know Box and Discrete")

    @classmethod
    def from_dict(cls, about: dict[str, Any]) -> Spaces:
        """From what ``dataclasses.asdict`` and JSON made of it."""
        actions: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in about["actions"].items()}
        return cls(**about | {"actions": Choices(**actions) if "n" in actions else Moves(**actions)})

    def read(self, observation: np.ndarray) -> Tensor:
        """N observations as the network reads them, shape (N, `observations`)."""
        held = torch.from_numpy(np.asarray(observation))
        if self.one_of:
            return nn.functional.one_hot(held.long() - self.first, self.observations).float()
        return held.float().reshape(-1, self.observations)


class ActorCritic(nn.Module):
    """Distribution of actions, and the value of what is to come.

    Parameters
    ----------
    settings : Shape
    spaces : Spaces
    critic : bool
        Whether there is a value.
    spread : float
        First standard deviation of a normal action, in units of half the box; a parameter, so that it adapts.
    """

    def __init__(self, settings: Shape, spaces: Spaces, critic: bool = True, spread: float = 0.5):
        super().__init__()
        self.settings = Shape(**{f.name: getattr(settings, f.name) for f in fields(Shape)})
        self.spaces, self.critic, self.spread = spaces, critic, spread
        self.remembers = settings.memory != "none"
        outputs = spaces.actions.outputs
        inputs = spaces.observations + (outputs + 2 if self.remembers else 0)
        self.body = Body(inputs, outputs + critic, self.settings)
        continuous = isinstance(spaces.actions, Moves)
        self.log_spread = nn.Parameter(torch.full((outputs,), math.log(spread))) if continuous else None
        # Orthogonal, with a small output: nearly the same chance for each action at first (Engstrom et al.,
        # "Implementation matters in deep policy gradients", ICLR 2020).
        for layer in self.body.layers:
            nn.init.orthogonal_(layer.weight, math.sqrt(2))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        last = self.body.last.weight.data
        nn.init.orthogonal_(last[:outputs], 0.01)
        nn.init.orthogonal_(last[outputs:], 1.0) if critic else None

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Along the episodes of B tasks.

        Parameters
        ----------
        x : Tensor of shape (B, E, T, inputs)
            Made by `inputs`.
        state : Tensor of shape (B, E, ..., ...), optional
            What `forward` returned for the steps before.

        Returns
        -------
        head : Tensor of shape (B, E, T, H)
            For `Actions`.
        value : Tensor of shape (B, E, T) or None
        state : Tensor of shape (B, E, ..., ...) or None
        """
        lead = x.shape[:2]
        out, state = self.body(x.flatten(0, 1), state=None if state is None else state.flatten(0, 1))
        out, actions = out.unflatten(0, lead), self.spaces.actions
        head = actions.head(out[..., : actions.outputs], self.log_spread)
        return head, out[..., -1] if self.critic else None, None if state is None else state.unflatten(0, lead)

    def inputs(self, observation: Tensor, last: Tensor) -> Tensor:
        """What is read at a step: shape (..., inputs) from what is observed and, with a memory, what `lately` said."""
        return torch.cat([observation, last], -1) if self.remembers else observation

    def lately(self, action: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        """What was done last, what it paid, and whether it was the last of an episode."""
        return torch.cat([self.spaces.actions.encode(action), reward.float()[..., None], done.float()[..., None]], -1)

    def nothing_yet(self, *shape: int) -> Tensor:
        """`lately` before the first step."""
        return torch.zeros(*shape, self.spaces.actions.outputs + 2)


class Agent:
    """A policy at work in one environment::

        action = agent.act(observation)
        observation, reward, terminated, truncated, _ = environment.step(action)
        agent.observe(reward, terminated or truncated)

    Parameters
    ----------
    policy : ActorCritic
    context : int
        With 1 the memory is cleared at every step.
    name : str
    rng : Generator, optional
        Actions are drawn by it as in training; without one they are the most probable.
    """

    seen_until = None

    def __init__(self, policy: ActorCritic, context: int, name: str = "agent", rng: np.random.Generator | None = None):
        self.policy, self.context, self.name, self.rng = policy, context, name, rng
        self.forget()

    def forget(self) -> None:
        """Clear the memory: another task."""
        self._state: Tensor | None = None
        self._action: Tensor | None = None  # not observed yet
        self._last = self.policy.nothing_yet(1, 1, 1)

    def act(self, observation: Any) -> Any:
        """The action on `observation`.

        Raises
        ------
        InputError
            When a memory was not told what its last action paid.
        """
        if self._action is not None and self.context > 1 and self.policy.remembers:
            raise InputError(
                f"{self.name} learns from what its actions pay: call observe(reward, done) after each step"
            )
        policy, actions = self.policy, self.policy.spaces.actions
        seen = policy.spaces.read(np.asarray(observation)[None])[None, None]
        with torch.no_grad():
            head, _, state = policy(policy.inputs(seen, self._last), self._state)
        self._state = state if self.context > 1 else None
        if self.rng is None:
            self._action = actions.best(head)
        else:
            self._action = actions.sample(head, actions.noise(self.rng, *head.shape[:3]))
        chosen = actions.to_environment(self._action)[0, 0, 0]
        return int(chosen) if isinstance(actions, Choices) else chosen

    def observe(self, reward: float, done: bool) -> None:
        """What the last action paid, and whether its episode is over; the memory lives on.

        Raises
        ------
        InputError
            When there was no action.
        """
        if self._action is None:
            raise InputError(f"{self.name} has not acted since it last observed: call act(observation) first")
        if self.context > 1:
            paid, over = (torch.full(self._last.shape[:3], float(x)) for x in (reward, done))
            self._last = self.policy.lately(self._action, paid, over)
        self._action = None

    def _about(self) -> dict[str, Any]:
        policy = self.policy
        how = {"critic": policy.critic, "spread": policy.spread}
        return {"settings": asdict(policy.settings), "spaces": asdict(policy.spaces), "context": self.context, **how}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings and the weights."""
        return saving.fingerprint(self._about(), self.policy)

    def save(self, folder: str | Path) -> Path:
        """Write ``agent.json`` and ``weights.safetensors``."""
        return saving.write(folder, "agent.json", {"name": self.name, **self._about()}, self.policy)

    @classmethod
    def load(cls, folder: str | Path) -> Agent:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When the files are missing or do not belong together.
        """
        with saving.reading(folder, "agent.json", "agent") as about:
            spaces = Spaces.from_dict(about["spaces"])
            policy = ActorCritic(Shape(**about["settings"]), spaces, about["critic"], about["spread"])
            policy.load_state_dict(saving.weights(folder))
            return cls(policy.eval(), about["context"], about["name"])
