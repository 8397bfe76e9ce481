"""Draft."""

from __future__ import annotations

from dataclasses import dataclass, replace

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from markets import TaskSet, Uncertainty
from markets.synthetic import Episodes, HiddenMarkov, HiddenMarkovFamily
from metalearner import Across, MetaPolicy
from metalearner.objectives import Utility
from metalearner.evaluation import recipes
from strategies.networks import named_params

FAMILY = HiddenMarkovFamily(length=200)
UNCERTAINTY = Uncertainty(shift=0.05, volatility=1.5, costs=3.0)


@dataclass(frozen=True)
class Regime:
    mean: float
    stay: float
    shift: float
    volatility: float
    costs: float

    def episodes(self, n: int, seed, length: int = 400) -> tuple[Episodes, np.ndarray]:
        drawn = HiddenMarkov(self.mean, self.stay, FAMILY.cost, length).sample(n, seed)
        noise = drawn.returns[..., 0] - self.mean * drawn.hidden["state"]
        return replace(drawn, returns=self.volatility * (drawn.returns + self.shift)), self.volatility * noise[:, 1:]


def regimes(n: int, seed: int, wide: bool = True) -> list[Regime]:
    rng = np.random.default_rng(seed)
    if not wide:
        return [
            Regime(m, q, 0.0, 1.0, 1.0) for m, q in zip(rng.uniform(*FAMILY.means, n), rng.uniform(*FAMILY.stays, n))
        ]
    return [
        Regime(
            rng.uniform(0.02, 0.25),
            rng.uniform(0.95, 0.998),
            rng.uniform(-1, 1) * UNCERTAINTY.shift,
            UNCERTAINTY.volatility ** rng.uniform(-1, 1),
            UNCERTAINTY.costs ** rng.uniform(),
        )
        for _ in range(n)
    ]


def train(
    arm: str,
    seed: int,
    steps: int,
    episodes: int,
    copies: int,
    batch: int,
    worst=None,
    hidden=32,
    uncertainty=UNCERTAINTY,
) -> MetaPolicy:
    train_, validate = FAMILY.sample(episodes, [seed, 1]), FAMILY.sample(64, [seed, 2])
    base = recipes.learner("RL2", FAMILY, seed)
    tasks = train_.tasks(1)
    many = batch
    if arm in ("randomised", "adversarial"):
        tasks = Across.perturbed(tasks, uncertainty, copies=copies, seed=seed)
        many = batch // copies
    if arm == "worst":
        m, q = train_.hidden["mean"], train_.hidden["stay"]
        cell = 3 * np.digitize(m, np.quantile(m, [1 / 3, 2 / 3])) + np.digitize(q, np.quantile(q, [1 / 3, 2 / 3]))
        tasks = TaskSet(tuple(replace(t, regime=str(k)) for t, k in zip(tasks, cell, strict=True)))
    objective = replace(base.objective, worst_case=worst if arm in ("worst", "adversarial") else None)
    training = replace(base.training, steps=steps, batch=many, evaluate_every=steps, seed=seed)
    learner = replace(
        base, policy=replace(base.policy, hidden=hidden), objective=objective, training=training, deployed=200
    )
    return learner.fit(tasks, validate.tasks(1), progress=False)


@dataclass(frozen=True)
class Expected(Utility):
    """Log wealth per bar without luck: the noise of each return is taken out of what the position earned."""

    noise: Tensor
    reads_weights: ClassVar[bool] = True

    def __call__(self, growth, counted, unit, weights=None):
        value = growth / unit - weights[..., 0] * self.noise
        return torch.where(counted, value, 0.0).sum(1) / counted.sum(1)


def judge(metas: list[MetaPolicy], found: list[Regime], n: int, seed: int) -> np.ndarray:
    """(metas, regimes, 2 halves)"""
    out = np.empty((len(metas), len(found), 2))
    for k, regime in enumerate(found):
        drawn, noise = regime.episodes(n, [seed, k])
        o = metas[0].objective
        o = replace(o, costs=o.costs.scaled(regime.costs), utility=Expected(torch.from_numpy(noise)))
        sampler = o.sampler(drawn.tasks(1), metas[0].policy, 1)
        for i, meta in enumerate(metas):
            params = named_params(meta.policy)
            with torch.no_grad():
                batch = sampler.collect(meta.policy, params, sampler.all_tasks(), "query")
                s = sampler.utility(meta.policy, params, batch).numpy()
            out[i, k] = s[0::2].mean(), s[1::2].mean()
    return out
