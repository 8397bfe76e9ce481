"""The loop that follows a growing source: it decides once per bar, adapts, records, and can be replayed to the bit."""

from backtests.watch.adoption import Adoption, InPlace
from backtests.watch.champion import Champion
from backtests.watch.journal import Journal
from backtests.watch.recorder import Mismatch, Replayed, replay
from backtests.watch.schedule import Schedule
from backtests.watch.source import Following
from backtests.watch.standing import Standing, standing
from backtests.watch.watch import Watch

__all__ = [
    "Adoption", "Champion", "Following", "InPlace", "Journal", "Mismatch", "Replayed", "Schedule", "Standing", "Watch",
    "replay", "standing",
]  # fmt: skip
