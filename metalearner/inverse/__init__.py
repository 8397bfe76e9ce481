"""Inverse reinforcement learning: what is this trader optimising?"""

from metalearner.inverse.entropy import Decisions, MaximumEntropy, cloned, infer
from metalearner.inverse.hierarchy import population
from metalearner.inverse.history import History, history
from metalearner.inverse.horizon import Horizon, horizon
from metalearner.inverse.inferred import Inferred, Parameter
from metalearner.inverse.quadratic import infer_quadratic
from metalearner.inverse.soft import SignalMarket, long_run, soft_values

__all__ = [
    "Decisions",
    "History",
    "Horizon",
    "Inferred",
    "MaximumEntropy",
    "Parameter",
    "SignalMarket",
    "cloned",
    "history",
    "horizon",
    "infer",
    "infer_quadratic",
    "long_run",
    "population",
    "soft_values",
]
