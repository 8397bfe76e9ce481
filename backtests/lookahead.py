"""Does a strategy look ahead? It is asked again with the future cut off, and with another future.

Row t of a plan may use bars up to t alone, so for any t the rows up to t must be the same, whatever comes after. The check
decides on real bars and on the same with gaps and a late listing planted, since a back-filled hole is only seen where there
is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.progress import Progress

from backtests.walk_forward import Adaptive
from markets import Bars, InputError
from markets.bars.bars import FIELDS
from strategies import Plan
from strategies.strategy import planned


@dataclass(frozen=True)
class Leak:
    """One row that was planned with the future.

    Attributes
    ----------
    how : str
        What was done to the future: ``cut off`` or ``scrambled``.
    cut : str
        Time of the last bar that was left as it was.
    row : str
        Time of the first row that changed.
    ahead : int
        The strategy looks at least so many bars ahead at that row.
    symbol, part : str
        Where: the symbol, and aim, band or rate.
    value, other : float
        With the future as it was, and as it was changed.
    """

    how: str
    cut: str
    row: str
    ahead: int
    symbol: str
    part: str
    value: float
    other: float

    def __str__(self) -> str:
        return (
            f"{self.part} of {self.symbol} at {self.row} is {self.value:.6g}, but {self.other:.6g} with what comes after "
            f"{self.cut} {self.how}: it looks at least {self.ahead} bar{'s' * (self.ahead > 1)} ahead"
        )


def find_lookahead(
    make: Callable[[], Adaptive],
    bars: Bars,
    *,
    cuts: int = 12,
    tolerance: float = 1e-6,
    seed: int = 0,
    progress: bool = True,
) -> list[Leak]:
    """Look for rows of a plan that change with the future; an empty list is a clean bill for these bars and cuts.

    Parameters
    ----------
    make : callable
        Makes the strategy anew for each question, so that nothing is remembered from one to the next.
    bars : Bars
        At least 60 visible ones; give a strategy its warm-up as history (``bars[-1500:]``).
    cuts : int
        Rows after which the future is changed, spread over the second half.
    tolerance : float
        Largest change of a weight that is rounding. Rules agree to the bit; torch policies to 1e-6.
    seed : int
        Of the cuts, the planted gaps and the other futures.
    progress : bool

    Raises
    ------
    InputError
        Too few bars, or a strategy that answers differently when asked the same twice: give it a seed.

    Notes
    -----
    What a strategy keeps in its class or its module from one question to the next cannot be seen through.
    """
    strategy = make()
    if len(bars) < 60:
        raise InputError(f"{bars.name}: {len(bars)} bars are too few to check {strategy.name}; give at least 60")
    if cuts < 1 or seed < 0:
        raise InputError(f"cuts is {cuts} and seed is {seed}; check at 1 bar at least, with a seed of at least 0")
    rng = np.random.default_rng(seed)
    first = len(bars) // 2
    rows = _cuts(_planned(strategy, bars[: first // 2], bars), first, len(bars) - 10, cuts, rng)
    leaks: list[Leak] = []
    with Progress(transient=True, disable=not progress) as bar:
        task = bar.add_task(f"checking {strategy.name}", total=2 * len(rows))
        for panel in (bars, _with_gaps(bars, rows, rng)):
            known = panel[: first // 2]
            whole = _planned(make(), known, panel)
            _same_twice(whole, _planned(make(), known, panel), strategy.name)
            for cut in rows.tolist():
                for how, other in (("cut off", panel[: cut + 1]), ("scrambled", _scrambled(panel, cut, rng))):
                    found = _differences(whole, _planned(make(), known, other), panel, cut, how, tolerance)
                    leaks += [leak for leak in found if leak not in leaks]  # both panels may show it
                bar.advance(task)
    return leaks


def _cuts(plan: Plan, first: int, last: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows to cut after: half of them where the plan changes, since one that trades once a month leaks once a month."""
    parts = [part for part in (plan.aim, plan.band, plan.rate) if part is not None]
    changed = np.any([(part[1:] != part[:-1]).any(axis=1) for part in parts], axis=0)
    changes = np.flatnonzero(changed) + 1
    changes = changes[(changes >= first) & (changes < last)]
    chosen = rng.choice(changes, min(len(changes), (count + 1) // 2), replace=False)
    others = rng.integers(first, last, count - len(chosen))
    return np.unique(np.append(chosen, others).astype(np.int64))


def _planned(strategy: Adaptive, known: Bars, bars: Bars) -> Plan:
    """The plan for `bars` after adapting on `known`."""
    try:
        return planned(strategy.adapt(known), bars)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{strategy.name} fails on {bars.name}: {type(error).__name__}: {error}") from error


def _same_twice(one: Plan, two: Plan, name: str) -> None:
    for part in ("aim", "band", "rate"):
        a, b = getattr(one, part), getattr(two, part)
        if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
            raise InputError(
                f"{name} plans differently when asked the same twice: give its random numbers a fixed seed"
            )


def _differences(whole: Plan, other: Plan, bars: Bars, cut: int, how: str, tolerance: float) -> Iterator[Leak]:
    """The first row of each part of the plan that differs up to the cut."""
    for part, default in (("aim", 0.0), ("band", 0.0), ("rate", 1.0)):
        one, two = (
            np.full(bars.shape, default) if p is None else p for p in (getattr(whole, part), getattr(other, part))
        )
        # infinite bands are alike: their difference is not a number, and passes
        with np.errstate(invalid="ignore"):
            apart = np.abs(one[: cut + 1] - two[: cut + 1]) > tolerance
        if apart.any():
            row, column = (int(i) for i in np.argwhere(apart)[0])
            yield Leak(
                how, str(bars.index[cut]), str(bars.index[row]), cut - row + 1, bars.symbols[column], part,
                float(one[row, column]), float(two[row, column]),
            )  # fmt: skip


def _with_gaps(bars: Bars, rows: np.ndarray, rng: np.random.Generator) -> Bars:
    """The bars with holes that reach over each of `rows`, and a symbol that is listed only after the last of them."""
    fields = _values(bars)
    listed = np.flatnonzero(np.isfinite(bars.close[-1]))
    if not len(listed):
        return bars
    for row in rows.tolist():
        column = rng.choice(listed)
        for values in fields.values():
            values[bars.past + row - 1 : bars.past + row + 2, column] = np.nan
    if len(listed) > 1:
        for values in fields.values():
            values[: bars.past + rows[-1] + 3, listed[-1]] = np.nan
    return replace(bars.with_values(**fields), name=f"{bars.name} with gaps")


def _scrambled(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """The bars with every price after `cut` multiplied by another number, and every volume."""
    fields, after = _values(bars), bars.past + cut + 1
    factor = np.exp(rng.normal(0, 0.3, (len(bars) + bars.past - after, len(bars.symbols))))
    for values in fields.values():
        values[after:] *= factor
    return bars.with_values(**fields)


def _values(bars: Bars) -> dict[str, np.ndarray]:
    """Copies of all fields that there are, the history included."""
    held = bars.with_past()
    return {field: np.array(values) for field in FIELDS if (values := getattr(held, field)) is not None}
