"""What makes a strategy adapt: objectives, training, learners."""

from collections.abc import Callable

from metalearner.agents import Agent
from metalearner.base import MetaLearner, MetaPolicy, load_meta
from metalearner.dqn import DQN
from metalearner.ensemble import Ensemble
from metalearner.finetune import FineTune
from metalearner.inner import Inner
from metalearner.latent import Latent
from metalearner.maml import MAML
from metalearner.pathwise import CostCurriculum, Pathwise
from metalearner.policy_gradient import PPO, REINFORCE
from metalearner.reptile import Reptile
from metalearner.rl2 import RL2
from metalearner.rollouts import Environments
from metalearner.scratch import RollingRetrain, Scratch
from metalearner.training import Training
from metalearner.utilities import (
    DifferentialSharpe,
    DrawdownPenalised,
    HeldRisk,
    LogWealth,
    MeanVariance,
    PowerUtility,
)


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
