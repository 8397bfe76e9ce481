"""Words around numbers, for messages, tables and pages."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 bar, 2 bars, 1,000 bars."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
