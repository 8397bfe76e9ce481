"""How well a learner adapts, as a share of the best possible."""

from metalearner.evaluation.scores import (
    Share,
    by_bars,
    by_steps,
    ceiling_scores,
    rung_scores,
    share,
    task_scores,
    unadapted_scores,
)

__all__ = [
    "Share",
    "by_bars",
    "by_steps",
    "ceiling_scores",
    "rung_scores",
    "share",
    "task_scores",
    "unadapted_scores",
]
