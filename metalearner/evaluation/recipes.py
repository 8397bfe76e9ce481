"""What is known to train well on the synthetic families, in one place: for the benchmarks, and to start from.

All of it was chosen on episodes of other seeds than those that judge.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markets.synthetic.families import DriftMomentum, Family, GarleanuPedersen, HiddenMarkov, HiddenMarkovFamily
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
from metalearner.training.loop import Training
from strategies import PolicySettings

SUPPORT = 100  # bars that gradient learners are trained to adapt on, and as many that judge
STEPS = 5
CONTEXT = ("RL2", "latent")
# The families that learners are judged on, and the first bars of whole episodes that are left out for everyone alike.
FAMILIES: dict[str, tuple[Family, int]] = {
    "drift_momentum": (DriftMomentum(), 0),
    "hidden_markov_a": (HiddenMarkov(), 100),
    "hidden_markov_b": (HiddenMarkov(mean=0.2), 100),
    "hidden_markov_c": (HiddenMarkov(stay=0.995, cost=0.5), 200),
    "hidden_markov_family": (HiddenMarkovFamily(), 100),
    "garleanu_pedersen": (GarleanuPedersen(), 50),
}


def objective(family: Family) -> Pathwise:
    """The family's reward, through the account."""
    utility: Utility = LogWealth()
    if isinstance(family, DriftMomentum):
        utility = MeanVariance(1.0)
    elif isinstance(family, GarleanuPedersen):
        utility = HeldRisk(family.risk_aversion, family.variance)
    # quadratic costs punish no first small trade, so that they need no curriculum
    curriculum = CostCurriculum(0.3, 0.3) if family.cost else CostCurriculum(0, 0)
    return Pathwise(family.costs, family.execution, utility, curriculum, family.scale, symbols=0)


def policy(family: Family, **shape: Any) -> PolicySettings:
    """A policy in the form of the family's optimum: aim, aim and band, or aim and rate."""
    trades: Any = "rate" if isinstance(family, GarleanuPedersen) else "band" if family.cost else "at_once"
    limit = 20.0 if isinstance(family, GarleanuPedersen) else 1.0
    options: dict[str, Any] = {
        "hidden": 32,
        "base": "flat",
        "trades": trades,
        "limit": limit,
        "features": family.features,
    }
    return PolicySettings(**options | shape)


def learner(name: str, family: Family, seed: int = 0, quick: bool = False) -> MetaLearner:
    """A learner with what trains well on `family`.

    Parameters
    ----------
    name : str
        One of `names`.
    family : Family
    seed : int
    quick : bool
        A fortieth of the updates: shows that it works, and no more.
    """
    memory = name in CONTEXT
    steps, rate = 400, 5e-3
    if memory:
        steps, rate = (1200, 1e-2) if isinstance(family, DriftMomentum) else (2500, 2e-3)
    if isinstance(family, HiddenMarkov) and family.mean < 0.15:
        steps, rate = 8000, 1e-3  # where a bar says little, larger steps end in always being long
    if isinstance(family, GarleanuPedersen):
        steps, rate = 300, 1e-2
    if name == "MAML, second order":
        steps = 100
    training = Training(
        steps=max(steps // 40, 1) if quick else steps, batch=64, learning_rate=rate, weight_decay=0.0, schedule="cosine",
        evaluate_every=max(steps // 40, 1) if quick else 100, evidence=None, seed=seed,
        keep="last" if family.cost else "best",
    )  # fmt: skip
    common: dict[str, Any] = {"objective": objective(family), "training": training, "name": name}
    still = policy(family, memory="none", hidden=16 if isinstance(family, GarleanuPedersen) else 32)
    plain = Inner(steps=STEPS, step_size=0.3, support=SUPPORT)
    anew = (0.1, 0.3, 1.0, 3.0, 10.0)
    makers: dict[str, Callable[[], MetaLearner]] = {
        "RL2": lambda: RL2(policy=policy(family), context=1, deployed=family.length, **common),
        "latent": lambda: Latent(policy=policy(family, memory="belief"), context=1, deployed=family.length, **common),
        "MAML": lambda: MAML(policy=still, inner=plain, learn_step_sizes=True, **common),
        "MAML, second order": lambda: MAML(policy=still, inner=plain, order=2, learn_step_sizes=True, **common),
        "ANIL": lambda: MAML.anil(policy=still, inner=plain, learn_step_sizes=True, **common),
        "CAVIA": lambda: MAML.cavia(policy=still, inner=replace(plain, step_size=1.0), learn_step_sizes=True, **common),
        "Reptile": lambda: Reptile(policy=still, inner=plain, **common),
        "fine-tune": lambda: FineTune(policy=still, inner=plain, **common),
        "scratch": lambda: Scratch(policy=still, inner=plain, step_sizes=anew, **common),
        "no memory": lambda: RL2(policy=still, context=1, **common),
    }
    return makers[name]()


def names(family: Family) -> tuple[str, ...]:
    """Learners that have a recipe for `family`.

    Where the state is hidden or told bar by bar there is nothing that a gradient step on some bars could find out for the
    next ones: a policy without memory sees one return, and what it should hold changes within the support.
    """
    if isinstance(family, DriftMomentum):
        return ("RL2", "latent", "MAML", "MAML, second order", "ANIL", "CAVIA", "Reptile", "fine-tune", "scratch")
    return ("no memory",) if isinstance(family, GarleanuPedersen) else ("RL2",)


@dataclass(frozen=True)
class Lesson:
    """How many episodes a learner is trained and validated on, of how many bars, and how many of these are the support."""

    train: int
    validate: int
    length: int
    support: int


def lesson(family: Family, name: str, quick: bool = False) -> Lesson:
    """Whole episodes for a memory, support and query for gradient steps."""
    memory, gradient = name in CONTEXT, name not in (*CONTEXT, "no memory")
    length = family.length if isinstance(family, DriftMomentum) else 400 if memory else 300
    # of 8,192 hidden Markov episodes a memory learnt some by heart: 0.96 of the ceiling there, 0.94 on others
    many, few = (256, 64) if quick else (65536 if memory and length > 200 else 16384, 512)
    return Lesson(many, few, length, SUPPORT if gradient else 1)


@dataclass(frozen=True)
class Trained:
    """A learner trained on a family by its recipe.

    Attributes
    ----------
    meta : MetaPolicy
    seconds : float
        Wall-clock of the training, its episodes included.
    """

    meta: MetaPolicy
    seconds: float


def trained(
    name: str, family: Family, seed: int, quick: bool = False, folder: Path | None = None, progress: bool = False
) -> Trained:
    """Train by the recipe.

    Parameters
    ----------
    name : str
    family : Family
    seed : int
    quick : bool
    folder : Path, optional
        Where the model and its checkpoint are kept: what is there is not trained again, and what was interrupted goes on.
    progress : bool
    """
    planned, planned_for = learner(name, family, seed, quick), lesson(family, name, quick)
    place = checkpoint = None
    spent = 0.0
    if folder is not None:  # by all settings: other ones are another model
        slug = hashlib.sha256(repr((family, planned, planned_for)).encode()).hexdigest()[:8]
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

    shorter = family.lasting(planned_for.length)
    train, validate = shorter.sample(planned_for.train, [seed, 1]), shorter.sample(planned_for.validate, [seed, 2])
    support = planned_for.support
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
    """For the name of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
