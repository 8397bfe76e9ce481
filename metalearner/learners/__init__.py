"""Learners: algorithms that train a policy to adapt."""

from collections.abc import Callable

from metalearner.learners.base import MetaLearner, MetaPolicy, load_meta
from metalearner.learners.dqn import DQN
from metalearner.learners.ensemble import Ensemble
from metalearner.learners.experts import Experts, ExpertsPolicy
from metalearner.learners.finetune import FineTune
from metalearner.learners.inner_loop import ByGradient, Inner
from metalearner.learners.latent import Latent
from metalearner.learners.maml import MAML
from metalearner.learners.reptile import Reptile
from metalearner.learners.risk import AdaptiveRisk
from metalearner.learners.rl2 import RL2
from metalearner.learners.scratch import RollingRetrain, Scratch

# Constructors of the learners that trade, by their names on the command line.
LEARNERS: dict[str, Callable[..., MetaLearner]] = {
    "rl2": RL2,
    "latent": Latent,
    "maml": MAML,
    "anil": MAML.anil,
    "cavia": MAML.cavia,
    "reptile": Reptile,
    "finetune": FineTune,
    "scratch": Scratch,
    "rolling": RollingRetrain,
    "risk": AdaptiveRisk,
    "experts": Experts,
}

__all__ = [
    "DQN",
    "LEARNERS",
    "MAML",
    "RL2",
    "AdaptiveRisk",
    "ByGradient",
    "Ensemble",
    "Experts",
    "ExpertsPolicy",
    "FineTune",
    "Inner",
    "Latent",
    "MetaLearner",
    "MetaPolicy",
    "Reptile",
    "RollingRetrain",
    "Scratch",
    "load_meta",
]
