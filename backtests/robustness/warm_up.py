"""Warm-up invariance: the same decisions whatever bar one starts from.

The last rows of the plan are computed again with ever more bars before them, from as many as the strategy declares as its warm-up
to all there are. A decision that is still changing reads more bars than the strategy says, and a signal made with the declared
ones differs from the backtest's. freqtrade's ``recursive-analysis`` asks the same of indicators; this asks it of what is decided.

Each start is tried in two ways: the bars before are history (`Bars.with_past`), as they are to a signal, or rows like the others,
as they are to a backtest that starts there. A rule that reads the visible rows alone is only caught by the second. What adapts is
adapted once, on all bars before the compared rows: its adaptation may read them all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from backtests.robustness.case import Case
from backtests.robustness.drawing import figure
from backtests.section import Section
from markets import Bars, InputError
from markets.common.words import count
from strategies import Plan, Strategy
from strategies.strategy import planned

ROWS = 20
TOLERANCE = 1e-6  # of a weight, as in the look-ahead check: less is rounding
_GROWTH = (1, 1.1, 1.5, 2, 3, 4, 8, 16, 64, 256)


class Difference(NamedTuple):
    """How far decisions from one start are from those with all bars.

    Attributes
    ----------
    bars : int
        Bars before the first of the compared rows.
    size : float
        Largest difference of a weight.
    time, symbol, part : str
        Where it is, and in which part of the plan.
    value, whole : float
        The value there from this start, and with all bars.
    before : str
        What the bars before were: ``history`` or ``rows``.
    """

    bars: int
    size: float
    time: str = ""
    symbol: str = ""
    part: str = ""
    value: float = np.nan
    whole: float = np.nan
    before: str = ""


def check_warm_up(case: Case, *, rows: int = ROWS, tolerance: float = TOLERANCE) -> Section:
    """Plan the last rows from several starting bars, and find how many bars they need before them.

    Parameters
    ----------
    case : Case
    rows : int
        Last rows of the bars that are compared.
    tolerance : float
        Largest difference of a weight that counts as rounding.

    Returns
    -------
    Section
        A row per start: the bars before, the largest difference from the plan with all bars, and where it is.

    Raises
    ------
    InputError
        When there are no more bars than the warm-up and the rows.
    """
    have = len(case.bars) + case.bars.past - rows
    declared = max(case.warmup, 1)  # what is listed is known from one bar on
    if rows < 1 or have <= declared:
        raise InputError(
            f"{case.strategy.name}: {count(have + rows, 'bar')} are too few to plan {count(rows, 'row')} from several starts "
            f"beyond {count(case.warmup, 'bar')} of warm-up; give more"
        )
    starts = sorted({n for by in _GROWTH if (n := round(declared * by)) < have} | {declared, have})
    strategy = case.strategy.adapt(case.bars.with_past()[: 1 - rows or None])
    compare = partial(_difference, strategy, case.bars, rows, _plan(strategy, case.bars, rows, have, "history"))
    found = [compare(start) for start in starts]
    needed = _needed(compare, found, tolerance)
    name = case.strategy.name
    if needed == declared:
        finding = f"{name}: the same decisions from {count(declared, 'bar')} before them on, as it declares."
    else:
        worst = found[0] if found[0].size > tolerance else max(found, key=lambda one: one.size)
        cure = (
            f"a warm-up of {count(needed, 'bar')} would be needed"
            if needed is not None
            else f"no warm-up within the {count(have, 'bar')} that there are would do: it depends on its first bar"
        )
        finding = (
            f"{name}: its {worst.part} of {worst.symbol} at {worst.time} is {worst.value:.4g} with "
            f"{count(worst.bars, 'bar')} before it and {worst.whole:.4g} with all {have:,}, "
            f"{worst.size:.2g} apart; it declares a warm-up of {count(case.warmup, 'bar')}, and {cure}."
        )
    table = pd.DataFrame([one._asdict() for one in found]).rename(columns={"bars": "bars before"})

    def draw() -> Any:
        plot = figure("bars before", "largest difference of a weight")
        plot.add_scatter(x=table["bars before"], y=np.maximum(table["size"], 1e-17), mode="lines+markers")
        plot.add_hline(y=tolerance, line_dash="dash", annotation_text="rounding")
        plot.update_xaxes(type="log")
        plot.update_yaxes(type="log", exponentformat="power")
        return plot

    return Section(
        "Warm-up invariance",
        finding,
        "That a signal made from the declared bars is the backtest's, and that the result does not hang on where the data begin.",
        f"That the decisions are good, or that they see no future bar (the look-ahead check does). Only the last {rows} rows are "
        "compared.",
        table,
        draw,
    )


def _plan(strategy: Strategy, bars: Bars, rows: int, count: int, before: str) -> Plan:
    """The plan of the last `rows` rows with `count` bars before them, as history or as rows.

    A symbol has as many of its own bars before its last one, which in a gap at the first of these rows is before it, too.
    """
    last = bars.with_past()[-rows:]
    gap = np.isfinite(last.marks[0]) & ~np.isfinite(last.close[0])
    window = last.without_past(keep=count + int(gap.any()))
    if before == "history":
        return planned(strategy, window)
    return planned(strategy, window.with_past())[slice(-rows, None)]


def _difference(strategy: Strategy, bars: Bars, rows: int, whole: Plan, count: int) -> Difference:
    """The largest difference of the rows from those with all bars, in either way."""
    worst = Difference(count, 0.0)
    for before in ("history", "rows"):
        other = _plan(strategy, bars, rows, count, before)
        for part in other.parts | whole.parts:
            one, two = other.part(part), whole.part(part)
            with np.errstate(invalid="ignore"):
                apart = np.where(one == two, 0.0, np.abs(one - two))  # two infinite ones are equal
            row, column = divmod(int(np.argmax(apart)), apart.shape[1])
            if apart[row, column] > worst.size:
                time = str(bars.index[len(bars) - rows + row]).removesuffix(" 00:00:00")
                values = (float(x[row, column]) for x in (apart, one, two))
                size, value, full = values
                worst = Difference(count, size, time, bars.symbols[column], part, value, full, before)
    return worst


def _needed(compare: Callable[[int], Difference], found: list[Difference], tolerance: float) -> int | None:
    """Fewest bars from which on no difference exceeds rounding; None if decisions still change at the last starts."""
    wrong = [k for k, one in enumerate(found) if one.size > tolerance]
    if not wrong:
        return found[0].bars
    if wrong[-1] >= len(found) - 2:  # the last start has all bars, and the one before it is no evidence alone
        return None
    low, high = found[wrong[-1]].bars, found[wrong[-1] + 1].bars
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if compare(middle).size > tolerance else (low, middle)
    return high
