"""Adoption: who decides, and what becomes of a strategy that was adapted."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import pandas as pd

from backtests.watch.journal import Adapted, Journal
from backtests.watch.shelf import Shelf
from markets import Bars, Plan
from strategies import Strategy, needs
from strategies.strategy import planned


class Choice(NamedTuple):
    """A decision: a plan of one row, by whom, and why it is none that the model would stand for, if so."""

    plan: Plan
    by: str
    note: str = ""


class Adoption(Protocol):
    """Who decides, and what becomes of an adapted strategy."""

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON holds them, for the journal."""

    def initial(self) -> Strategy | None:
        """Who decides before anything was adapted; None if the model is adapted at the first bar."""

    def decide(self, bars: Bars, journal: Journal, shelf: Shelf) -> Choice:
        """The decision at the last of `bars`, of which the first visible one is the watch's first."""

    def offer(self, adapted: Adapted, strategy: Strategy, bars: Bars) -> str:
        """Do with an adapted strategy what is to be done, and say what that was.

        It is called again if the process was killed before the answer was written, and must then do nothing twice.
        """


class InPlace:
    """What was adapted last decides from that bar on, as in a walk-forward backtest."""

    @property
    def settings(self) -> dict[str, Any]:
        return {"adopt": "now"}

    def initial(self) -> None:
        return None

    def decide(self, bars: Bars, journal: Journal, shelf: Shelf) -> Choice:
        last = journal.adapted[-1]
        strategy, have = shelf.get(last.after), len(bars) + bars.past
        few = have <= strategy.warmup
        note = f"{strategy.name} needs {strategy.warmup} bars to warm up, and there are {have}" if few else ""
        return Choice(row_of(strategy, bars, pd.Timestamp(last.bar)), last.after, note)

    def offer(self, adapted: Adapted, strategy: Strategy, bars: Bars) -> str:
        return "trades from this bar on"


def row_of(strategy: Strategy, bars: Bars, since: pd.Timestamp) -> Plan:
    """What a strategy that trades since a bar wants at the last one: a plan of one row."""
    # what is held for good, as by BuyAndHold, was bought when it began to trade
    first = bars.index.searchsorted(since) if needs.endless(strategy) else len(bars) - 1
    return planned(strategy, bars[int(first) :])[-1:]
