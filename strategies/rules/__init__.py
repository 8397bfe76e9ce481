"""Fixed rules, without learning: the baselines of every comparison, one idea a file."""

from strategies.rules.long_short import ResidualMomentum, Reversal
from strategies.rules.simple import BuyAndHold, EqualWeight, InverseVolatility, Momentum, inverse_volatility

__all__ = [
    "BuyAndHold",
    "EqualWeight",
    "InverseVolatility",
    "Momentum",
    "ResidualMomentum",
    "Reversal",
    "inverse_volatility",
]
