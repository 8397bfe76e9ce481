"""Backtesting and deployment: walk-forward, metrics, significance, report, tracking, model registry."""

from backtests import registry, tracking
from backtests.engine.walk_forward import WalkForward, walk_forward
from backtests.metrics import metrics
from backtests.results import Backtest
from backtests.significance import sharpe_gap, verdict

__all__ = ["Backtest", "WalkForward", "metrics", "registry", "sharpe_gap", "tracking", "verdict", "walk_forward"]
