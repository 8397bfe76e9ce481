"""What a policy sees of a market: causal features, the library's and a user's own."""

from markets.features.composition import Features
from markets.features.fold import FeatureStream
from markets.features.known_units import Exogenous, UnitReturn
from markets.features.parts import (
    AboveAverage,
    Calendar,
    Drawdown,
    Part,
    Range,
    Rank,
    Return,
    Trend,
    Volatility,
    VolatilityRatio,
    VolumeSurprise,
)
from markets.features.user_defined import Custom, feature

__all__ = [
    "AboveAverage",
    "Calendar",
    "Custom",
    "Drawdown",
    "Exogenous",
    "FeatureStream",
    "Features",
    "Part",
    "Range",
    "Rank",
    "Return",
    "Trend",
    "UnitReturn",
    "Volatility",
    "VolatilityRatio",
    "VolumeSurprise",
    "feature",
]
