"""Limits: wrappers around any strategy that bound its volatility, losses, sizes, turnover or times of trading."""

from strategies.limits.limit import Limit
from strategies.limits.stops import Stops

__all__ = [
    "Limit",
    "Stops",
]
