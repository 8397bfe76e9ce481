"""Quality checks of market data."""

from markets.quality.findings import Finding
from markets.quality.report import QualityReport, check, check_source

__all__ = [
    "Finding",
    "QualityReport",
    "check",
    "check_source",
]
