"""Folds of a walk-forward: consecutive stretches to trade, and the bars before each to train on.

skfolio's `WalkForward` counts observations, or calendar periods that need not begin where the span does, and it takes 1.4 s to
import. Spans here begin at any bar, and "every three years" means calendar years, so the few lines that this takes are ours; with
lengths in bars they agree with skfolio's (a test).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from markets import Bars, InputError
from markets.common.words import count


@dataclass(frozen=True)
class Split:
    """What one training may see, and what it then trades. Rows are of ``bars.with_past()``, and ends are excluded.

    Attributes
    ----------
    train : tuple of (first, last)
        Stretches without holes to train on.
    tests : tuple of (first, last)
        Stretches to trade.
    isolated : bool
        Whether training may not even read the bars before a stretch, to warm up on, since they are tested on.
    """

    train: tuple[tuple[int, int], ...]
    tests: tuple[tuple[int, int], ...]
    isolated: bool = False


def walk_forward_splits(
    bars: Bars, retrain_every: int | str | None, train: int | str | None, rolling: bool, purge: int
) -> list[Split]:
    """Folds over the visible rows, each trained on bars before it.

    Parameters
    ----------
    bars : Bars
    retrain_every : int, str or None
        Length of a fold: in bars, or calendar periods such as ``"1Y"``, of which the first may be a part. None is one fold.
    train : int, str or None
        Bars or time to train on; all bars so far if None.
    rolling : bool
        Whether training is on the last `train` bars alone. If not, on all bars so far, which must be at least `train`.
    purge : int
        Bars left out between the training bars and the fold.

    Returns
    -------
    list of Split

    Raises
    ------
    InputError
        When a length cannot be read, or there are too few bars before the first fold to train on.
    """
    if purge < 0:
        raise InputError(f"purge is {purge} bars; it cannot be negative")
    if rolling and train is None:
        raise InputError('scheme="rolling" needs the length to train on, as in train="10Y" or train=2520')
    first, last = bars.past, bars.past + len(bars)
    index = bars.with_past().index
    starts = [first + row for row in fold_starts(bars.index, retrain_every)]
    splits = []
    for start, stop in zip(starts, [*starts[1:], last], strict=True):
        known = max(start - purge, 0)
        enough = 0 if train is None else rows_before(index, known, train)
        if enough is None or known == 0:
            raise InputError(
                f"{bars.name}: {count(known, 'bar')} before {index[start]}{f' less a purge of {purge}' if purge else ''} "
                f"are too few to train on{f' {train}' if train else ''}; start the test later, or give more bars"
            )
        splits.append(Split(((enough if rolling else 0, known),), ((start, stop),)))
    return splits


def fold_starts(index: pd.DatetimeIndex, every: int | str | None) -> list[int]:
    """First row of each fold of length `every`; see `walk_forward_splits`."""
    if every is None:
        return [0]
    if isinstance(every, int):
        if every < 1:
            raise InputError(f"retrain_every is {every}; it must be at least 1 bar")
        return list(range(0, len(index), every))
    step, unit = period(every, "retrain_every")
    begin = index[0].normalize()
    if unit == "Y":
        begin = begin.replace(month=1, day=1)
    elif unit == "M":
        begin = begin.replace(day=1)
    elif unit == "W":
        begin -= pd.Timedelta(days=begin.weekday())
    edges, k = [], 1
    while (edge := begin + k * step) <= index[-1]:
        edges.append(edge)
        k += 1
    return np.unique([0, *index.searchsorted(pd.DatetimeIndex(edges))]).tolist() if edges else [0]


def rows_before(index: pd.DatetimeIndex, last: int, length: int | str) -> int | None:
    """First of the rows that make `length` bars, or that much time, up to row `last` (excluded); None if there are fewer."""
    if isinstance(length, int):
        if length < 1:
            raise InputError(f"train is {length}; it must be at least 1 bar")
        return last - length if length <= last else None
    since = index[last - 1] - period(length, "train")[0]
    # a week of grace: the first bar of January is rarely the first of January
    return int(index.searchsorted(since, side="right")) if index[0] <= since + pd.Timedelta(days=7) else None


def period(text: str, name: str) -> tuple[pd.DateOffset, str]:
    """A length of time such as ``3Y``, ``6M``, ``2W`` or ``10D``, and its unit.

    Raises
    ------
    InputError
        When it is none; the message begins with `name`.
    """
    found = re.fullmatch(r"(\d*)([YMWD])", text.strip().upper())
    if not found or found[1] in ("0", "00"):
        raise InputError(f"{name} is {text!r}; write a number of bars, or a time such as 1Y, 6M, 2W or 10D")
    many = int(found[1] or 1)
    lengths = {
        "Y": pd.DateOffset(years=many),
        "M": pd.DateOffset(months=many),
        "W": pd.DateOffset(weeks=many),
        "D": pd.DateOffset(days=many),
    }
    return lengths[found[2]], found[2]
