"""`Bars`, the market-data type used throughout, and its resampling to longer periods."""

from markets.bars.bars import FIELDS, Bars, Source

__all__ = [
    "FIELDS",
    "Bars",
    "Source",
]
