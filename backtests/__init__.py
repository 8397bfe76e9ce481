"""Backtesting and deployment: walk-forward, metrics, significance, report, tracking, model registry."""

from backtests import registry, tracking
from backtests.engine.combinatorial import CombinatorialPurged
from backtests.engine.task_cuts import RegimeTasks, WindowTasks
from backtests.engine.walk_forward import WalkForward, walk_forward
from backtests.metrics import metrics
from backtests.results import Backtest
from backtests.significance import sharpe_gap, verdict

__all__ = [
    "Backtest",
    "CombinatorialPurged",
    "RegimeTasks",
    "WalkForward",
    "WindowTasks",
    "metrics",
    "registry",
    "sharpe_gap",
    "tracking",
    "verdict",
    "walk_forward",
]
