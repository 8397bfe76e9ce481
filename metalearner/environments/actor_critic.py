"""Actor–critic network: the `Body` also used for trading, with a distribution over actions and a value function.

A policy with a memory reads the observation, its last action, the last reward and whether an episode has just ended. The memory
is kept across episodes, so that it can identify the task (Duan et al., "RL²", arXiv 1611.02779).
"""

from __future__ import annotations

import math
from dataclasses import fields

import torch
from torch import Tensor, nn

from metalearner.environments.distributions import DiagonalGaussian, Spaces
from strategies.networks import Body, Shape


class ActorCritic(nn.Module):
    """Action distribution (actor) and value function (critic) on a shared network.

    Parameters
    ----------
    settings : Shape
        Architecture.
    spaces : Spaces
        Observations and actions of the environment.
    critic : bool
        Whether there is a value output.
    initial_std : float
        Initial standard deviation of continuous actions, in units of half the width of the action space; it is trained.
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
        # Orthogonal initialisation with small output weights, so that actions are nearly equally likely at first (Engstrom et
        # al., "Implementation matters in deep policy gradients", ICLR 2020).
        for layer in self.body.layers:
            nn.init.orthogonal_(layer.weight, math.sqrt(2))  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        last = self.body.last.weight.data
        nn.init.orthogonal_(last[:outputs], 0.01)
        nn.init.orthogonal_(last[outputs:], 1.0) if critic else None

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Outputs along E trials of each of B tasks.

        Parameters
        ----------
        x : Tensor of shape (B, E, T, inputs)
            Returned by `inputs`.
        state : Tensor of shape (B, E, ..., ...), optional
            State returned by the call for the preceding steps.

        Returns
        -------
        head : Tensor of shape (B, E, T, H)
            Parameters of the action distribution.
        value : Tensor of shape (B, E, T) or None
            None without a critic.
        state : Tensor of shape (B, E, ..., ...) or None
            State after the last step, to pass to the next call; None without a memory.
        """
        lead = x.shape[:2]
        out, state = self.body(x.flatten(0, 1), state=None if state is None else state.flatten(0, 1))
        out, actions = out.unflatten(0, lead), self.spaces.actions
        head = actions.head(out[..., : actions.outputs], self.log_std)
        return head, out[..., -1] if self.critic else None, None if state is None else state.unflatten(0, lead)

    def inputs(self, observation: Tensor, last: Tensor) -> Tensor:
        """Network inputs at a step, shape (..., inputs): the observation and, with a memory, the result of `lately`."""
        return torch.cat([observation, last], -1) if self.remembers else observation

    def lately(self, action: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        """Encoding of the last action, its reward, and whether it ended an episode."""
        return torch.cat([self.spaces.actions.encode(action), reward.float()[..., None], done.float()[..., None]], -1)

    def nothing_yet(self, *shape: int) -> Tensor:
        """The result of `lately` before the first step: zeros."""
        return torch.zeros(*shape, self.spaces.actions.outputs + 2)
