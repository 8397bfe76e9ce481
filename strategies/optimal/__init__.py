"""Known optima: the best strategies of the families of `markets.synthetic`, and the best in hindsight on any prices."""

from strategies.optimal.drift_momentum import DriftMomentumFilter
from strategies.optimal.exposure import LEVELS, Account, Exposure, Solved, solve_filter, solve_known
from strategies.optimal.exposure_paths import ExposureFilter, filtered
from strategies.optimal.garleanu_pedersen import GarleanuPedersenOptimum, partial_adjustment
from strategies.optimal.hidden_markov import (
    HiddenMarkovFilter,
    HiddenMarkovJointFilter,
    HiddenMarkovZone,
    hidden_markov_log_odds,
    hidden_markov_threshold,
    hidden_markov_value,
    hidden_markov_worth,
)
from strategies.optimal.hindsight import Hindsight, hindsight
from strategies.optimal.linear_cost import LinearCostOptimum, linear_cost_threshold, linear_cost_value
from strategies.optimal.optimum import Optimum
from strategies.optimal.planted import PlantedFilter, planted_threshold, planted_value
from strategies.optimal.switching import value_of_switching, worth_of_switching
from strategies.optimal.switching_covariance import SwitchingCovarianceFilter

__all__ = [
    "LEVELS",
    "Account",
    "DriftMomentumFilter",
    "Exposure",
    "ExposureFilter",
    "GarleanuPedersenOptimum",
    "HiddenMarkovFilter",
    "HiddenMarkovJointFilter",
    "HiddenMarkovZone",
    "Hindsight",
    "LinearCostOptimum",
    "Optimum",
    "PlantedFilter",
    "Solved",
    "SwitchingCovarianceFilter",
    "filtered",
    "hidden_markov_log_odds",
    "hidden_markov_threshold",
    "hidden_markov_value",
    "hidden_markov_worth",
    "hindsight",
    "linear_cost_threshold",
    "linear_cost_value",
    "partial_adjustment",
    "planted_threshold",
    "planted_value",
    "solve_filter",
    "solve_known",
    "value_of_switching",
    "worth_of_switching",
]
