"""Whether it was luck: intervals, tests, and the verdict in words."""

from backtests.significance.holm import holm
from backtests.significance.interval import Interval
from backtests.significance.overfitting import Overfitting, overfitting
from backtests.significance.paired import paired, pooled
from backtests.significance.record import (
    Trials,
    deflated_sharpe,
    expected_maximum,
    probabilistic,
    probabilistic_sharpe,
    shortest_record,
)
from backtests.significance.sharpe_ratio import sharpe_difference, sharpe_gap, sharpe_interval
from backtests.significance.statistic import (
    STATISTICS,
    CertaintyEquivalent,
    ExpectedShortfall,
    LogVariance,
    MeanReturn,
    SharpeRatio,
    Statistic,
    Volatility,
    VolatilityOfVolatility,
)
from backtests.significance.superiority import Superiority, superiority
from backtests.significance.verdict import Verdict, verdict

__all__ = [
    "STATISTICS", "CertaintyEquivalent", "ExpectedShortfall", "Interval", "LogVariance", "MeanReturn", "Overfitting",
    "SharpeRatio", "Statistic", "Superiority", "Trials", "Verdict", "Volatility", "VolatilityOfVolatility", "deflated_sharpe",
    "expected_maximum", "holm", "overfitting", "paired", "pooled", "probabilistic", "probabilistic_sharpe", "sharpe_difference",
    "sharpe_gap", "sharpe_interval", "shortest_record", "superiority", "verdict",
]  # fmt: skip
