"""Distributions over actions, and the observation and action spaces of an environment (`Spaces`).

A distribution's ``outputs`` is the number of network outputs it needs. Its ``head`` turns these into the distribution's
parameters, from which `sample` computes actions with noise drawn beforehand by `noise`.
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
    """A categorical distribution over n actions; the network's outputs are the logits.

    Attributes
    ----------
    n, start : int
        Number of actions and the first action, as in `gymnasium.spaces.Discrete`.
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
    """Independent Gaussians for the coordinates of a `Box`; the network's outputs are the means.

    Actions are in units of half the width of the box, measured from its centre, and are clipped to the box. Unbounded coordinates
    have unit 1 and centre 0.

    Attributes
    ----------
    low, high : tuple of float
        Bounds of the flattened box.
    shape : tuple of int
        Shape of the box.
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
    """Observation and action spaces of an environment, in a form that can be stored as JSON.

    Attributes
    ----------
    observations : int
        Length of a flattened `Box` observation, or number of values of a `Discrete` one, which is one-hot encoded.
    one_of : bool
        Whether observations are `Discrete`.
    actions : Distribution
    first : int
        Smallest `Discrete` observation.
    """

    observations: int
    one_of: bool
    actions: Distribution
    first: int = 0

    @classmethod
    def of(cls, observation: Space, action: Space) -> Spaces:
        """Build from an environment's observation and action spaces.

        Raises
        ------
        InputError
            When one of them is neither `Box` nor `Discrete`.
        """
        actions: Distribution
        if isinstance(action, Discrete):
            actions = Categorical(int(action.n), int(action.start))
        elif isinstance(action, Box):
            low, high = (tuple(float(x) for x in end.flatten()) for end in (action.low, action.high))
            actions = DiagonalGaussian(low, high, tuple(action.shape))
        else:
            raise InputError(f"the environment's actions are {action}; only Box and Discrete are supported")
        if isinstance(observation, Discrete):
            return cls(int(observation.n), True, actions, int(observation.start))
        if isinstance(observation, Box):
            return cls(int(np.prod(observation.shape)), False, actions)
        raise InputError(f"the environment's observations are {observation}; only Box and Discrete are supported")

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Spaces:
        """Rebuild from ``dataclasses.asdict`` after a round trip through JSON."""
        actions: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in config["actions"].items()}
        return cls(**config | {"actions": Categorical(**actions) if "n" in actions else DiagonalGaussian(**actions)})

    def read(self, observation: np.ndarray) -> Tensor:
        """Encode N observations for the network, shape (N, `observations`)."""
        held = torch.from_numpy(np.asarray(observation))
        if self.one_of:
            return nn.functional.one_hot(held.long() - self.first, self.observations).float()
        return held.float().reshape(-1, self.observations)
