"""What a registered version is, and where it fails, in words and pictures."""

from backtests.card.card import ModelCard, describe_version

__all__ = ["ModelCard", "describe_version"]
