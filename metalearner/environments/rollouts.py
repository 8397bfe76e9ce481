"""What a policy meets in gymnasium environments.

All randomness comes from the step's key and the task's own seed, so that it does not matter which process has the task.
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
_AHEAD = 16  # steps whose noise is drawn at once


@dataclass(frozen=True)
class SeedBatch(TaskBatch):
    """Tasks by their seeds, each with its place among all that all processes sampled.

    Attributes
    ----------
    places : ndarray of int, shape (B,)
    total : int
        Tasks of all processes.
    """

    places: np.ndarray
    total: int

    @classmethod
    def of(cls, seeds: np.ndarray, progress: float = 1.0) -> SeedBatch:
        """All tasks that were sampled."""
        return cls(seeds, np.arange(len(seeds)), len(seeds), progress=progress)

    def __getitem__(self, rows: Any) -> SeedBatch:
        return replace(self, task_ids=self.task_ids[rows], places=self.places[rows])


@dataclass(frozen=True)
class Rollout:
    """What was met in B tasks by E trials each, of T steps at most; tensors are (B, E, T) or (B, E, T, ·).

    A trial is several episodes of one task, one after another (Duan et al., "RL²", arXiv 1611.02779).

    Attributes
    ----------
    tasks : SeedBatch
    x : Tensor
        What the policy read.
    observation, following : Tensor
        What the environment showed, and what it showed after the step, before any new episode.
    action, log_prob, value, reward : Tensor
        As they were; `value` is 0 without a critic.
    done, terminated, alive : Tensor of bool
        Whether an episode ended with the step; whether by more than a time limit; whether the step still counts.
    episode : Tensor of int
        Which episode of the trial it is.
    after : Tensor
        Value of what would have followed, where an end was a mere time limit; 0 elsewhere.
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
        """Some of the tasks."""
        return Rollout(*(getattr(self, f.name)[rows] for f in fields(self)))

    def returns(self, episode: int | None = None) -> Tensor:
        """Sum of rewards in one episode of the trial, or in all, shape (B, E)."""
        counts = self.alive if episode is None else self.alive & (self.episode == episode)
        return (self.reward * counts).sum(-1)


def evaluate(
    policy: nn.Module, params: Parameters, x: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Head, value and state at `params`; the first two on the CPU, where money and environments are."""
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
    """Let the policy act.

    Parameters
    ----------
    policy : ActorCritic
    params : Parameters
        Of the policy, or one copy a task.
    environments : Environments
    tasks : SeedBatch
    key : int
        Of the randomness, with each task's seed.
    trials : int
        Trials of each task side by side, E.
    episodes_per_trial : int
        The memory is kept from each to the next.
    max_steps : int
        Steps after which a trial is cut, whatever the environment says.
    choose : callable, optional
        (head, noise) to actions; by default a sample of the policy's own distribution.

    Returns
    -------
    Rollout
        Of as many steps as the longest trial took.
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
        # a memory lives on after the end of an episode, and so does the value of what it will meet
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
    """What one step of the environments gave."""

    observation: Tensor  # (B, E, 1, ·); of the new episode, where one began
    following: Tensor  # the same, before any new episode
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
    """Value of what would have followed a time limit, shape (B, E); 0 elsewhere."""
    if not (policy.critic and limit.any()):
        return torch.zeros(limit.shape)
    going_on = policy.lately(action, met.reward[..., None], torch.zeros_like(met.done)[..., None])
    value = evaluate(policy, params, policy.inputs(met.following, going_on), state)[1]
    assert value is not None
    return torch.where(limit, value[..., 0], 0.0)


def _read(policy: ActorCritic, shown: Any, shape: tuple[int, int]) -> Tensor:
    return policy.spaces.read(shown).view(*shape, 1, -1)


def _final(shown: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """What was observed at the end of the step, before any new episode began."""
    if "final_obs" not in info:
        return shown
    final = np.array(shown)
    for row in np.flatnonzero(info["_final_obs"]):
        final[row] = info["final_obs"][row]
    return final
