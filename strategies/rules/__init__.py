"""Fixed rules, without learning: the baselines of every comparison, one idea a file."""

from strategies.rules.cross_sectional import CrossSectionalMomentum
from strategies.rules.long_short import ResidualMomentum, Reversal
from strategies.rules.momentum_blend import MomentumBlend
from strategies.rules.optimised import MaximumSharpe, MinimumVariance, RiskParity
from strategies.rules.pairs import Pairs
from strategies.rules.random_weights import RandomWeights
from strategies.rules.regime_gated import RegimeGated
from strategies.rules.simple import BuyAndHold, EqualWeight, InverseVolatility, Momentum, inverse_volatility

__all__ = [
    "BuyAndHold",
    "CrossSectionalMomentum",
    "EqualWeight",
    "InverseVolatility",
    "MaximumSharpe",
    "MinimumVariance",
    "Momentum",
    "MomentumBlend",
    "Pairs",
    "RandomWeights",
    "RegimeGated",
    "ResidualMomentum",
    "Reversal",
    "RiskParity",
    "inverse_volatility",
]
