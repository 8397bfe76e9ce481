"""Whether it was luck: intervals, tests, and the verdict in words."""

from backtests.significance.overfitting import Overfitting, overfitting
from backtests.significance.record import (
    Trials,
    deflated_sharpe,
    expected_maximum,
    probabilistic,
    probabilistic_sharpe,
    shortest_record,
)
from backtests.significance.sharpe_ratio import (
    Interval,
    sharpe_difference,
    sharpe_gap,
    sharpe_interval,
)
from backtests.significance.superiority import Superiority, superiority
from backtests.significance.verdict import Verdict, verdict

__all__ = [
    "Interval", "Overfitting", "Superiority", "Trials", "Verdict", "deflated_sharpe", "expected_maximum", "overfitting",
    "probabilistic", "probabilistic_sharpe", "sharpe_difference", "sharpe_gap", "sharpe_interval", "shortest_record",
    "superiority", "verdict",
]  # fmt: skip
