"""Trading strategies: plans, rules, torch policies and known optima."""

from markets import Plan
from strategies.blend import Blend
from strategies.limits import Limit, Stops
from strategies.policy import Policy, PolicySettings, PolicyStrategy
from strategies.rules import (
    BuyAndHold,
    Donchian,
    EqualWeight,
    InverseVolatility,
    Momentum,
    MovingAverageCross,
    ResidualMomentum,
    Reversal,
)
from strategies.strategy import Strategy

__all__ = [
    "Blend",
    "BuyAndHold",
    "Donchian",
    "EqualWeight",
    "InverseVolatility",
    "Limit",
    "Momentum",
    "MovingAverageCross",
    "Plan",
    "Policy",
    "PolicySettings",
    "PolicyStrategy",
    "ResidualMomentum",
    "Reversal",
    "Stops",
    "Strategy",
]
