"""What is wrong with a data set, before anything is built on it."""

from markets.quality.findings import Finding
from markets.quality.report import QualityReport, check

__all__ = [
    "Finding",
    "QualityReport",
    "check",
]
