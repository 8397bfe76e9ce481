"""Alarms for a deployed strategy, one bar at a time: lost edge, champion against challenger, drift of features and of costs."""

from backtests.monitoring.comparison import ComparisonAlarm
from backtests.monitoring.cost import CostAlarm
from backtests.monitoring.drift import FeatureDrift
from backtests.monitoring.edge import EdgeAlarm
from backtests.monitoring.monitor import Monitor

__all__ = ["ComparisonAlarm", "CostAlarm", "EdgeAlarm", "FeatureDrift", "Monitor"]
