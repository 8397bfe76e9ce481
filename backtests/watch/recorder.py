"""The flight recorder: every adaptation and decision of a watch, made again from the bars and compared to the bit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from backtests.engine.protocols import Adaptive
from backtests.watch.adoption import row_of
from backtests.watch.journal import Journal, to_row
from backtests.watch.shelf import Shelf
from backtests.watch.standing import decided_bars
from markets import Bars
from strategies.stored import fingerprint


class Mismatch(NamedTuple):
    """What is not as it was recorded.

    Attributes
    ----------
    bar : str
        ISO 8601 time of the bar.
    what : str
        In a sentence.
    """

    bar: str
    what: str


class Replayed(NamedTuple):
    """What `replay` has found.

    Attributes
    ----------
    adaptations, decisions : int
        How many were made again.
    mismatches : tuple of Mismatch
        Those that came out otherwise; empty if all are as recorded, to the bit.
    """

    adaptations: int
    decisions: int
    mismatches: tuple[Mismatch, ...]


def replay(
    journal: Journal, shelf: Shelf, model: Adaptive, bars: Bars, on_record: Callable[[int, int], None] | None = None
) -> Replayed:
    """Make every adaptation of a watch again, and every decision that was made in place.

    Parameters
    ----------
    journal : Journal
        Its chain of hashes was checked when it was read.
    shelf : Shelf
        The strategies that it names.
    model : Adaptive
        What adapted.
    bars : Bars
        The source; later bars than those of the watch do no harm.
    on_record : callable, optional
        Called with the number of records done, and of all.

    Raises
    ------
    InputError
        When bars that were decided on are missing or were revised, or a strategy was changed.
    """
    on_record, span = on_record or _quiet, decided_bars(journal, bars)
    in_place = [] if journal.led else journal.decided
    total, done = len(journal.adapted) + len(in_place), 0
    found: list[Mismatch] = []

    def known(bar: str) -> Bars:
        """The bars as they were then: the watch's first one is the first visible."""
        return span.rows(span.past, int(span.with_past().index.searchsorted(pd.Timestamp(bar), side="right")))

    for record in journal.adapted:
        if known(record.bar).hash != record.bars:
            found.append(Mismatch(record.bar, "the bars up to it are not those that it was made from"))
        elif fingerprint(model.adapt(known(record.bar))) != record.after:
            found.append(Mismatch(record.bar, "the adapted strategy has other settings or weights"))
        done += 1
        on_record(done, total)
    times = [pd.Timestamp(record.bar) for record in journal.adapted]
    for decision in in_place:
        last = journal.adapted[bisect_right(times, pd.Timestamp(decision.bar)) - 1]
        wanted = row_of(shelf.get(last.after), known(decision.bar), pd.Timestamp(last.bar))
        if decision.by != last.after or to_row(wanted) != decision.plan:
            found.append(Mismatch(decision.bar, "its decision is another one"))
        done += 1
        on_record(done, total)
    return Replayed(len(journal.adapted), len(in_place), tuple(found))


def _quiet(done: int, total: int) -> None:
    """Show no progress."""
