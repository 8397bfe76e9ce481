"""Evaluation of learners on synthetic families: performance after adaptation as a fraction of the ceiling."""

from metalearner.evaluation.exposure import exposure_learner
from metalearner.evaluation.risk_share import RiskShare, risk_share
from metalearner.evaluation.scores import (
    CeilingFraction,
    by_bars,
    by_steps,
    ceiling_scores,
    fraction_of_ceiling,
    rung_scores,
    task_scores,
)

__all__ = [
    "CeilingFraction",
    "RiskShare",
    "by_bars",
    "by_steps",
    "ceiling_scores",
    "exposure_learner",
    "fraction_of_ceiling",
    "risk_share",
    "rung_scores",
    "task_scores",
]
