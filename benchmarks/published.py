"""Reproduction of published results: a bandit (RL²), a 2-D point (MAML) and the seed project's world, with reference values.

The learners are those of `metalearner`, on the environments of `benchmarks.published_envs`. Final weights are evaluated on tasks
that were not used in training or validation.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.common import finish, options
from benchmarks.published_envs import Bandit, Point, SeedWorld
from metalearner import MAML, PPO, RL2, Environments, Inner, MetaLearner, MetaPolicy, Training
from metalearner.environments.rollouts import Rollout
from metalearner.learners.inner_loop import ByGradient, inner_steps
from strategies.networks import Shape, named_params

JUDGED_FROM = 1_000_000  # first seed of the test tasks; validation uses seeds from 0, training seeds from 2³¹

REFERENCES = {
    "bandit_10_5": "random 5.0, Thompson 5.7, Gittins 6.6, UCB1 6.7, RL² 6.7 as printed (1,000 episodes: ± 0.1); optimum 6.6600",
    "point_1": "MAML as printed: −11.68; staying at the origin −38.26, walking straight to a known goal −0.507",
    "point_3": "MAML as printed: −3.23",
    "seed_world": "the seed: about −5",
}

TRAINING = Training(
    learning_rate=3e-3, schedule="linear", weight_decay=0.0, largest_gradient=0.5, evaluate_every=50, device="cpu"
)


@dataclass(frozen=True)
class Table:
    """One experiment: a family, a learner, and the numbers of validation and test tasks."""

    family: Any
    learner: MetaLearner
    validation: int
    judged: int

    def fit(self, seed: int, quick: bool) -> tuple[MetaPolicy, float]:
        """Train; return the meta-policy and the training time in seconds."""
        training = replace(self.learner.training, seed=seed)
        if quick:
            training = replace(training, steps=2, batch=10)
        learner, judged = replace(self.learner, training=training), Environments(self.family, range(self.validation))
        start = time.perf_counter()
        meta = learner.fit(self.family, judged)
        return meta, time.perf_counter() - start

    def chunks(self, size: int, quick: bool) -> list[Environments]:
        """The test tasks, in chunks of `size`."""
        last = JUDGED_FROM + (size if quick else self.judged)
        return [Environments(self.family, range(a, min(a + size, last))) for a in range(JUDGED_FROM, last, size)]


BANDIT = Table(
    Bandit(arms=5, horizon=10),
    RL2(
        policy=Shape(hidden=64, layers=0),
        objective=PPO(discount=0.99, gae_lambda=0.3),
        training=replace(TRAINING, steps=600, batch=1000),
        name="RL² on the bandit",
    ),
    validation=1000,
    judged=40_000,
)
POINT = Table(
    Point(),
    MAML(
        policy=Shape(memory="none", hidden=100, layers=2, activation="relu"),
        objective=PPO(
            trials=20,
            discount=0.99,
            gae_lambda=1.0,
            baseline="linear",
            epochs=2,
            entropy=0.0,
            initial_std=0.9,
            max_steps=100,
        ),
        training=replace(TRAINING, steps=60, batch=40, evaluate_every=15),
        inner=Inner(steps=3, step_size=(0.5, 0.15)),
        order=2,
        learn_step_sizes=True,
        every_update=True,
        name="MAML on the point",
    ),
    validation=20,
    judged=1000,
)
# Trained on the utility after one inner step, as in the paper; POINT is trained on the utility after each of three.
POINT_ONCE = replace(
    POINT,
    learner=replace(
        POINT.learner,
        inner=Inner(steps=1, step_size=0.5),
        training=replace(POINT.learner.training, steps=80),
        name="MAML on the point, one update",
    ),
)
SEED_WORLD = Table(
    SeedWorld(),
    RL2(
        policy=Shape(hidden=64, layers=1),
        objective=PPO(episodes_per_trial=3, gae_lambda=0.9, scale=0.1),
        training=replace(TRAINING, steps=300, batch=500),
        name="RL² on the seed's world",
    ),
    validation=500,
    judged=10_000,
)


def met(meta: MetaPolicy, environments: Environments, params: Any = None) -> Rollout:
    """A rollout of the policy in the tasks."""
    params = named_params(meta.policy) if params is None else {n: p.detach() for n, p in params.items()}
    sampler = meta.objective.sampler(environments, meta.policy, meta.context)
    rng = np.random.default_rng(int(environments.seeds[0]))  # type: ignore[index]
    return sampler.collect(meta.policy, params, sampler.all_tasks(), "query", rng).rollout


def after_steps(meta: ByGradient, environments: Environments) -> torch.Tensor:
    """Mean return before the first inner step and after each step, shape (K + 1, tasks)."""
    sampler = meta.objective.sampler(environments, meta.policy, 1)
    rng = np.random.default_rng([1, int(environments.seeds[0])])  # type: ignore[index]
    path = inner_steps(sampler, meta.policy, sampler.all_tasks(), meta.inner, rng, step_sizes=meta.step_sizes)
    return torch.stack([met(meta, environments, step.params).returns().mean(1) for step in path])


def mean(values: torch.Tensor) -> tuple[float, float]:
    """Mean over tasks, and half-width of its 95 % interval."""
    return float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5


def main() -> None:
    """Train all three, evaluate them, and print the tables."""
    chosen = options(__doc__ or "")
    torch.set_num_threads(1)
    found: dict[str, tuple[float, float]] = {}

    point_s = {}
    for steps, table in ((1, POINT_ONCE), (3, POINT)):
        meta, point_s[steps] = table.fit(chosen.seed, chosen.quick)
        assert isinstance(meta, ByGradient)
        curve = torch.cat([after_steps(meta, part) for part in table.chunks(40, chosen.quick)], 1)
        found |= {f"point_{k}_trained_for_{steps}": mean(returns) for k, returns in enumerate(curve)}
        found[f"point_{steps}"] = mean(curve[steps])

    meta, bandit_s = BANDIT.fit(chosen.seed, chosen.quick)
    found["bandit_10_5"] = mean(
        torch.cat([met(meta, part).returns()[:, 0] for part in BANDIT.chunks(10_000, chosen.quick)])
    )

    meta, seed_s = SEED_WORLD.fit(chosen.seed, chosen.quick)
    (environments,) = SEED_WORLD.chunks(SEED_WORLD.judged, chosen.quick)
    last = met(meta, environments)
    found |= {f"seed_world_run_{k + 1}": mean(last.returns(k)[:, 0]) for k in range(3)}
    found["seed_world"] = found["seed_world_run_3"]
    counts = (last.alive & (last.episode == 2))[:, 0]
    out = (last.terminated[:, 0] & counts).any(1).double()
    targets = torch.from_numpy(environments.make.vector(environments.seeds).tasks)
    ends = last.following[:, 0][counts & last.done[:, 0]]
    away = (ends - targets).abs().sum(1)

    for name, (value, error) in found.items():
        print(f"{name:18} {value:8.3f} ± {error:.3f}   {REFERENCES.get(name, '')}")
    print(f"seed's world, last episode: {float(out.mean()):.2%} left the box, |end − target|₁ {float(away.mean()):.3f}")
    print(f"trained in {bandit_s:.0f}, {point_s[1]:.0f}, {point_s[3]:.0f} and {seed_s:.0f} s on one thread")
    figures = {name: round(value, 4) for name, (value, _) in found.items()}
    figures |= {f"{name}_ci95": round(error, 4) for name, (_, error) in found.items()}
    figures |= {"seed_world_walked_out": float(out.mean()), "seed_world_last_distance": round(float(away.mean()), 4)}
    times = {
        "bandit_train_s": bandit_s,
        "point_1_train_s": point_s[1],
        "point_3_train_s": point_s[3],
        "seed_world_train_s": seed_s,
    }
    finish("published", figures | {k: round(v, 1) for k, v in times.items()}, chosen.quick)


if __name__ == "__main__":
    main()
