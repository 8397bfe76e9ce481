"""Grids of settings on the command line: ``fast=5:50:5 slow=100,150,200``."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST = 1_000_000
"""Combinations of a grid: one more would not be looked at, and memory for many more would not be there."""


def grid_from_words(words: Sequence[str]) -> dict[str, tuple[int | float | str, ...]]:
    """The values of each parameter.

    Parameters
    ----------
    words : sequence of str
        One per parameter: ``name=START:STOP:STEP``, without the stop as in Python, where a step of 1 may be left out; or
        ``name=A,B,C``. Values are whole numbers, fractions, or else text.

    Raises
    ------
    InputError
        When a word cannot be read, or names a parameter again, or there are more than `MOST` combinations.
    """
    from markets import InputError

    grid: dict[str, tuple[int | float | str, ...]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier() or not text:
            raise InputError(f"--grid {word}: write name=start:stop:step or name=a,b,c, as in fast=5:50:5")
        if name in grid:
            raise InputError(f"--grid {word}: {name} is there twice; give all its values at once")
        grid[name] = _range(word, text) if ":" in text else tuple(_value(part.strip()) for part in text.split(","))
        if "" in grid[name]:
            raise InputError(f"--grid {word}: a value is empty; write the values with one comma between two")
        if any(isinstance(value, float) and not math.isfinite(value) for value in grid[name]):
            raise InputError(f"--grid {word}: a value is not finite; give numbers that are")
    combinations = math.prod(map(len, grid.values()))
    if combinations > MOST:
        raise InputError(
            f"--grid: {combinations:,} combinations; give larger steps, so that there are at most {MOST:,}"
        )
    return grid


def _range(word: str, text: str) -> tuple[int | float, ...]:
    from markets import InputError

    ends = [end for part in text.split(":") if not isinstance(end := _value(part), str)]
    if len(ends) != text.count(":") + 1 or len(ends) not in (2, 3):
        raise InputError(f"--grid {word}: a range is start:stop:step, of numbers, as in fast=5:50:5")
    start, stop, step = (*ends, 1)[:3]
    if not step > 0 or not start < stop or not all(map(math.isfinite, (start, stop, step))):
        raise InputError(f"--grid {word}: the step must be above 0, and the stop above the start, all finite")
    if (stop - start) / step > MOST:
        raise InputError(f"--grid {word}: more than {MOST:,} values; give a larger step")
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        return tuple(range(start, stop, step))
    # a float step need not fit; rounding keeps 0.1 + 0.2 from being 0.30000000000000004
    found: list[float] = []
    while (value := round(start + len(found) * step, 12)) < stop - 1e-9 * step:
        found.append(value)
    return tuple(found)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
