"""Hyperparameters that work well on the synthetic families, for the benchmarks and as starting points.

They were selected on episodes with other seeds than those used for evaluation.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from markets.synthetic import DriftMomentum, Family, GarleanuPedersen, HiddenMarkov, HiddenMarkovFamily, LinearCost
from metalearner.evaluation.scores import ceiling_scores
from metalearner.learners.base import MetaLearner, MetaPolicy, load_meta
from metalearner.learners.finetune import FineTune
from metalearner.learners.inner_loop import Inner
from metalearner.learners.latent import Latent
from metalearner.learners.maml import MAML
from metalearner.learners.reptile import Reptile
from metalearner.learners.rl2 import RL2
from metalearner.learners.scratch import Scratch
from metalearner.objectives.pathwise import CostCurriculum, Pathwise
from metalearner.objectives.utilities import HeldRisk, LogWealth, MeanVariance, Utility
from metalearner.training.config import Training
from strategies import PolicySettings

SUPPORT = 100  # bars of support, and as many of query, for learners that adapt by gradient steps
STEPS = 5
# Families for evaluation, and the number of bars left out at the start of whole episodes, for all learners.
FAMILIES: dict[str, tuple[Family, int]] = {
    "drift_momentum": (DriftMomentum(), 0),
    "hidden_markov_a": (HiddenMarkov(), 100),
    "hidden_markov_b": (HiddenMarkov(mean=0.2), 100),
    "hidden_markov_c": (HiddenMarkov(stay=0.995, cost=0.5), 200),
    "hidden_markov_family": (HiddenMarkovFamily(), 100),
    "garleanu_pedersen": (GarleanuPedersen(), 50),
}


@dataclass(frozen=True)
class FamilyRecipe:
    """Settings for a family.

    Attributes
    ----------
    utility : callable
        Function from the family to the utility that equals its reward.
    learners : tuple of str
        Learners with a recipe for the family. Gradient learners are left out where the state changes within the support or is
        observed at each bar: a policy without memory sees one return, so gradient steps cannot learn anything about the query.
    memory_training : callable
        Function from the family to the training steps and the learning rate of a policy with a memory.
    trades : {"rate"} or None
        See `PolicySettings`; None is a band if there are costs.
    limit : float
        Largest gross weight.
    hidden : int
        Units of a policy without a memory.
    """

    utility: Callable[[Any], Utility]
    learners: tuple[str, ...]
    memory_training: Callable[[Any], tuple[int, float]]
    trades: str | None = None
    limit: float = 1.0
    hidden: int = 32


def _log_wealth(family: Family) -> Utility:
    return LogWealth()


def _hidden_markov_training(family: Any) -> tuple[int, float]:
    # at a low signal-to-noise ratio, a higher learning rate ends in always being long
    return (8000, 1e-3) if getattr(family, "mean", 1.0) < 0.15 else (2500, 2e-3)


GRADIENT = ("MAML", "MAML, second order", "ANIL", "CAVIA", "Reptile", "fine-tune", "scratch")
BY_FAMILY: dict[type[Family], FamilyRecipe] = {
    DriftMomentum: FamilyRecipe(lambda f: MeanVariance(1.0), ("RL2", "latent", *GRADIENT), lambda f: (1200, 1e-2)),
    HiddenMarkov: FamilyRecipe(_log_wealth, ("RL2",), _hidden_markov_training),
    HiddenMarkovFamily: FamilyRecipe(_log_wealth, ("RL2",), _hidden_markov_training),
    LinearCost: FamilyRecipe(_log_wealth, ("RL2",), lambda f: (2500, 2e-3)),
    GarleanuPedersen: FamilyRecipe(
        lambda f: HeldRisk(f.risk_aversion, f.variance), ("no memory",), lambda f: (300, 1e-2), "rate", 20.0, hidden=16
    ),
}


def objective(family: Family) -> Pathwise:
    """The family's reward as a utility of the simulated account."""
    # quadratic costs do not penalise small trades, so they need no curriculum
    curriculum = CostCurriculum(0.3, 0.3) if family.cost else CostCurriculum(0, 0)
    utility = BY_FAMILY[type(family)].utility(family)
    return Pathwise(family.costs, family.execution, utility, curriculum, family.scale, symbols=0)


def policy(family: Family, **shape: Any) -> PolicySettings:
    """Settings of a policy with the outputs of the family's optimum: aim, aim and band, or aim and rate."""
    recipe = BY_FAMILY[type(family)]
    options: dict[str, Any] = {
        "hidden": 32,
        "base": "flat",
        "trades": recipe.trades or ("band" if family.cost else "at_once"),
        "limit": recipe.limit,
        "features": family.features,
    }
    return PolicySettings(**options | shape)


@dataclass(frozen=True)
class LearnerRecipe:
    """How to build a learner for a family.

    Attributes
    ----------
    adapts : {"memory", "gradient", "nothing"}
        How it adapts.
    build : callable
        Function from (family, common options) to the learner.
    steps : int or None
        Training steps, if not the usual number.
    """

    adapts: Literal["memory", "gradient", "nothing"]
    build: Callable[[Family, dict[str, Any]], MetaLearner]
    steps: int | None = None


_INNER = Inner(steps=STEPS, step_size=0.3, support=SUPPORT)


def _still(family: Family) -> PolicySettings:
    return policy(family, memory="none", hidden=BY_FAMILY[type(family)].hidden)


LEARNERS: dict[str, LearnerRecipe] = {
    "RL2": LearnerRecipe("memory", lambda f, o: RL2(policy=policy(f), context=1, deployed=f.length, **o)),
    "latent": LearnerRecipe(
        "memory", lambda f, o: Latent(policy=policy(f, memory="belief"), context=1, deployed=f.length, **o)
    ),
    "MAML": LearnerRecipe("gradient", lambda f, o: MAML(policy=_still(f), inner=_INNER, learn_step_sizes=True, **o)),
    "MAML, second order": LearnerRecipe(
        "gradient", lambda f, o: MAML(policy=_still(f), inner=_INNER, order=2, learn_step_sizes=True, **o), steps=100
    ),
    "ANIL": LearnerRecipe(
        "gradient", lambda f, o: MAML.anil(policy=_still(f), inner=_INNER, learn_step_sizes=True, **o)
    ),
    "CAVIA": LearnerRecipe(
        "gradient",
        lambda f, o: MAML.cavia(policy=_still(f), inner=replace(_INNER, step_size=1.0), learn_step_sizes=True, **o),
    ),
    "Reptile": LearnerRecipe("gradient", lambda f, o: Reptile(policy=_still(f), inner=_INNER, **o)),
    "fine-tune": LearnerRecipe("gradient", lambda f, o: FineTune(policy=_still(f), inner=_INNER, **o)),
    "scratch": LearnerRecipe(
        "gradient",
        lambda f, o: Scratch(policy=_still(f), inner=_INNER, step_sizes=(0.1, 0.3, 1.0, 3.0, 10.0), **o),
    ),
    "no memory": LearnerRecipe("nothing", lambda f, o: RL2(policy=_still(f), context=1, **o)),
}


def learner(name: str, family: Family, seed: int = 0, quick: bool = False) -> MetaLearner:
    """A learner with the recommended settings for `family`.

    Parameters
    ----------
    name : str
        One of `names`.
    family : Family
    seed : int
        Training seed.
    quick : bool
        Use a fortieth of the training steps, to check that everything runs; results are not meaningful.

    Returns
    -------
    MetaLearner
    """
    recipe, suits = LEARNERS[name], BY_FAMILY[type(family)]
    steps, rate = (400, 5e-3) if recipe.adapts == "gradient" else suits.memory_training(family)
    steps = recipe.steps or steps
    training = Training(
        steps=max(steps // 40, 1) if quick else steps, batch=64, learning_rate=rate, weight_decay=0.0, schedule="cosine",
        evaluate_every=max(steps // 40, 1) if quick else 100, evidence=None, seed=seed,
        keep="last" if family.cost else "best",
    )  # fmt: skip
    return recipe.build(family, {"objective": objective(family), "training": training, "name": name})


def names(family: Family) -> tuple[str, ...]:
    """Names of the learners that have a recipe for `family`."""
    return BY_FAMILY[type(family)].learners


@dataclass(frozen=True)
class EpisodeBudget:
    """Number of episodes for training and validation, their length in bars, and the bars of support in each."""

    train: int
    validate: int
    length: int
    support: int


def episode_budget(family: Family, name: str, quick: bool = False) -> EpisodeBudget:
    """The episodes to train a learner on: whole episodes for a memory, support and query for gradient steps."""
    adapts = LEARNERS[name].adapts
    memory = adapts == "memory"
    length = family.length if isinstance(family, DriftMomentum) else 400 if memory else 300
    # with 8,192 hidden Markov episodes a memory overfitted: 0.96 of the ceiling on those, 0.94 on others
    many, few = (256, 64) if quick else (65536 if memory and length > 200 else 16384, 512)
    return EpisodeBudget(many, few, length, SUPPORT if adapts == "gradient" else 1)


@dataclass(frozen=True)
class Trained:
    """A learner trained on a family by its recipe.

    Attributes
    ----------
    meta : MetaPolicy
    seconds : float
        Wall-clock time of the training, including sampling the episodes.
    """

    meta: MetaPolicy
    seconds: float


def trained(
    name: str, family: Family, seed: int, quick: bool = False, folder: Path | None = None, progress: bool = False
) -> Trained:
    """Train a learner on a family by its recipe, or load it if it was trained before.

    Parameters
    ----------
    name : str
        One of `names`.
    family : Family
    seed : int
        Training seed.
    quick : bool
        See `learner`.
    folder : Path, optional
        Folder of models and checkpoints. A model found there is loaded instead of trained, and an interrupted training is
        resumed.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Trained
    """
    planned, budget = learner(name, family, seed, quick), episode_budget(family, name, quick)
    place = checkpoint = None
    spent = 0.0
    if folder is not None:  # the folder's name contains a hash of all settings
        slug = hashlib.sha256(repr((family, planned, budget)).encode()).hexdigest()[:8]
        place = folder / f"{_plain(family.name)}-{slug}-{_plain(name)}-{seed}{'-quick' if quick else ''}"
        checkpoint, clock = place / "checkpoint.safetensors", place / "seconds.txt"
        spent = float(clock.read_text()) if clock.exists() else 0.0
        if (place / "meta.json").exists():
            return Trained(load_meta(place), spent)
        place.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter() - spent

    def note(*_: Any) -> None:
        if place is not None:
            clock.write_text(str(time.perf_counter() - begun))

    shorter, support = family.with_length(budget.length), budget.support
    train, validate = shorter.sample(budget.train, [seed, 1]), shorter.sample(budget.validate, [seed, 2])
    meta = planned.fit(
        train.tasks(support), validate.tasks(support),
        checkpoint=checkpoint, resume=checkpoint is not None, progress=progress, log=note,
        ceiling=float(ceiling_scores(validate, support).mean()),
    )  # fmt: skip
    note()
    if place is not None:
        meta.save(place)
    return Trained(meta, time.perf_counter() - begun)


def _plain(name: str) -> str:
    """`name` as part of a folder name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
