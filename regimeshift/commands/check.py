"""``regimeshift check lookahead``: does a strategy use the future?"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass
class Lookahead:
    """Ask a strategy again with the future cut off and with another future, and show every decision that changes.

    The strategy is a class in a file of yours (my_strategy.py:MyStrategy), a rule (momentum:252), or a folder that
    `regimeshift train` wrote. What it remembers in its class or module cannot be seen through. Status 1 when it looks ahead.
    """

    strategy: tyro.conf.Positional[str]
    """my_strategy.py:MyStrategy, a rule as in momentum:252, or a model's folder."""
    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """Bars to check on: stocks, sp500, nasdaq, or a file or a folder of CSV or Parquet."""
    bars: int = 1500
    """The last so many bars are used, with all before as history."""
    cuts: int = 12
    """Bars after which the future is changed."""
    tolerance: float = 1e-6
    """Largest change of a weight that counts as rounding; 0 asks for the same bits."""
    seed: int = 0
    """Of the cuts, the gaps and the other futures."""

    def run(self) -> None:
        from backtests.lookahead import find_lookahead
        from markets import InputError, load
        from regimeshift import steps
        from regimeshift.console import console

        if self.bars < 60:
            raise InputError(f"--bars {self.bars}: at least 60 are needed")
        make = steps.strategy_maker(self.strategy)
        bars = load(self.source)
        span = bars[-self.bars :] if self.bars < len(bars) else bars
        leaks = find_lookahead(make, span, cuts=self.cuts, tolerance=self.tolerance, seed=self.seed)
        if not leaks:
            console.print(f"{make().name}: no look-ahead found on {bars.name}, with and without gaps.")
            return
        for leak in sorted(leaks, key=lambda leak: leak.ahead)[:5]:
            console.print(f"{make().name}: {leak}", soft_wrap=True, highlight=False)
        console.print(f"{len(leaks)} decisions changed with the future. Use only bars[: t + 1] to decide row t.")
        sys.exit(1)
