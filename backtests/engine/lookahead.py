"""Look-ahead check: plan again with the future cut off, and with a different future, and compare.

Row t of a plan may depend on bars up to t only. So for any t, the rows up to t must not change when the later bars are removed or
replaced. The check runs on the given bars, and again with missing values and a late listing inserted, because errors such as
back-filling only show where data are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.progress import Progress

from backtests.engine.protocols import Adaptive
from markets import Bars, InputError
from markets.accounting.plan import PARTS
from markets.bars.bars import FIELDS
from strategies import Plan
from strategies.strategy import planned


@dataclass(frozen=True)
class Leak:
    """A row of a plan that depends on later bars.

    Attributes
    ----------
    how : str
        How the future was changed: ``cut off`` or ``scrambled``.
    cut : str
        Time of the last unchanged bar.
    row : str
        Time of the first row of the plan that changed.
    ahead : int
        Lower bound on the number of bars that the strategy looks ahead at that row.
    symbol, part : str
        The symbol, and the part of the plan: aim, band or rate.
    value, other : float
        Value with the original future, and with the changed one.
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
    """Find rows of a plan that depend on later bars.

    Parameters
    ----------
    make : callable
        Returns a new strategy for each run, so that no state is carried over.
    bars : Bars
        At least 60 visible rows. Provide the strategy's warm-up as history (as ``bars[-1500:]`` does).
    cuts : int
        Number of rows after which the future is changed, in the second half of the bars.
    tolerance : float
        Largest change of a value that counts as rounding. Rules agree exactly, torch policies to 1e-6.
    seed : int
        Seed of the cuts, the inserted gaps and the changed futures.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    list of Leak
        Empty if no look-ahead was found for these bars and cuts.

    Raises
    ------
    InputError
        When there are too few bars, a setting is out of range, the strategy fails, or it is not deterministic.

    Notes
    -----
    State that a strategy keeps in its class or module between runs can hide look-ahead from this check.
    """
    strategy = make()
    if len(bars) < 60:
        raise InputError(f"{bars.name}: {len(bars)} bars are too few to check {strategy.name}; give at least 60")
    if cuts < 1 or seed < 0:
        raise InputError(f"cuts is {cuts} and seed is {seed}; cuts must be at least 1 and seed at least 0")
    rng = np.random.default_rng(seed)
    first = len(bars) // 2
    rows = _cuts(_planned(strategy, bars[: first // 2], bars), first, len(bars) - 10, cuts, rng)
    leaks: list[Leak] = []
    with Progress(transient=True, disable=not progress) as bar:
        task = bar.add_task(f"checking {strategy.name}", total=2 * len(rows))
        for panel in (bars, _with_gaps(bars, rows, rng)):
            known = panel[: first // 2]
            whole = _planned(make(), known, panel)
            same_twice(whole, _planned(make(), known, panel), strategy.name)
            for cut in rows.tolist():
                for how, other in (("cut off", panel[: cut + 1]), ("scrambled", _scrambled(panel, cut, rng))):
                    found = differences(whole, _planned(make(), known, other), panel, cut, how, tolerance)
                    leaks += [leak for leak in found if leak not in leaks]  # both panels may show the same leak
                bar.advance(task)
    return leaks


def _cuts(plan: Plan, first: int, last: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows to cut after. Half of them are rows where the plan changes, to catch strategies that rarely trade."""
    changed = np.any([(part[1:] != part[:-1]).any(axis=1) for part in plan.parts.values()], axis=0)
    changes = np.flatnonzero(changed) + 1
    changes = changes[(changes >= first) & (changes < last)]
    chosen = rng.choice(changes, min(len(changes), (count + 1) // 2), replace=False)
    others = rng.integers(first, last, count - len(chosen))
    return np.unique(np.append(chosen, others).astype(np.int64))


def _planned(strategy: Adaptive, known: Bars, bars: Bars) -> Plan:
    """The plan for `bars` after adapting to `known`."""
    try:
        return planned(strategy.adapt(known), bars)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{strategy.name} fails on {bars.name}: {type(error).__name__}: {error}") from error


def same_twice(one: Plan, two: Plan, name: str) -> None:
    """Raise `InputError` if two plans for the same bars differ."""
    for part in PARTS:
        a, b = getattr(one, part), getattr(two, part)
        if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
            raise InputError(
                f"{name} plans differently when asked the same twice: give its random numbers a fixed seed"
            )


def differences(whole: Plan, other: Plan, bars: Bars, cut: int, how: str, tolerance: float) -> Iterator[Leak]:
    """For each part of the plan, the first row up to the cut that differs."""
    for part in PARTS:
        one, two = whole.part(part), other.part(part)
        # two infinite bands are equal: their difference is NaN, which does not exceed the tolerance
        with np.errstate(invalid="ignore"):
            apart = np.abs(one[: cut + 1] - two[: cut + 1]) > tolerance
        if apart.any():
            row, column = (int(i) for i in np.argwhere(apart)[0])
            yield Leak(
                how, str(bars.index[cut]), str(bars.index[row]), cut - row + 1, bars.symbols[column], part,
                float(one[row, column]), float(two[row, column]),
            )  # fmt: skip


def _with_gaps(bars: Bars, rows: np.ndarray, rng: np.random.Generator) -> Bars:
    """The bars with missing values around each of `rows`, and one symbol listed only after the last of them."""
    fields = _values(bars)  # quoted spreads too: a strategy may read them
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
    """The bars with the prices, volumes and quoted spreads after `cut` multiplied by random factors."""
    fields, after = _values(bars), bars.past + cut + 1
    factor = np.exp(rng.normal(0, 0.3, (len(bars) + bars.past - after, len(bars.symbols))))
    for values in fields.values():
        values[after:] *= factor
    if "spread" in fields:
        fields["spread"] = np.minimum(fields["spread"], 0.99)
    return bars.with_values(**fields)


def _values(bars: Bars) -> dict[str, np.ndarray]:
    """Copies of all fields present and of quoted spreads, including the history."""
    held = bars.with_past()
    return {name: np.array(values) for name in (*FIELDS, "spread") if (values := getattr(held, name)) is not None}
