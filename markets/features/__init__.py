"""Causal features of market data: built-in and user-defined."""

from markets.features.composition import Features
from markets.features.earned import Earned
from markets.features.external import External
from markets.features.fold import FeatureStream
from markets.features.known_units import Exogenous, Followed, UnitReturn
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
    "Earned",
    "Exogenous",
    "External",
    "FeatureStream",
    "Features",
    "Followed",
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
