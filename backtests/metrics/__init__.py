"""What an account earned and risked, in figures with stated conventions."""

from backtests.metrics.account import DAYS, HEADS, LESS_IS_BETTER, METRICS, PER_CENT, SHORT, formatted, metrics
from backtests.metrics.benchmark import against
from backtests.metrics.capacity import capacity
from backtests.metrics.drawdown import drawdowns
from backtests.metrics.tables import by_month, by_regime, by_year
from backtests.metrics.view import Account

__all__ = [
    "DAYS", "HEADS", "LESS_IS_BETTER", "METRICS", "PER_CENT", "SHORT", "Account", "against", "by_month", "by_regime",
    "by_year", "capacity", "drawdowns", "formatted", "metrics",
]  # fmt: skip
