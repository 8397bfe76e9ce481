"""What can trade a market: plans, rules, torch policies."""

from strategies.base import Plan, Strategy
from strategies.neutral import ResidualMomentum, Reversal
from strategies.policy import Policy, PolicySettings, PolicyStrategy
from strategies.rules import BuyAndHold, EqualWeight, InverseVolatility, Momentum

__all__ = [
    "BuyAndHold",
    "EqualWeight",
    "InverseVolatility",
    "Momentum",
    "Plan",
    "Policy",
    "PolicySettings",
    "PolicyStrategy",
    "ResidualMomentum",
    "Reversal",
    "Strategy",
]
