"""`Agent`: a policy that acts in one gymnasium environment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from markets import InputError
from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.distributions import Categorical, Spaces
from strategies import serialization as saving
from strategies.networks import Shape


class Agent:
    """A policy that acts in one environment::

        action = agent.act(observation)
        observation, reward, terminated, truncated, _ = environment.step(action)
        agent.observe(reward, terminated or truncated)

    Parameters
    ----------
    policy : ActorCritic
    context : int
        With 1, the memory is cleared at every step; otherwise it is kept until `forget`.
    name : str
    rng : Generator, optional
        If given, actions are sampled with it, as in training. Otherwise the most probable action is taken.
    """

    seen_until = None

    def __init__(self, policy: ActorCritic, context: int, name: str = "agent", rng: np.random.Generator | None = None):
        self.policy, self.context, self.name, self.rng = policy, context, name, rng
        self.forget()

    def forget(self) -> None:
        """Clear the memory, for a new task."""
        self._state: Tensor | None = None
        self._action: Tensor | None = None  # not observed yet
        self._last = self.policy.nothing_yet(1, 1, 1)

    def act(self, observation: Any) -> Any:
        """Choose an action.

        Parameters
        ----------
        observation
            As returned by the environment.

        Returns
        -------
        int or ndarray
            For the environment's ``step``.

        Raises
        ------
        InputError
            When the policy has a memory and `observe` was not called since the last action.
        """
        if self._action is not None and self.context > 1 and self.policy.remembers:
            raise InputError(
                f"{self.name} needs the reward of its last action: call observe(reward, done) after each step"
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
        return int(chosen) if isinstance(actions, Categorical) else chosen

    def observe(self, reward: float, done: bool) -> None:
        """Record the result of the last action. The memory is kept when an episode ends.

        Parameters
        ----------
        reward : float
        done : bool
            Whether the episode has ended.

        Raises
        ------
        InputError
            When there was no action since the last call.
        """
        if self._action is None:
            raise InputError(f"{self.name} has not acted since it last observed: call act(observation) first")
        if self.context > 1:
            paid, over = (torch.full(self._last.shape[:3], float(x)) for x in (reward, done))
            self._last = self.policy.lately(self._action, paid, over)
        self._action = None

    def _config(self) -> dict[str, Any]:
        policy = self.policy
        how = {"critic": policy.critic, "initial_std": policy.initial_std}
        return {"settings": asdict(policy.settings), "spaces": asdict(policy.spaces), "context": self.context, **how}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings and the weights."""
        return saving.fingerprint(self._config(), self.policy)

    def save(self, folder: str | Path) -> Path:
        """Write ``agent.json`` and ``weights.safetensors``."""
        return saving.write(folder, "agent.json", {"name": self.name, **self._config()}, self.policy)

    @classmethod
    def load(cls, folder: str | Path) -> Agent:
        """Read an agent written by `save`.

        Raises
        ------
        InputError
            When files are missing or inconsistent with each other.
        """
        with saving.reading(folder, "agent.json", "agent") as config:
            spaces = Spaces.from_dict(config["spaces"])
            policy = ActorCritic(Shape(**config["settings"]), spaces, config["critic"], config["initial_std"])
            policy.load_state_dict(saving.weights(folder))
            return cls(policy.eval(), config["context"], config["name"])
