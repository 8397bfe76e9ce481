"""Limits: wrappers around any strategy that bound its volatility, losses, sizes, turnover or times of trading."""

from strategies.limits.drawdown import DrawdownLimit, KillSwitch
from strategies.limits.frozen import Frozen
from strategies.limits.limit import Limit
from strategies.limits.rebalancing import Rebalanced, RebalancedOnDrift
from strategies.limits.sizes import GroupLimit, LeverageLimit, WeightLimit
from strategies.limits.stops import Stops
from strategies.limits.turnover import TurnoverLimit
from strategies.limits.volatility import VolatilityTarget

__all__ = [
    "DrawdownLimit",
    "Frozen",
    "GroupLimit",
    "KillSwitch",
    "LeverageLimit",
    "Limit",
    "Rebalanced",
    "RebalancedOnDrift",
    "Stops",
    "TurnoverLimit",
    "VolatilityTarget",
    "WeightLimit",
]
