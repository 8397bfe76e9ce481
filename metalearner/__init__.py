"""What makes a strategy adapt: objectives, training, learners."""

from collections.abc import Callable

from metalearner.environments.agent import Agent
from metalearner.environments.rollouts import Environments
from metalearner.learners.base import MetaLearner, MetaPolicy, load_meta
from metalearner.learners.dqn import DQN
from metalearner.learners.ensemble import Ensemble
from metalearner.learners.finetune import FineTune
from metalearner.learners.inner_loop import Inner
from metalearner.learners.latent import Latent
from metalearner.learners.maml import MAML
from metalearner.learners.reptile import Reptile
from metalearner.learners.rl2 import RL2
from metalearner.learners.scratch import RollingRetrain, Scratch
from metalearner.objectives.pathwise import CostCurriculum, Pathwise
from metalearner.objectives.policy_gradient import PPO, REINFORCE
from metalearner.objectives.utilities import (
    DifferentialSharpe,
    DrawdownPenalised,
    HeldRisk,
    LogWealth,
    MeanVariance,
    PowerUtility,
)
from metalearner.training.loop import Training


def learners() -> dict[str, Callable[..., MetaLearner]]:
    """Makers of the learners that trade, by their names on the command line."""
    return {
        "rl2": RL2,
        "latent": Latent,
        "maml": MAML,
        "anil": MAML.anil,
        "cavia": MAML.cavia,
        "reptile": Reptile,
        "finetune": FineTune,
        "scratch": Scratch,
        "rolling": RollingRetrain,
    }


__all__ = [
    "DQN",
    "MAML",
    "PPO",
    "REINFORCE",
    "RL2",
    "Agent",
    "CostCurriculum",
    "DifferentialSharpe",
    "DrawdownPenalised",
    "Ensemble",
    "Environments",
    "FineTune",
    "HeldRisk",
    "Inner",
    "Latent",
    "LogWealth",
    "MeanVariance",
    "MetaLearner",
    "MetaPolicy",
    "Pathwise",
    "PowerUtility",
    "Reptile",
    "RollingRetrain",
    "Scratch",
    "Training",
    "learners",
    "load_meta",
]
