"""Objectives: utility of the simulated account (`Pathwise`), or reward in gymnasium environments (`PPO`, `REINFORCE`)."""

from metalearner.objectives.across import Across, KnownAcross, Universe
from metalearner.objectives.pathwise import CostCurriculum, Pathwise
from metalearner.objectives.policy_gradient import PPO, REINFORCE
from metalearner.objectives.risk import (
    CertaintyEquivalent,
    ExpectedShortfall,
    LogVariance,
    MinimumVariance,
    TargetVolatility,
)
from metalearner.objectives.utilities import (
    DifferentialSharpe,
    DrawdownPenalised,
    HeldRisk,
    LogWealth,
    MeanVariance,
    PowerUtility,
    Utility,
)
from metalearner.objectives.worst_case import CVaR, SoftMin, WorstCase

__all__ = [
    "PPO",
    "REINFORCE",
    "Across",
    "CVaR",
    "CertaintyEquivalent",
    "CostCurriculum",
    "DifferentialSharpe",
    "DrawdownPenalised",
    "ExpectedShortfall",
    "HeldRisk",
    "KnownAcross",
    "LogVariance",
    "LogWealth",
    "MeanVariance",
    "MinimumVariance",
    "Pathwise",
    "PowerUtility",
    "SoftMin",
    "TargetVolatility",
    "Universe",
    "Utility",
    "WorstCase",
]
