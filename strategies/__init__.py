"""Trading strategies: plans, rules, limits, torch policies and known optima."""

from markets import Plan
from strategies.blend import Blend
from strategies.limits import (
    DrawdownLimit,
    GroupLimit,
    KillSwitch,
    LeverageLimit,
    Limit,
    Rebalanced,
    RebalancedOnDrift,
    TurnoverLimit,
    VolatilityTarget,
    WeightLimit,
)
from strategies.policy import Policy, PolicySettings, PolicyStrategy
from strategies.rules import (
    BuyAndHold,
    CrossSectionalMomentum,
    EqualWeight,
    InverseVolatility,
    MaximumSharpe,
    MinimumVariance,
    Momentum,
    MomentumBlend,
    Pairs,
    RandomWeights,
    RegimeGated,
    ResidualMomentum,
    Reversal,
    RiskParity,
)
from strategies.strategy import Strategy

__all__ = [
    "Blend",
    "BuyAndHold",
    "CrossSectionalMomentum",
    "DrawdownLimit",
    "EqualWeight",
    "GroupLimit",
    "InverseVolatility",
    "KillSwitch",
    "LeverageLimit",
    "Limit",
    "MaximumSharpe",
    "MinimumVariance",
    "Momentum",
    "MomentumBlend",
    "Pairs",
    "Plan",
    "Policy",
    "PolicySettings",
    "PolicyStrategy",
    "RandomWeights",
    "Rebalanced",
    "RebalancedOnDrift",
    "RegimeGated",
    "ResidualMomentum",
    "Reversal",
    "RiskParity",
    "Strategy",
    "TurnoverLimit",
    "VolatilityTarget",
    "WeightLimit",
]
