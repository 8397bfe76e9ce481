"""How well does it adapt? Share of the ceiling, against bars seen and against gradient steps, on tasks that nobody has seen.

The score of a learner is ``(learner − no adaptation) / (ceiling − no adaptation)`` on the same query bars of the same episodes.
In the synthetic families, who knows nothing of the task holds nothing and earns nothing, so that the score is the share of what
the best possible trader earns there (`strategies.ladder`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from markets import InputError, TaskSet
from markets.accounting.differentiable import TensorPlan
from markets.synthetic.families import Episodes, Family
from metalearner.learners.base import MetaPolicy
from metalearner.learners.inner_loop import ByGradient, adapted
from strategies import Policy
from strategies.ladder import rungs
from strategies.networks import own

SEEN = (5, 10, 20, 60, 120, 250)
STEPS = (0, 1, 3, 5, 10, 50)


def task_scores(meta: MetaPolicy, tasks: TaskSet, steps: int | None = None) -> np.ndarray:
    """Utility a bar over each task's query, after adapting to its support.

    A memory reads the support and goes on reading; gradient steps are taken on the support and the policy then stands.

    Parameters
    ----------
    meta : MetaPolicy
    tasks : TaskSet
        Their supports are of one length.
    steps : int, optional
        Gradient steps instead of the policy's own number.

    Returns
    -------
    ndarray of shape (len(tasks),)

    Raises
    ------
    InputError
        When supports differ in length.
    """
    if len({task.cut - task.start for task in tasks}) > 1:
        raise InputError("tasks that are judged together have supports of one length")
    seen, rng = tasks[0].cut - tasks[0].start, np.random.default_rng(0)
    if isinstance(meta, ByGradient):
        inner = meta.inner if steps is None else replace(meta.inner, steps=steps)
        worlds = meta.objective.on(tasks, meta.policy, 1, inner.support)
        params = adapted(worlds, meta.policy, worlds.everything(), inner, rng, step_sizes=meta.step_sizes)
        params = {name: p.detach() for name, p in params.items()}
    else:
        worlds, params = meta.objective.on(tasks, meta.policy, seen), own(meta.policy)
    with torch.no_grad():
        batch = worlds.collect(meta.policy, params, worlds.everything(), "query", rng)
        return worlds.score(meta.policy, params, batch).numpy()


def unadapted_scores(meta: MetaPolicy, tasks: TaskSet) -> np.ndarray:
    """The same with the policy kept from adapting: no steps, or a memory that is cleared at every bar."""
    if isinstance(meta, ByGradient):
        return task_scores(meta, tasks, steps=0)
    policy = _Forgetful(meta.policy)
    worlds = meta.objective.on(tasks, policy, tasks[0].cut - tasks[0].start)
    with torch.no_grad():
        batch = worlds.collect(policy, own(policy), worlds.everything(), "query", np.random.default_rng(0))
        return worlds.score(policy, own(policy), batch).numpy()


class _Forgetful(nn.Module):
    """A policy whose memory is cleared at every bar."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.policy, self.settings = policy, policy.settings

    def forward(self, features: Tensor, base: Tensor, truncate: int = 0) -> TensorPlan:
        paths, bars = features.shape[:2]
        alone = self.policy(features.flatten(0, 1)[:, None], base.flatten(0, 1)[:, None])
        aim, band, rate = (None if x is None else x[:, 0].unflatten(0, (paths, bars)) for x in alone)
        return TensorPlan(aim, band, rate)  # type: ignore[arg-type]


def ceiling_scores(episodes: Episodes, support: int) -> np.ndarray:
    """Reward a bar of the best possible trader over each episode's query, which has read the support; shape (n,)."""
    best = next(weights for _, is_ceiling, weights in rungs(episodes.family) if is_ceiling)
    return rung_scores(best(episodes), episodes, support)


def rung_scores(weights: np.ndarray, episodes: Episodes, support: int) -> np.ndarray:
    """Reward a bar of any weights (n, T or more) over each episode's query, shape (n,)."""
    family, returns = episodes.family, np.ascontiguousarray(episodes.returns[..., 0])
    return family.reward(weights[:, : returns.shape[1] - 1], returns)[:, support - 1 :].mean(axis=1)


@dataclass(frozen=True)
class Share:
    """Share of the ceiling, with its bootstrap 95 % interval over tasks and training seeds."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(learner: np.ndarray, ceiling: np.ndarray, resamples: int = 2000, seed: int = 0) -> Share:
    """Share of the ceiling's mean that the learner's is; tasks are paired.

    Parameters
    ----------
    learner : ndarray of shape (seeds, tasks)
    ceiling : ndarray of shape (tasks,)
    resamples : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    seeds, tasks = learner.shape
    found = np.empty(resamples)
    for i in range(resamples):
        which, who = rng.integers(0, tasks, tasks), rng.integers(0, seeds, seeds)
        found[i] = learner[who].mean(axis=0)[which].mean() / ceiling[which].mean()
    low, high = np.quantile(found, [0.025, 0.975])
    return Share(float(learner.mean() / ceiling.mean()), float(low), float(high))


def by_bars(metas: list[MetaPolicy], family: Family, *, tasks: int, query: int, seed: int, seen=SEEN) -> pd.DataFrame:
    """Share of the ceiling against bars seen; a row a number of bars, with ``mean``, ``low``, ``high`` and ``unadapted``.

    Parameters
    ----------
    metas : list of MetaPolicy
        One a training seed.
    family : Family
    tasks : int
        Unseen episodes.
    query : int
        Bars that judge.
    seed : int
    """
    rows = {}
    for bars in seen:
        drawn = family.lasting(bars + query - 1).sample(tasks, [seed, bars])
        ceiling, judged = ceiling_scores(drawn, bars), drawn.tasks(bars)
        found = share(np.stack([task_scores(meta, judged) for meta in metas]), ceiling)
        control = np.mean([unadapted_scores(meta, judged).mean() for meta in metas]) / ceiling.mean()
        rows[bars] = {"mean": found.mean, "low": found.low, "high": found.high, "unadapted": control}
    return pd.DataFrame(rows).T.rename_axis("bars seen")


def by_steps(
    metas: list[ByGradient], family: Family, *, tasks: int, support: int, seed: int, steps=STEPS
) -> pd.DataFrame:
    """Share of the ceiling against gradient steps on `support` bars, judged on as many; a row a number of steps."""
    drawn = family.lasting(2 * support - 1).sample(tasks, [seed, support])
    ceiling, judged = ceiling_scores(drawn, support), drawn.tasks(support)
    rows = {}
    for k in steps:
        found = share(np.stack([task_scores(meta, judged, k) for meta in metas]), ceiling)
        rows[k] = {"mean": found.mean, "low": found.low, "high": found.high}
    return pd.DataFrame(rows).T.rename_axis("gradient steps")
