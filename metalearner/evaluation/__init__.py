"""Evaluation of learners on synthetic families: performance after adaptation as a fraction of the ceiling."""

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
    "by_bars",
    "by_steps",
    "ceiling_scores",
    "fraction_of_ceiling",
    "rung_scores",
    "task_scores",
]
