"""How much adapting could be worth on given bars: markets like theirs, in which the best possible trader is known."""

from backtests.headroom.answers import sections, shown
from backtests.headroom.folded import Range, folded
from backtests.headroom.headroom import Headroom, estimate, headroom
from backtests.headroom.reached import Reached, reached
from backtests.headroom.traders import TRADERS, Judged
from backtests.headroom.twin import Twin

__all__ = [
    "TRADERS",
    "Headroom",
    "Judged",
    "Range",
    "Reached",
    "Twin",
    "estimate",
    "folded",
    "headroom",
    "reached",
    "sections",
    "shown",
]
