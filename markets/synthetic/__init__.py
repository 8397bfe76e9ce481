"""Synthetic markets: families with a known optimal strategy, and augmentation of real bars (`augment`)."""

from markets.synthetic.calibration import Calibration, calibrate
from markets.synthetic.drift_momentum import DriftMomentum
from markets.synthetic.families import FAMILIES
from markets.synthetic.family import Episodes, Family
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.hidden_markov import HiddenMarkov, HiddenMarkovFamily
from markets.synthetic.linear_cost import LinearCost
from markets.synthetic.planted import Planted
from markets.synthetic.switching_covariance import SwitchingCovariance
from markets.synthetic.two_regimes import TwoRegimes
from markets.synthetic.uncertainty import Perturbation, Uncertainty

__all__ = [
    "FAMILIES",
    "Calibration",
    "DriftMomentum",
    "Episodes",
    "Family",
    "GarleanuPedersen",
    "HiddenMarkov",
    "HiddenMarkovFamily",
    "LinearCost",
    "Perturbation",
    "Planted",
    "SwitchingCovariance",
    "TwoRegimes",
    "Uncertainty",
    "calibrate",
]
