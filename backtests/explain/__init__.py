"""Why a strategy decided as it did: contributions of features and bars, beliefs, limits, and what would have turned it."""

from backtests.explain.counterfactual import Counterfactual, counterfactual
from backtests.explain.explanation import Explanation, SpanExplanation, attributable, explain, explain_span
from backtests.explain.occlusion import Occlusion, occlude

__all__ = [
    "Counterfactual", "Explanation", "Occlusion", "SpanExplanation", "attributable", "counterfactual", "explain", "explain_span",
    "occlude",
]  # fmt: skip
