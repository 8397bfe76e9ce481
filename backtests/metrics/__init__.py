"""What an account earned and risked, in figures with stated conventions."""

from backtests.metrics.account import HEADS, METRICS, PER_CENT, SHORT, formatted, metrics

__all__ = ["HEADS", "METRICS", "PER_CENT", "SHORT", "formatted", "metrics"]
