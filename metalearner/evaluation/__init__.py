"""How well a learner adapts, as a share of the best possible."""

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
