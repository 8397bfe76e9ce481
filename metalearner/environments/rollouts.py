"""Rollouts of a policy in gymnasium environments.

All randomness comes from the training step's key and the task's own seed, so that results do not depend on which process holds a
task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.tasks import Environments
from metalearner.objective import TaskBatch
from strategies.networks import Parameters, call

Choose = Callable[[Tensor, Tensor], Tensor]
_AHEAD = 16  # steps for which noise is drawn in one call


@dataclass(frozen=True)
class SeedBatch(TaskBatch):
    """A batch of tasks identified by their seeds.

    Attributes
    ----------
    places : ndarray of int, shape (B,)
        Position of each task among the tasks of all processes.
    total : int
        Number of tasks over all processes.
    """

    places: np.ndarray
    total: int

    @classmethod
    def of(cls, seeds: np.ndarray, progress: float = 1.0) -> SeedBatch:
        """The batch of all sampled tasks, before sharding."""
        return cls(seeds, np.arange(len(seeds)), len(seeds), progress=progress)

    def __getitem__(self, rows: Any) -> SeedBatch:
        return replace(self, task_ids=self.task_ids[rows], places=self.places[rows])


@dataclass(frozen=True)
class Rollout:
    """E trials in each of B tasks, of at most T steps. Tensors have shape (B, E, T) or (B, E, T, ·).

    A trial is a sequence of episodes of the same task (Duan et al., "RL²", arXiv 1611.02779).

    Attributes
    ----------
    tasks : SeedBatch
    x : Tensor
        Inputs of the policy.
    observation, following : Tensor
        Encoded observation before the step, and after it (the final observation, if the episode ended).
    action, log_prob, value, reward : Tensor
        `value` is 0 without a critic.
    done, terminated, alive : Tensor of bool
        Whether the step ended an episode; whether it did so other than by a time limit; whether the step counts (it is not after
        the end of the trial).
    episode : Tensor of int
        Index of the episode within the trial.
    after : Tensor
        Bootstrap value where a time limit ended the episode or trial; 0 elsewhere.
    """

    tasks: SeedBatch
    x: Tensor
    observation: Tensor
    following: Tensor
    action: Tensor
    log_prob: Tensor
    value: Tensor
    reward: Tensor
    done: Tensor
    terminated: Tensor
    alive: Tensor
    episode: Tensor
    after: Tensor

    def __getitem__(self, rows: Any) -> Rollout:
        """The rollout of the tasks selected by `rows`."""
        return Rollout(*(getattr(self, f.name)[rows] for f in fields(self)))

    def returns(self, episode: int | None = None) -> Tensor:
        """Sum of rewards over one episode of each trial, or over all its episodes, shape (B, E)."""
        counts = self.alive if episode is None else self.alive & (self.episode == episode)
        return (self.reward * counts).sum(-1)


def evaluate(
    policy: nn.Module, params: Parameters, x: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Head, value and state of `policy` at `params`; head and value are moved to the CPU, where the environments run."""
    device = next(iter(params.values())).device
    head, value, state = call(policy, params, x.to(device), state)
    return head.cpu(), None if value is None else value.cpu(), state


@torch.no_grad()
def rollout(
    policy: ActorCritic,
    params: Parameters,
    environments: Environments,
    tasks: SeedBatch,
    key: int,
    *,
    trials: int = 1,
    episodes_per_trial: int = 1,
    max_steps: int = 1000,
    choose: Choose | None = None,
) -> Rollout:
    """Run a policy in the environments of a batch of tasks.

    Parameters
    ----------
    policy : ActorCritic
    params : Parameters
        Parameters of the policy, shared or one copy per task.
    environments : Environments
    tasks : SeedBatch
    key : int
        Seeds the randomness, together with each task's seed.
    trials : int
        Parallel trials per task, E.
    episodes_per_trial : int
        Consecutive episodes per trial; the memory is kept from one to the next.
    max_steps : int
        Largest number of steps in a trial, counted over its episodes.
    choose : callable, optional
        Function from (head, noise) to actions. By default actions are sampled from the policy's distribution.

    Returns
    -------
    Rollout
        T is the number of steps of the longest trial.
    """
    actions, shape = policy.spaces.actions, (len(tasks), trials)
    choose = choose or actions.sample
    rngs = [np.random.default_rng([key, int(seed)]) for seed in tasks.task_ids]
    seeds = np.stack([rng.integers(2**31, size=trials) for rng in rngs])
    envs = environments.vector(np.repeat(tasks.task_ids, trials))
    shown, _ = envs.reset(seed=[int(seed) for seed in seeds.flat])
    observation, last, state = _read(policy, shown, shape), policy.nothing_yet(*shape, 1), None
    episode = torch.zeros(shape, dtype=torch.long)
    steps: list[dict[str, Tensor]] = []
    for t in range(max_steps):
        if t % _AHEAD == 0:
            noise = torch.stack([actions.noise(rng, trials, _AHEAD) for rng in rngs])
        x = policy.inputs(observation, last)
        head, value, state = evaluate(policy, params, x, state)
        action = choose(head, noise[:, :, t % _AHEAD, None])
        met = _step(envs, policy, action, shape)
        alive, cut = episode < episodes_per_trial, t == max_steps - 1
        done = met.done | cut
        # with a memory, the value includes the trial's later episodes, so bootstrap at the end of the trial only
        ends = done if not policy.remembers else done & (torch.tensor(cut) | (episode == episodes_per_trial - 1))
        limit = alive & ends & ~met.terminated
        steps.append({
            "x": x[:, :, 0], "observation": observation[:, :, 0], "following": met.following[:, :, 0],
            "action": action[:, :, 0], "log_prob": actions.log_prob(head, action)[..., 0],
            "value": alive * 0.0 if value is None else value[..., 0], "reward": met.reward, "done": done,
            "terminated": met.terminated, "alive": alive, "episode": episode,
            "after": _bootstrap(policy, params, state, action, met, limit),
        })  # fmt: skip
        observation, episode = met.observation, episode + done
        last = policy.lately(action, met.reward[..., None], done[..., None])
        if (episode >= episodes_per_trial).all():
            break
    envs.close()
    return Rollout(tasks, **{name: torch.stack([step[name] for step in steps], 2) for name in steps[0]})


class _Met(NamedTuple):
    """Result of one step of the environments."""

    observation: Tensor  # (B, E, 1, ·); after a reset, the first of the new episode
    following: Tensor  # the same, but the final one of the old episode
    reward: Tensor  # (B, E)
    terminated: Tensor
    done: Tensor


def _step(envs: VectorEnv, policy: ActorCritic, action: Tensor, shape: tuple[int, int]) -> _Met:
    placed = policy.spaces.actions.to_environment(action)
    shown, paid, terminated, truncated, info = envs.step(placed.reshape(-1, *placed.shape[3:]))
    reward, ended, done = (
        torch.from_numpy(np.array(a)).view(shape) for a in (paid, terminated, terminated | truncated)
    )
    following = _read(policy, _final(shown, info), shape)
    return _Met(_read(policy, shown, shape), following, reward.float(), ended, done)


def _bootstrap(
    policy: ActorCritic, params: Parameters, state: Tensor | None, action: Tensor, met: _Met, limit: Tensor
) -> Tensor:
    """Value of the state after a time limit, shape (B, E); 0 elsewhere."""
    if not (policy.critic and limit.any()):
        return torch.zeros(limit.shape)
    going_on = policy.lately(action, met.reward[..., None], torch.zeros_like(met.done)[..., None])
    value = evaluate(policy, params, policy.inputs(met.following, going_on), state)[1]
    assert value is not None
    return torch.where(limit, value[..., 0], 0.0)


def _read(policy: ActorCritic, shown: Any, shape: tuple[int, int]) -> Tensor:
    return policy.spaces.read(shown).view(*shape, 1, -1)


def _final(shown: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """Observations at the end of the step, before any reset."""
    if "final_obs" not in info:
        return shown
    final = np.array(shown)
    for row in np.flatnonzero(info["_final_obs"]):
        final[row] = info["final_obs"][row]
    return final
