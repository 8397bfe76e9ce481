"""Tuning: the settings of a learner that score best on validation tasks. Optuna is imported here and nowhere else."""

from markets.common.ranges import OneOf, Range
from metalearner.tuning.space import space
from metalearner.tuning.tune import Tuned, tune

__all__ = ["OneOf", "Range", "Tuned", "space", "tune"]
