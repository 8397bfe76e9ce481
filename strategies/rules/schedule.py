"""When rules refit and limits trade: on the first bar of each calendar period, which is known as the bar arrives."""

from __future__ import annotations

from typing import Literal

import numpy as np

from markets import Bars, InputError

Period = Literal["bar", "day", "week", "month", "quarter", "year"]
# Most days in each: as many daily bars as a decision may be old. Of shorter bars it is more, which no warm-up counts.
DAYS: dict[Period, int] = {"bar": 1, "day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}


def check_period(name: str, every: str) -> None:
    """Raise `InputError` unless `every` is a period; `name` is who asks."""
    if every not in DAYS:
        raise InputError(f"{name}: every is {every!r}; use {', '.join(DAYS)}")


def period_starts(bars: Bars, every: Period) -> np.ndarray:
    """Whether a row is the first of its calendar period on which any symbol has a close, bool of shape (T,).

    Rows are those of ``bars.with_past()``. Periods are of the bars' own time zone, and weeks begin on Monday. The first row
    with a close starts a period.

    Parameters
    ----------
    bars : Bars
    every : {"bar", "day", "week", "month", "quarter", "year"}
        ``bar`` is each row on which any symbol has a close.
    """
    held = bars.with_past()
    rows = np.flatnonzero(np.isfinite(held.close).any(axis=1))
    days = held.index.tz_localize(None).to_numpy().astype("datetime64[D]")[rows]
    months = days.astype("datetime64[M]").astype(np.int64)
    number = {
        "bar": np.arange(len(rows)),
        "day": days.astype(np.int64),
        "week": (days.astype(np.int64) + 3) // 7,  # 1970-01-01 was a Thursday
        "month": months,
        "quarter": months // 3,
        "year": months // 12,
    }[every]
    starts = np.zeros(len(held), dtype=bool)
    starts[rows] = np.append(True, number[1:] != number[:-1])[: len(rows)]
    return starts


def last_start(bars: Bars, every: Period) -> int:
    """Row of ``with_past()`` on which the period of the first visible row began; 0 where none had."""
    begun = np.flatnonzero(period_starts(bars, every)[: bars.past + 1])
    return int(begun[-1]) if len(begun) else 0


def since_start(bars: Bars, every: Period, keep: int) -> Bars:
    """`bars` with `keep` bars of every symbol before the period of the first visible row began.

    Of daily bars a warm-up counts the most days of a period; shorter bars are more.
    """
    held = bars.with_past()
    window = held.rows(last_start(bars, every), len(held)).without_past(keep=keep).with_past()
    return window.rows(len(window) - len(bars), len(window))
