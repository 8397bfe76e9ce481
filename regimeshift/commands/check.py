"""``regimeshift check lookahead``: test whether a strategy uses future bars."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import tyro

from regimeshift.options import DataOptions, Source


@dataclass
class Lookahead(DataOptions):
    """Check a strategy for look-ahead: plan again with future bars removed or changed, and report decisions that differ.

    The check also runs on the data with gaps inserted. It cannot detect look-ahead hidden by state that the strategy keeps in its
    class or module. Exit status 1 if look-ahead is found.
    """

    strategy: tyro.conf.Positional[str]
    """A class in your own file (my_strategy.py:MyStrategy), a rule (momentum:252), or the folder of a trained model."""
    source: Source = "stocks"
    bars: int = 1500
    """Number of bars to check on, the last ones; all earlier bars are history."""
    cuts: int = 12
    """Number of bars after which the future is changed."""
    tolerance: float = 1e-6
    """Largest change of a weight that counts as rounding; 0 requires bit-identical plans."""
    seed: int = 0
    """Seed of the cuts, the gaps and the changed futures."""

    def run(self) -> None:
        from markets import InputError
        from regimeshift import steps
        from regimeshift.console import console, step

        if self.bars < 60:
            raise InputError(f"--bars {self.bars}: at least 60 are needed")
        with step(f"loading {self.strategy}"):
            from backtests.engine.lookahead import find_lookahead

            make = steps.strategy_maker(self.strategy)
        bars = self.load(self.source)
        span = bars[-self.bars :] if self.bars < len(bars) else bars
        with step(f"planning {self.strategy} again and again"):
            leaks = find_lookahead(make, span, cuts=self.cuts, tolerance=self.tolerance, seed=self.seed)
        if not leaks:
            console.print(f"{make().name}: no look-ahead found on {bars.name}, with and without gaps.")
            return
        for leak in sorted(leaks, key=lambda leak: leak.ahead)[:5]:
            console.print(f"{make().name}: {leak}", soft_wrap=True, highlight=False)
        console.print(f"{len(leaks)} decisions changed with the future. Use only bars[: t + 1] to decide row t.")
        sys.exit(1)
