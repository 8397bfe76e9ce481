"""What makes a strategy adapt: objectives, training, learners."""

from metalearner.base import MetaLearner, MetaPolicy, load_meta, shrunk
from metalearner.finetune import FineTune
from metalearner.objectives import CostCurriculum, MeanVariance
from metalearner.rl2 import RL2
from metalearner.training import Training

__all__ = [
    "RL2",
    "CostCurriculum",
    "FineTune",
    "MeanVariance",
    "MetaLearner",
    "MetaPolicy",
    "Training",
    "load_meta",
    "shrunk",
]
