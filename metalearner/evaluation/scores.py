"""How well does it adapt? Fraction of the ceiling, against bars seen and against gradient steps, on tasks that nobody has seen.

The score of a learner is ``(learner − no adaptation) / (ceiling − no adaptation)`` on the same query bars of the same episodes.
In the synthetic families, who knows nothing of the task holds nothing and earns nothing, so that the score is the share of what
the best possible trader earns there (`strategies.ladder`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from markets import InputError, TaskSet
from markets.synthetic import Episodes, Family
from metalearner.learners.base import MetaPolicy
from metalearner.learners.inner_loop import ByGradient
from strategies.ladder import rungs

SEEN = (5, 10, 20, 60, 120, 250)
STEPS = (0, 1, 3, 5, 10, 50)


def task_scores(meta: MetaPolicy, tasks: TaskSet, steps: int | None = None) -> np.ndarray:
    """Utility per bar over each task's query, after adapting to its support.

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
        When supports differ in length, or a policy that takes no gradient steps is told how many.
    """
    if len({task.cut - task.start for task in tasks}) > 1:
        raise InputError("tasks that are judged together have supports of one length")
    if steps is None:
        return meta.evaluate(tasks)
    if not isinstance(meta, ByGradient):
        raise InputError(f"{meta.name} takes no gradient steps, so that it cannot take {steps} of them")
    return meta.evaluate(tasks, steps)


def ceiling_scores(episodes: Episodes, support: int) -> np.ndarray:
    """Reward a bar of the best possible trader over each episode's query, which has read the support; shape (n,)."""
    best = next(weights for _, is_ceiling, weights in rungs(episodes.family) if is_ceiling)
    return rung_scores(best(episodes), episodes, support)


def rung_scores(weights: np.ndarray, episodes: Episodes, support: int) -> np.ndarray:
    """Reward a bar of any weights (n, T or more) over each episode's query, shape (n,)."""
    family, returns = episodes.family, np.ascontiguousarray(episodes.returns[..., 0])
    return family.reward(weights[:, : returns.shape[1] - 1], returns)[:, support - 1 :].mean(axis=1)


@dataclass(frozen=True)
class CeilingFraction:
    """Fraction of the ceiling, with its bootstrap 95 % interval over tasks and training seeds."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def fraction_of_ceiling(
    learner: np.ndarray, ceiling: np.ndarray, resamples: int = 2000, seed: int = 0
) -> CeilingFraction:
    """The learner's mean as a fraction of the ceiling's; tasks are paired.

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
    return CeilingFraction(float(learner.mean() / ceiling.mean()), float(low), float(high))


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
        episodes = family.with_length(bars + query - 1).sample(tasks, [seed, bars])
        ceiling, judged = ceiling_scores(episodes, bars), episodes.tasks(bars)
        found = fraction_of_ceiling(np.stack([task_scores(meta, judged) for meta in metas]), ceiling)
        control = np.mean([meta.evaluate_unadapted(judged).mean() for meta in metas]) / ceiling.mean()
        rows[bars] = {"mean": found.mean, "low": found.low, "high": found.high, "unadapted": control}
    return pd.DataFrame(rows).T.rename_axis("bars seen")


def by_steps(
    metas: list[ByGradient], family: Family, *, tasks: int, support: int, seed: int, steps=STEPS
) -> pd.DataFrame:
    """Share of the ceiling against gradient steps on `support` bars, judged on as many; a row a number of steps."""
    episodes = family.with_length(2 * support - 1).sample(tasks, [seed, support])
    ceiling, judged = ceiling_scores(episodes, support), episodes.tasks(support)
    rows = {}
    for k in steps:
        found = fraction_of_ceiling(np.stack([task_scores(meta, judged, k) for meta in metas]), ceiling)
        rows[k] = {"mean": found.mean, "low": found.low, "high": found.high}
    return pd.DataFrame(rows).T.rename_axis("gradient steps")
