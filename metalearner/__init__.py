"""What makes a strategy adapt: objectives, training, learners."""

from metalearner.agents import Agent
from metalearner.base import MetaLearner, MetaPolicy, load_meta, shrunk
from metalearner.dqn import DQN
from metalearner.finetune import FineTune
from metalearner.inner import Inner
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
    "Environments",
    "FineTune",
    "HeldRisk",
    "Inner",
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
    "load_meta",
    "shrunk",
]
