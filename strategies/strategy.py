"""`Strategy`: the interface of everything that turns bars into target weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from markets import Bars, InputError, Plan
from strategies.failures import failure


def planned(strategy: Strategy, bars: Bars) -> Plan:
    """The strategy's plan for `bars`, with its type and shape checked.

    Raises
    ------
    InputError
        When `plan` does not return a `Plan`, or returns one with a value that is not finite or out of range (the message names
        the strategy, symbol and time) or of another shape than `bars`; or a user's own file fails (the message gives its line).
    """
    try:
        plan = strategy.plan(bars)
    except InputError as error:
        if error.cell is None or error.cell[0] >= len(bars) or error.cell[1] >= len(bars.symbols):
            raise
        row, symbol, _ = error.cell
        message = f"{strategy.name}: {error} ({bars.symbols[symbol]} at {bars.index[row]})"
        raise InputError(message, error.cell) from None
    except Exception as error:
        if where := failure(error):
            raise InputError(f"{strategy.name} fails on {bars.name}: {where}") from error
        raise
    if not isinstance(plan, Plan):
        raise InputError(f"{strategy.name}: plan(bars) returned {type(plan).__name__}; return strategies.Plan(aim)")
    if plan.aim.shape != bars.shape:
        raise InputError(
            f"{strategy.name}: the plan has shape {plan.aim.shape}, but the visible bars make {bars.shape}; "
            "if it was computed with the history, return only the rows from bars.past on"
        )
    return plan


def check_average(name: str, parts: Sequence[Strategy], plans: Sequence[Plan], weights: np.ndarray, whole: str) -> None:
    """Raise `InputError` where plans have no average: those with stops, and a no-trade zone without end beside one that ends.

    The average of such zones has no end either, so what the other parts want would never be traded.

    Parameters
    ----------
    name : str
        Who averages.
    parts, plans : sequences of length K
    weights : ndarray of shape (T, K)
        A part of weight 0 is not asked.
    whole : str
        What to wrap instead of a part, such as ``Blend(...)``.
    """
    endless = []
    for part, plan in zip(parts, plans, strict=True):
        if plan.stops:
            raise InputError(f"{name}: {part.name} has stops, which no average has; use Stops({whole})")
        endless.append(np.zeros(plan.aim.shape, dtype=bool) if plan.band is None else np.isinf(plan.band))
    held, counts = np.array(endless), (weights.T > 0)[:, :, None]
    apart = (held & counts).any(axis=0) & (~held & counts).any(axis=0)
    if apart.any():
        row, column = np.argwhere(apart)[0]
        part = parts[int(np.argmax((held & counts)[:, row, column]))]
        raise InputError(
            f"{name}: {part.name} leaves its positions alone (a no-trade zone without end) on bars where others trade, and of "
            f"that there is no average; use parts that trade, or limit when the whole does, as in Rebalanced({whole})"
        )


def latest(times: Iterable[pd.Timestamp | None]) -> pd.Timestamp | None:
    """The last of some times, of which those without a time zone are read as UTC; None if there is none."""
    known = [time for time in times if time is not None]
    return max(known, key=lambda time: time if time.tz else time.tz_localize("UTC"), default=None)


class Strategy(ABC):
    """A rule or model that turns bars into target weights.

    Attributes
    ----------
    name : str
        Label in tables and plots.
    warmup : int
        Bars of history needed before the first meaningful row of the plan; a symbol's own bars, where it has gaps.
    adapts : bool
        Whether `adapt` returns a different strategy. If not, a backtest calls `plan` once for the whole span.
    reads : tuple of str
        What it reads besides closes, where bars have it: of ``open``, ``high``, ``low``, ``volume`` and ``spread``. A deployed
        strategy is sent these and no others.
    endless : bool
        Whether a row depends on where the bars begin, however long the warm-up: on all bars since the first one held.
    """

    name: str = "strategy"
    warmup: int = 0
    adapts: bool = False
    reads: tuple[str, ...] = ()
    endless: bool = False

    @abstractmethod
    def plan(self, bars: Bars) -> Plan:
        """Target weights for the visible rows.

        Parameters
        ----------
        bars : Bars
            T visible rows and A symbols, and possibly earlier history (`Bars.with_past`).

        Returns
        -------
        Plan
            Arrays of shape (T, A). Row t may depend on bars up to and including t and on the history, never on later bars.
        """

    @classmethod
    def plans(cls, bars: Bars, settings: Sequence[Mapping[str, Any]]) -> Iterator[Plan]:
        """The plans of many settings of this class, one after another; override it where they can share work.

        Parameters
        ----------
        bars : Bars of shape (T, A)
        settings : sequence of mappings
            Arguments of the class, such as ``{"window": 20}``.

        Yields
        ------
        Plan
            Of shape (T, A), as `plan` of each setting returns it, in the order of `settings`. Plans are taken one by one, so
            memory need not grow with the number of settings.
        """
        for setting in settings:
            yield planned(cls(**setting), bars)

    def trimmed(self, bars: Bars) -> Bars:
        """`bars` with as much history as their first visible row reads: `warmup` closes of every symbol before its last one.

        A symbol with gaps needs more bars than others, so that a row of the plan is the same wherever the bars start. One that
        is `endless` reads all of them, whatever this returns.
        """
        return bars.without_past(keep=self.warmup + 1)

    def adapt(self, bars: Bars) -> Strategy:
        """The strategy adapted to `bars`. The default returns the strategy itself; if you override it, set `adapts` to True."""
        return self
