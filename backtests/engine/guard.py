"""The look-ahead guard of a backtest: rows of the very plan that is traded must not change when the bars after them are cut off.

It asks twice. First cheaply: the rows before the cut are planned anew from as much history as the strategy says that it needs.
If they agree with the traded plan, which saw all later bars, they do not depend on those. If not, the strategy may remember more
than it says, or depend on where the backtest began, and it is asked again with all of its history; a row that then differs is a
leak. `backtests.engine.lookahead` is the thorough check, which also changes the future and inserts gaps.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from backtests.engine.lookahead import differences, same_twice
from markets import Bars, InputError
from strategies import Plan, Strategy
from strategies.strategy import planned

TOLERANCE = 1e-6  # as in the thorough check: rules agree exactly, torch policies to this
_SHOWN = 21  # rows before a cut that the cheap question compares


@dataclass(frozen=True)
class Guard:
    """Which rows of a backtest are checked.

    Attributes
    ----------
    sample : int or None
        Number of rows per strategy and fold, where the plan changes if it does, beside one in a gap of the data if there is
        one; None checks every row.
    """

    sample: int | None = 3

    def pieces(self, count: int) -> set[int]:
        """Which of the `count` pieces between adaptations are checked."""
        if self.sample is None or count <= self.sample:
            return set(range(count))
        return set(np.random.default_rng(count).choice(count, self.sample, replace=False).tolist())

    def check(self, strategy: Strategy, bars: Bars, plan: Plan, pieces: int = 1) -> None:
        """Check rows of the `plan` that `strategy` made for the visible rows of `bars`, one of `pieces` that are traded.

        Raises
        ------
        InputError
            When a row depends on later bars; the message names the strategy, the bar and the symbol.
        """
        last = len(bars) - 1  # nothing comes after it
        if last < 1:
            return
        gap = None
        if self.sample is None:
            rows = np.arange(last)
        else:
            count, rng = min(max(self.sample // pieces, 1), last), np.random.default_rng(last)
            moved = [(part[1:last] != part[: last - 1]).any(axis=1) for part in plan.parts.values()]
            moves = np.flatnonzero(np.any(moved, axis=0)) + 1
            rows = rng.choice(moves if len(moves) >= count else last, count, replace=False)
            gaps = np.flatnonzero((np.isnan(bars.close[:last]) & np.isfinite(bars.marks[:last])).any(axis=1))
            if len(gaps):  # where a back-fill shows, and nowhere else
                gap = int(rng.choice(gaps))
                rows = np.append(rows, gap)
        remembers = False
        for row in rows.tolist():
            if _cheaply_same(strategy, bars, plan, row):
                continue
            if remembers and self.sample is not None and row != gap:
                continue  # it needs all of its history, which one row of a sample is worth, and one in a gap
            _refuse(strategy, bars, plan, row)
            remembers = True


def _cheaply_same(strategy: Strategy, bars: Bars, plan: Plan, row: int) -> bool:
    """Whether the rows up to `row` are the same when planned from the history that `strategy` says it needs."""
    first = max(row + 1 - _SHOWN, 0)
    shown = bars.rows(bars.past + first, bars.past + row + 1).without_past(keep=strategy.warmup + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = planned(strategy, shown)
    except Exception:  # whatever it is, it can be asked with all of its history
        return False
    same = plan[first : row + 1]
    for name in {**same.parts, **other.parts}:
        one, two = same.part(name), other.part(name)
        with np.errstate(invalid="ignore"):  # infinite bands are equal, their difference is NaN
            if not np.all((one == two) | (np.abs(one - two) <= TOLERANCE)):
                return False
    return True


def _refuse(strategy: Strategy, bars: Bars, plan: Plan, row: int) -> None:
    """Raise `InputError` if the rows up to `row` are others without the bars after it."""
    leak = next(differences(plan, planned(strategy, bars[: row + 1]), bars, row, "cut off", TOLERANCE), None)
    if leak is not None:
        same_twice(plan, planned(strategy, bars), strategy.name)
        raise InputError(
            f"{strategy.name} looks ahead: {leak}. Correct its plan(bars), or run it all the same with check=False (--no-check)"
        )
