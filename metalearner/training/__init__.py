"""The training loop and its checkpoints."""

from metalearner.training.algorithm import Algorithm
from metalearner.training.config import Training
from metalearner.training.loop import train

__all__ = ["Algorithm", "Training", "train"]
