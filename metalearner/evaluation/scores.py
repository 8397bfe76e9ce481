"""Scores of adaptation: fraction of the ceiling, as a function of bars seen and of gradient steps, on unseen tasks.

The score of a learner is ``(learner − no adaptation) / (ceiling − no adaptation)`` on the same query bars of the same episodes.
In the synthetic families, a strategy without information about the task holds nothing and earns zero, so the score is the
learner's reward as a fraction of the optimal strategy's (`strategies.ladder`).
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
    """Utility per bar on each task's query, after adapting to its support.

    A memory runs through the support and continues in the query. Gradient steps are taken on the support, and the parameters stay
    fixed in the query.

    Parameters
    ----------
    meta : MetaPolicy
    tasks : TaskSet
        With supports of equal length.
    steps : int, optional
        Number of gradient steps, instead of the policy's own.

    Returns
    -------
    ndarray of shape (len(tasks),)

    Raises
    ------
    InputError
        When supports differ in length, or `steps` is given for a policy that takes no gradient steps.
    """
    if len({task.cut - task.start for task in tasks}) > 1:
        raise InputError("the tasks' supports differ in length; evaluate tasks of equal support together")
    if steps is None:
        return meta.evaluate(tasks)
    if not isinstance(meta, ByGradient):
        raise InputError(f"{meta.name} takes no gradient steps, so steps cannot be set to {steps}")
    return meta.evaluate(tasks, steps)


def ceiling_scores(episodes: Episodes, support: int) -> np.ndarray:
    """Reward per bar of the optimal strategy on each episode's query, given the support, shape (n,).

    Parameters
    ----------
    episodes : Episodes
    support : int
        Bars of support at the start of each episode; the rest is the query.
    """
    best = next(weights for _, is_ceiling, weights in rungs(episodes.family) if is_ceiling)
    return rung_scores(best(episodes), episodes, support)


def rung_scores(weights: np.ndarray, episodes: Episodes, support: int) -> np.ndarray:
    """Reward per bar of given weights, shape (n, T or more), on each episode's query, shape (n,)."""
    family, returns = episodes.family, np.ascontiguousarray(episodes.returns[..., 0])
    return family.reward(weights[:, : returns.shape[1] - 1], returns)[:, support - 1 :].mean(axis=1)


@dataclass(frozen=True)
class CeilingFraction:
    """Fraction of the ceiling, with a 95 % bootstrap interval over tasks and training seeds."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def fraction_of_ceiling(
    learner: np.ndarray, ceiling: np.ndarray, resamples: int = 2000, seed: int = 0
) -> CeilingFraction:
    """The learner's mean score divided by the ceiling's, on the same tasks.

    Parameters
    ----------
    learner : ndarray of shape (seeds, tasks)
        Scores for each training seed.
    ceiling : ndarray of shape (tasks,)
        Scores of the optimal strategy.
    resamples : int
        Bootstrap resamples of tasks and seeds, for the interval.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    CeilingFraction
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
    """Fraction of the ceiling as a function of the bars seen in the new regime.

    Parameters
    ----------
    metas : list of MetaPolicy
        One per training seed.
    family : Family
    tasks : int
        Number of unseen episodes.
    query : int
        Bars to evaluate after those seen.
    seed : int
        Seed of the episodes.
    seen : sequence of int
        Numbers of bars seen.

    Returns
    -------
    DataFrame
        One row per number of bars, with columns ``mean``, ``low``, ``high`` (95 % interval) and ``unadapted``.
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
    """Fraction of the ceiling as a function of the number of gradient steps.

    Parameters
    ----------
    metas : list of ByGradient
        One per training seed.
    family : Family
    tasks : int
        Number of unseen episodes.
    support : int
        Bars of support; the query has as many.
    seed : int
        Seed of the episodes.
    steps : sequence of int
        Numbers of gradient steps.

    Returns
    -------
    DataFrame
        One row per number of steps, with columns ``mean``, ``low`` and ``high`` (95 % interval).
    """
    episodes = family.with_length(2 * support - 1).sample(tasks, [seed, support])
    ceiling, judged = ceiling_scores(episodes, support), episodes.tasks(support)
    rows = {}
    for k in steps:
        found = fraction_of_ceiling(np.stack([task_scores(meta, judged, k) for meta in metas]), ceiling)
        rows[k] = {"mean": found.mean, "low": found.low, "high": found.high}
    return pd.DataFrame(rows).T.rename_axis("gradient steps")
