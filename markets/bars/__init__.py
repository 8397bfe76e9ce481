"""`Bars`, the one market-data type, and resampling to longer periods."""

from markets.bars.bars import FIELDS, Bars

__all__ = [
    "FIELDS",
    "Bars",
]
