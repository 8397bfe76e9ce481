"""How much adapting could be worth on given bars: markets like theirs, in which the best possible trader is known."""

from backtests.headroom.answers import sections, shown
from backtests.headroom.folded import Range, folded
from backtests.headroom.headroom import Headroom, estimate, headroom
from backtests.headroom.traders import TRADERS, Judged

__all__ = ["TRADERS", "Headroom", "Judged", "Range", "estimate", "folded", "headroom", "sections", "shown"]
