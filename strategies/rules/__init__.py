"""Fixed rules, without learning: the baselines of every comparison, one idea a file."""

from strategies.rules.long_short import ResidualMomentum, Reversal
from strategies.rules.simple import BuyAndHold, EqualWeight, InverseVolatility, Momentum, inverse_volatility
from strategies.rules.trend import Donchian, MovingAverageCross

__all__ = [
    "BuyAndHold",
    "Donchian",
    "EqualWeight",
    "InverseVolatility",
    "Momentum",
    "MovingAverageCross",
    "ResidualMomentum",
    "Reversal",
    "inverse_volatility",
]
