"""Distributions over actions, and what an environment shows and takes (`Spaces`).

A distribution's ``head`` is what it makes of the network's outputs: its parameters, which `sample` draws from by noise that was
drawn before; ``outputs`` is how many outputs there must be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from torch import Tensor, nn

from markets import InputError


@dataclass(frozen=True)
class Categorical:
    """One of n actions, by the logits that the network puts out.

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

    def head(self, out: Tensor, log_std: Tensor | None) -> Tensor:
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
class DiagonalGaussian:
    """A point of a box, by the means of independent normals in units of half its width, or of 1 where it has no end.

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

    def head(self, out: Tensor, log_std: Tensor | None) -> Tensor:
        assert log_std is not None
        return torch.cat([out, log_std.expand_as(out)], -1)

    def noise(self, rng: np.random.Generator, *shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal((*shape, self.outputs), dtype=np.float32))

    def sample(self, head: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = head.chunk(2, -1)
        return mean + log_std.exp() * noise

    def best(self, head: Tensor) -> Tensor:
        return head.chunk(2, -1)[0]

    def log_prob(self, head: Tensor, action: Tensor) -> Tensor:
        mean, log_std = head.chunk(2, -1)
        z = (action - mean) / log_std.exp()
        return (-0.5 * z**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

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


Distribution = Categorical | DiagonalGaussian


@dataclass(frozen=True)
class Spaces:
    """What an environment shows and takes, as it is kept in JSON.

    Attributes
    ----------
    observations : int
        Numbers in an observation; of a `Discrete` one, its values.
    one_of : bool
        Observations are `Discrete`.
    actions : Distribution
    first : int
        The least `Discrete` observation.
    """

    observations: int
    one_of: bool
    actions: Distribution
    first: int = 0

    @classmethod
    def of(cls, observation: Space, action: Space) -> Spaces:
        """Those of an environment.

        Raises
        ------
        InputError
            When they are neither `Box` nor `Discrete`.
        """
        actions: Distribution
        if isinstance(action, Discrete):
            actions = Categorical(int(action.n), int(action.start))
        elif isinstance(action, Box):
            low, high = (tuple(float(x) for x in end.flatten()) for end in (action.low, action.high))
            actions = DiagonalGaussian(low, high, tuple(action.shape))
        else:
            raise InputError(f"the environment's actions are {action}; agents know Box and Discrete")
        if isinstance(observation, Discrete):
            return cls(int(observation.n), True, actions, int(observation.start))
        if isinstance(observation, Box):
            return cls(int(np.prod(observation.shape)), False, actions)
        raise InputError(f"the environment's observations are {observation}; agents know Box and Discrete")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Spaces:
        """From what ``dataclasses.asdict`` and JSON made of it."""
        actions: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in config["actions"].items()}
        return cls(**config | {"actions": Categorical(**actions) if "n" in actions else DiagonalGaussian(**actions)})

    def read(self, observation: np.ndarray) -> Tensor:
        """N observations as the network reads them, shape (N, `observations`)."""
        held = torch.from_numpy(np.asarray(observation))
        if self.one_of:
            return nn.functional.one_hot(held.long() - self.first, self.observations).float()
        return held.float().reshape(-1, self.observations)
