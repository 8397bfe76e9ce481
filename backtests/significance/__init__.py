"""Whether it was luck: intervals and tests."""

from backtests.significance.sharpe_ratio import Interval, sharpe_difference, sharpe_gap, simple_returns

__all__ = ["Interval", "sharpe_difference", "sharpe_gap", "simple_returns"]
