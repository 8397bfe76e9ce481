"""The network that acts: the same `Body` that trades, with a distribution over actions and a value.

One with a memory reads, beside what it observes, what it did last, what that paid and whether an episode ended then; the memory
runs on over the ends of episodes, for it is there that it learns the task (Duan et al., "RL²", arXiv 1611.02779).
"""

from __future__ import annotations

import math
from dataclasses import fields

import torch
from torch import Tensor, nn

from metalearner.environments.distributions import DiagonalGaussian, Spaces
from strategies.networks import Body, Shape


class ActorCritic(nn.Module):
    """Distribution of actions, and the value of what is to come.

    Parameters
    ----------
    settings : Shape
    spaces : Spaces
    critic : bool
        Whether there is a value.
    initial_std : float
        Standard deviation of a normal action at first, in units of half the box; a parameter, so that it adapts.
    """

    def __init__(self, settings: Shape, spaces: Spaces, critic: bool = True, initial_std: float = 0.5):
        super().__init__()
        self.settings = Shape(**{f.name: getattr(settings, f.name) for f in fields(Shape)})
        self.spaces, self.critic, self.initial_std = spaces, critic, initial_std
        self.remembers = settings.memory != "none"
        outputs = spaces.actions.outputs
        inputs = spaces.observations + (outputs + 2 if self.remembers else 0)
        self.body = Body(inputs, outputs + critic, self.settings)
        continuous = isinstance(spaces.actions, DiagonalGaussian)
        self.log_std = nn.Parameter(torch.full((outputs,), math.log(initial_std))) if continuous else None
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
            For the distribution over actions.
        value : Tensor of shape (B, E, T) or None
        state : Tensor of shape (B, E, ..., ...) or None
        """
        lead = x.shape[:2]
        out, state = self.body(x.flatten(0, 1), state=None if state is None else state.flatten(0, 1))
        out, actions = out.unflatten(0, lead), self.spaces.actions
        head = actions.head(out[..., : actions.outputs], self.log_std)
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
