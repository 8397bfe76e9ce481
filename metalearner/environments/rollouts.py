"""Task distributions that are gymnasium environments, and what a policy meets in them.

A family is a callable that makes seeded environments: ``family(seed)`` is one task, whatever seeds `reset` gives its episodes.
One with ``family.vector(seeds)``, a `gymnasium.vector.VectorEnv` that goes on within the same step, is stepped by one call;
of any other the environments are stepped one by one.

All chance comes from the step's key and the task's own seed, so that it does not matter which process has the task.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from torch import Tensor, nn

from markets import InputError
from metalearner.environments.agent import ActorCritic, Spaces
from metalearner.objective import Part
from strategies.networks import Parameters, call

Choose = Callable[[Tensor, Tensor], Tensor]
_AHEAD = 16  # steps whose noise is drawn at once
_PROBED = 8  # steps that tell one family from another


@dataclass(frozen=True)
class Environments:
    """Tasks of one family.

    Attributes
    ----------
    family : callable
        Seed to environment.
    seeds : sequence of int or None
        The tasks; None is an endless stream of them, whose seeds are 2³¹ and above: smaller ones are never trained on.
    """

    family: Callable[[int], gymnasium.Env]
    seeds: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and (not isinstance(self.seeds, (Sequence, np.ndarray)) or not len(self.seeds)):
            raise InputError(f"seeds is {self.seeds!r}; Environments wants a sequence of at least one, as range(64)")

    @classmethod
    def of(cls, tasks: Any) -> Environments:
        """`tasks` if they are `Environments`, else all those of a family.

        Raises
        ------
        InputError
            When it is neither.
        """
        if isinstance(tasks, cls):
            return tasks
        if not callable(tasks):
            raise InputError(f"{type(tasks).__name__} makes no environments; give a callable, seed -> gymnasium.Env")
        return cls(tasks)

    @property
    def identity(self) -> str:
        """For checkpoints: the family's name, the seeds, and what happens in the first steps of one task.

        A name alone says nothing of what a closure holds.
        """
        name = re.sub(r" at 0x[0-9a-f]+", "", repr(self.family))
        one, digest = self._one(), hashlib.sha256()
        shown, _ = one.reset(seed=0)
        one.action_space.seed(0)
        digest.update(np.asarray(shown).tobytes())
        for _ in range(_PROBED):
            shown, reward, terminated, truncated, _ = one.step(one.action_space.sample())
            digest.update(np.asarray(shown).tobytes() + np.float64(reward).tobytes())
            if terminated or truncated:
                break
        one.close()
        return f"{name} {None if self.seeds is None else list(self.seeds)} {digest.hexdigest()}"

    @property
    def spaces(self) -> Spaces:
        """Of every task alike."""
        one = self._one()
        one.close()
        return Spaces.of(one.observation_space, one.action_space)

    def _one(self) -> gymnasium.Env:
        one = self.family(2**31 if self.seeds is None else int(self.seeds[0]))
        if not hasattr(one, "observation_space"):
            raise InputError(f"the family made {one!r}, which is no gymnasium environment")
        return one

    def draw(self, rng: np.random.Generator, tasks: int) -> np.ndarray:
        """Seeds of some tasks."""
        if self.seeds is None:
            return rng.integers(2**31, 2**32, tasks)
        return rng.choice(np.asarray(self.seeds), min(tasks, len(self.seeds)), replace=False)

    def vector(self, seeds: np.ndarray) -> VectorEnv:
        """The tasks of `seeds`, side by side."""
        if hasattr(self.family, "vector"):
            made = self.family.vector(seeds)
            mode = made.metadata.get("autoreset_mode")
            if mode != AutoresetMode.SAME_STEP:
                raise InputError(
                    f"the family's vector goes on by {mode}; it must be {AutoresetMode.SAME_STEP}, within the same step"
                )
            return made
        makers = [lambda seed=int(seed): self.family(seed) for seed in seeds]
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)


@dataclass(frozen=True)
class Drawn:
    """Tasks by their seeds, each with its place among all that all processes drew.

    Attributes
    ----------
    seeds, places : ndarray of shape (B,)
    total : int
        Tasks of all processes.
    progress : float
        Of training, in [0, 1].
    """

    seeds: np.ndarray
    places: np.ndarray
    total: int
    progress: float = 1.0

    @classmethod
    def all_of(cls, seeds: np.ndarray, progress: float = 1.0) -> Drawn:
        return cls(seeds, np.arange(len(seeds)), len(seeds), progress)

    def __getitem__(self, rows: Any) -> Drawn:
        return replace(self, seeds=self.seeds[rows], places=self.places[rows])


@dataclass(frozen=True)
class Rollout:
    """What was met in B tasks by E meta-episodes each, of T steps at most; tensors are (B, E, T) or (B, E, T, ·).

    Attributes
    ----------
    drawn : Drawn
    part : {"support", "query"}
    x : Tensor
        What the policy read.
    observation, following : Tensor
        What the environment showed, and what it showed after the step, before any new episode.
    action, log_prob, value, reward : Tensor
        As they were; `value` is 0 without a critic.
    done, terminated, alive : Tensor of bool
        Whether an episode ended with the step; whether by more than a time limit; whether the step still counts.
    run : Tensor of int
        Which episode of the meta-episode it is.
    after : Tensor
        Value of what would have followed, where an end was a mere time limit; 0 elsewhere.
    advantage, target : Tensor
        What an action was worth beyond what was expected, and the value that would have been right.
    centre, scale : Tensor of shape (B, 1, 1)
        Of the advantages, for learning.
    steps : float
        What the gain of a task is divided by: for a query of one meta-episode a task the mean over all tasks, or short ones
        would be worth more; 0 is its own number of steps.
    share : float
        Weight of a query's tasks in the loss: the number that it is a part of, by the number that it has.
    """

    drawn: Drawn
    part: Part
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
    run: Tensor
    after: Tensor
    advantage: Tensor
    target: Tensor
    centre: Tensor
    scale: Tensor
    steps: float = 0.0
    share: float = 1.0

    def __getitem__(self, rows: Any) -> Rollout:
        """Some of the tasks."""
        held: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("part", "steps", "share")
        }
        return replace(self, **{name: values[rows] for name, values in held.items()})

    def returns(self, run: int | None = None) -> Tensor:
        """Sum of rewards in one run, or in all, shape (B, E)."""
        counts = self.alive if run is None else self.alive & (self.run == run)
        return (self.reward * counts).sum(-1)


def evaluate(
    policy: nn.Module, params: Parameters, x: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Head and value at `params`, where money and worlds are: on the CPU."""
    device = next(iter(params.values())).device
    head, value, state = call(policy, params, x.to(device), state)
    return head.cpu(), None if value is None else value.cpu(), state


@torch.no_grad()
def rollout(
    policy: ActorCritic,
    params: Parameters,
    environments: Environments,
    drawn: Drawn,
    part: Part,
    key: int,
    *,
    episodes: int = 1,
    runs: int = 1,
    longest: int = 1000,
    choose: Choose | None = None,
) -> Rollout:
    """Let the policy act.

    Parameters
    ----------
    policy : ActorCritic
    params : Parameters
        Of the policy, or one copy a task.
    environments : Environments
    drawn : Drawn
    part : {"support", "query"}
    key : int
        Of the chance, with each task's seed.
    episodes : int
        Meta-episodes of each task side by side, E.
    runs : int
        Episodes of a meta-episode, the memory kept from each to the next.
    longest : int
        Steps after which a meta-episode is cut, whatever the environment says.
    choose : callable, optional
        (head, noise) to actions; by default the policy's own chance.

    Returns
    -------
    Rollout
        Of as many steps as the longest meta-episode took.
    """
    actions, tasks = policy.spaces.actions, len(drawn.seeds)
    shape = (tasks, episodes)
    chances = [np.random.default_rng([key, int(seed)]) for seed in drawn.seeds]
    seeds = np.stack([chance.integers(2**31, size=episodes) for chance in chances])
    worlds = environments.vector(np.repeat(drawn.seeds, episodes))
    shown, _ = worlds.reset(seed=[int(seed) for seed in seeds.flat])
    observation = _read(policy, shown, shape)
    last, state = policy.nothing_yet(*shape, 1), None
    run = torch.zeros(shape, dtype=torch.long)
    steps: dict[str, list[Tensor]] = {}
    for t in range(longest):
        if t % _AHEAD == 0:
            noise = torch.stack([actions.noise(chance, episodes, _AHEAD) for chance in chances])
        x = policy.inputs(observation, last)
        head, value, state = evaluate(policy, params, x, state)
        action = (choose or actions.sample)(head, noise[:, :, t % _AHEAD, None])
        placed = actions.to_environment(action)
        shown, paid, ended, cut, about = worlds.step(placed.reshape(-1, *placed.shape[3:]))
        reward, terminated, done = (torch.from_numpy(np.array(a)).view(shape) for a in (paid, ended, ended | cut))
        alive, reward = run < runs, reward.float()
        beyond = ~done & (t == longest - 1)
        done = done | beyond
        last = policy.lately(action, reward[..., None], done[..., None])
        following = _read(policy, _final(shown, about), shape)
        after = torch.zeros(shape)
        limit = alive & done & ~terminated
        if policy.remembers:
            limit &= (t == longest - 1) | (run == runs - 1)  # else life goes on, and so does its value
        if policy.critic and limit.any():
            going_on = policy.lately(action, reward[..., None], torch.zeros_like(done)[..., None])
            worth = evaluate(policy, params, policy.inputs(following, going_on), state)[1]
            assert worth is not None
            after = torch.where(limit, worth[..., 0], 0.0)
        met = {
            "x": x[:, :, 0], "observation": observation[:, :, 0], "following": following[:, :, 0], "action": action[:, :, 0],
            "log_prob": actions.log_prob(head, action)[..., 0], "value": alive * 0.0 if value is None else value[..., 0],
            "reward": reward, "done": done, "terminated": terminated, "alive": alive, "run": run, "after": after,
        }  # fmt: skip
        for name, values in met.items():
            steps.setdefault(name, []).append(values)
        observation, run = _read(policy, shown, shape), run + done
        if (run >= runs).all():
            break
    worlds.close()
    stacked: dict[str, Any] = {name: torch.stack(values, 2) for name, values in steps.items()}
    nothing, one = torch.zeros_like(stacked["reward"]), torch.ones(tasks, 1, 1)
    return Rollout(drawn, part, **stacked, advantage=nothing, target=nothing, centre=0 * one, scale=one)


def _read(policy: ActorCritic, shown: Any, shape: tuple[int, int]) -> Tensor:
    return policy.spaces.read(shown).view(*shape, 1, -1)


def _final(shown: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    """What was observed at the end of the step, before any new episode began."""
    if "final_obs" not in about:
        return shown
    final = np.array(shown)
    for row in np.flatnonzero(about["_final_obs"]):
        final[row] = about["final_obs"][row]
    return final
