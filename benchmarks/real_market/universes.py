"""`Universe`: the bars of one universe with the span that is traded, and what the account may do; a user's own file is one too.

What is left out is left out by a stated rule:

- the symbols that the protocol names, with its reason;
- days without any close, which are no bars;
- symbols that hardly moved on the bars before the first fold: on fewer than half of their closes, or with less than a fiftieth of
  the median symbol's volatility. A constant or pegged price has no risk to estimate, and whatever divides by risk would hold
  nothing else.

A universe needs more bars before its first fold than symbols, or no covariance of it can be estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from benchmarks.real_market.protocol import Protocol, UniverseRules, charged, execution
from benchmarks.real_market.task_cuts import RecentTasks
from markets import Bars, Costs, Execution, InputError, load
from markets.common.words import count
from markets.data.universes import UNIVERSES
from metalearner import KnownAcross

Part = Literal["development", "test"]
FEWEST_TRADED = 252  # bars of a trial, below which no figure says anything
_FOLD = 756  # longest fold of a user's bars: three years of days
_STILL, _PEGGED = 0.5, 50.0


@dataclass(frozen=True, eq=False)
class Universe:
    """What a trial needs of one universe.

    Attributes
    ----------
    name : str
    bars : Bars
        The visible rows are traded; all earlier ones are their past.
    costs : Costs
    execution : Execution
    retrain_every : int or str
        Length of a fold; see `backtests.walk_forward`.
    tasks : RecentTasks
        How the bars known at a fold are cut.
    notes : tuple of str
        What was left out, and why.
    """

    name: str
    bars: Bars
    costs: Costs
    execution: Execution
    retrain_every: int | str
    tasks: RecentTasks
    notes: tuple[str, ...] = ()

    @property
    def span(self) -> str:
        """First and last day that are traded."""
        return f"{self.bars.index[0]:%Y-%m-%d} to {self.bars.index[-1]:%Y-%m-%d}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a reader of a figure must know of the bars, the most important first."""
        source = self.bars.source
        free = (
            "the account may hold "
            f"{self.execution.gross:g} times its equity; neither cash nor borrowed money bears interest"
        )
        about = (source.survivorship, *source.caveats, *self.notes, free if self.execution.borrowing else "")
        return tuple(text for text in about if text)


def missing(name: str) -> str:
    """How to fetch a universe that is not in the cache; empty if it is there or needs no fetching."""
    there = name not in UNIVERSES or UNIVERSES[name].archive.path.is_file()
    return "" if there else f"{name} is not in the cache yet: regimeshift data fetch {name}"


def known_bars(rules: UniverseRules, part: Part) -> tuple[Bars, tuple[str, ...]]:
    """The bars that may be seen in a part of the trial, without the symbols that the protocol leaves out, and notes.

    In development nothing later than the end of the development span leaves this function.

    Raises
    ------
    InputError
        When the set is missing or has changed, or a symbol to leave out is not there.
    """
    last = (rules.development if part == "development" else rules.test)[1]
    bars = load(rules.name)[:last]
    unknown = [symbol for symbol in rules.excluded if symbol not in bars.symbols]
    if unknown:
        raise InputError(
            f"{rules.name} has no symbol {unknown[0]!r}, which the protocol leaves out; correct the protocol"
        )
    notes = []
    for reason in dict.fromkeys(rules.excluded.values()):
        notes.append(f"left out, {reason}: {', '.join(s for s, why in rules.excluded.items() if why == reason)}")
    kept = bars.select([symbol for symbol in bars.symbols if symbol not in rules.excluded])
    return kept, tuple(notes)


def of_protocol(rules: UniverseRules, protocol: Protocol, part: Part, quick: bool = False) -> Universe:
    """A universe of the protocol, over its development or its test span.

    Parameters
    ----------
    rules : UniverseRules
    protocol : Protocol
    part : {"development", "test"}
    quick : bool
        Whether to trade only the last year, with eight symbols.

    Raises
    ------
    InputError
        When the bars are missing, or too few.
    """
    bars, notes = known_bars(rules, part)
    first, last = rules.development if part == "development" else rules.test
    settings = protocol.walk_forward
    universe = prepared(
        rules.name, bars, int(bars.index.searchsorted(bars[first:last].index[0])), rules.charged, rules.execution,
        settings["retrain_every"], RecentTasks(**settings["tasks"]), notes,
    )  # fmt: skip
    if quick:
        whole = universe.bars.with_past()
        old = np.isfinite(whole.close[: len(whole) // 2]).sum(axis=0).argsort(kind="stable")[::-1][:8]
        shown = whole.select([whole.symbols[i] for i in sorted(old)])
        return replace(universe, bars=shown.rows(len(shown) - FEWEST_TRADED, len(shown)))
    return universe


def across(universes: Sequence[Universe]) -> KnownAcross:
    """Tasks of several universes, each with its costs and its account, as far as they are known at a fold's start."""
    return KnownAcross(universes[0].tasks, [(u.bars, u.costs, u.execution) for u in universes])


def of_user(source: str, costs: Any, leverage: float, protocol: Protocol) -> Universe:
    """A user's own bars: the first half is known at the start, the rest is traded in folds of up to three years.

    Parameters
    ----------
    source : str
        A path or a name, as `markets.load` takes it.
    costs : str
        Per side; ``quoted`` for half of each day's quoted spread.
    leverage : float
    protocol : Protocol
        For how bars are cut into tasks.

    Raises
    ------
    InputError
        When there are too few bars, or nothing moves.
    """
    bars = load(source)
    tasks = RecentTasks(**protocol.walk_forward["tasks"])
    days = np.flatnonzero(np.isfinite(bars.close).any(axis=1))
    first = max(len(days) // 2, tasks.fewest)
    traded = max(len(days) - first, 1)
    per_fold = int(np.ceil(traded / np.ceil(traded / _FOLD)))
    first = int(days[first]) if first < len(days) else len(bars)
    return prepared(
        bars.name,
        bars,
        first,
        charged({"spread": "quoted"} if costs == "quoted" else costs, bars.name),
        execution(leverage),
        per_fold,
        tasks,
        (),
    )


def prepared(
    name: str,
    bars: Bars,
    first: int,
    costs: Costs,
    rules: Execution,
    retrain_every: int | str,
    tasks: RecentTasks,
    notes: tuple[str, ...],
) -> Universe:
    """A universe that is traded from row `first` of `bars`, after the rules of this module.

    Raises
    ------
    InputError
        When it has too few bars or too many symbols, or nothing moves.
    """
    empty = ~np.isfinite(bars.close).any(axis=1)
    first -= int(empty[:first].sum())
    bars = bars.without_empty()
    notes = (*notes, *([f"{count(int(empty.sum()), 'day')} without any close left out"] if empty.any() else []))
    if first < tasks.fewest or len(bars) - first < FEWEST_TRADED:
        raise InputError(
            f"{name}: {len(bars):,} bars are too few for a fold: it takes {tasks.fewest} to train on and {FEWEST_TRADED} to "
            "trade; give more bars"
        )
    still = unmoving(bars[:first])
    moving = [symbol for symbol in bars.symbols if symbol not in still]
    if not moving:
        raise InputError(f"{name}: no symbol moves on the bars before {bars.index[first]:%Y-%m-%d}; check the prices")
    if still:
        bars = bars.select(moving)
        notes = (*notes, f"left out, constant or pegged before {bars.index[first]:%Y-%m-%d}: {', '.join(still)}")
    if len(bars.symbols) >= first:
        raise InputError(
            f"{name}: {len(bars.symbols):,} symbols, but {first:,} bars before the first fold: a covariance needs more bars "
            "than symbols; give fewer symbols or more bars"
        )
    return Universe(
        name, bars.rows(bars.past + first, bars.past + len(bars)), costs, rules, retrain_every, tasks, notes
    )


def unmoving(known: Bars) -> tuple[str, ...]:
    """Symbols that hardly moved on `known` bars; those without closes there are not judged."""
    found, deviations = {}, {}
    for column, symbol in enumerate(known.symbols):
        close = known.close[:, column]
        close = close[np.isfinite(close)]
        if len(close) < 2:
            continue
        returns = close[1:] / close[:-1] - 1
        found[symbol], deviations[symbol] = float((returns != 0).mean()), float(returns.std())
    if not found:
        return ()
    median = float(np.median([*deviations.values()]))
    return tuple(s for s in found if found[s] < _STILL or deviations[s] * _PEGGED < median)
