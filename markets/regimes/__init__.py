"""Regime detectors without lookahead."""

from markets.regimes.base import (
    Recovery,
    RegimeDetector,
    RegimePath,
    load_detector,
    market_returns,
    recovery,
    regime_names,
)
from markets.regimes.change_points import ChangePoints
from markets.regimes.hidden_markov import HiddenMarkovRegimes
from markets.regimes.jump import JumpRegimes
from markets.regimes.selection import Supported, supported_regimes
from markets.regimes.volatility_trend import VolatilityTrendRegimes

__all__ = [
    "ChangePoints",
    "HiddenMarkovRegimes",
    "JumpRegimes",
    "Recovery",
    "RegimeDetector",
    "RegimePath",
    "Supported",
    "VolatilityTrendRegimes",
    "load_detector",
    "market_returns",
    "recovery",
    "regime_names",
    "supported_regimes",
]
