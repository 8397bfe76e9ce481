"""Known optima: the best that anyone can do in the families of `markets.synthetic`, and in hindsight on real prices."""

from strategies.optimal.optima import (
    DriftMomentumFilter,
    GarleanuPedersenOptimum,
    HiddenMarkovFilter,
    HiddenMarkovJointFilter,
    Hindsight,
    LinearCostOptimum,
    Optimum,
    hidden_markov_threshold,
    hindsight,
    linear_cost_threshold,
    partial_adjustment,
)

__all__ = [
    "DriftMomentumFilter",
    "GarleanuPedersenOptimum",
    "HiddenMarkovFilter",
    "HiddenMarkovJointFilter",
    "Hindsight",
    "LinearCostOptimum",
    "Optimum",
    "hidden_markov_threshold",
    "hindsight",
    "linear_cost_threshold",
    "partial_adjustment",
]
