"""Fixed rules, without learning: the baselines of every comparison, one idea a file."""

from strategies.rules.covariances import (
    Covariance,
    ExpandingCovariance,
    ExponentialCovariance,
    LedoitWolfCovariance,
    PooledCovariance,
    RegimeAdjustedCovariance,
    SampleCovariance,
)
from strategies.rules.cross_sectional import CrossSectionalMomentum
from strategies.rules.gate import Gate
from strategies.rules.long_short import ResidualMomentum, Reversal
from strategies.rules.minimum_variance import MinimumVariance
from strategies.rules.momentum_blend import MomentumBlend
from strategies.rules.optimised import MaximumSharpe, RiskParity
from strategies.rules.pairs import Pairs
from strategies.rules.random_weights import RandomWeights
from strategies.rules.regime_gated import RegimeGated
from strategies.rules.simple import BuyAndHold, EqualWeight, InverseVolatility, Momentum, inverse_volatility
from strategies.rules.trend import Donchian, MovingAverageCross
from strategies.rules.trend_following import TrendFollowing

__all__ = [
    "BuyAndHold",
    "Covariance",
    "CrossSectionalMomentum",
    "Donchian",
    "EqualWeight",
    "ExpandingCovariance",
    "ExponentialCovariance",
    "Gate",
    "InverseVolatility",
    "LedoitWolfCovariance",
    "MaximumSharpe",
    "MinimumVariance",
    "Momentum",
    "MomentumBlend",
    "MovingAverageCross",
    "Pairs",
    "PooledCovariance",
    "RandomWeights",
    "RegimeAdjustedCovariance",
    "RegimeGated",
    "ResidualMomentum",
    "Reversal",
    "RiskParity",
    "SampleCovariance",
    "TrendFollowing",
    "inverse_volatility",
]
