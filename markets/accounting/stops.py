"""Input of the kernels: the stops of plans, and the prices of bars that they are compared with.

A stop-loss, take-profit or trailing stop is an order that rests in the market during the bar after a decision. The account knows
its entry prices, so the kernels fill it (`markets.accounting.kernels`, ``_stop``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from markets.accounting.costs import Execution
from markets.accounting.market import resolve_fill
from markets.accounting.plan import Plan
from markets.bars.bars import Bars

# Which order closed a position inside a bar.
STOP_LOSS, TRAILING_STOP, TAKE_PROFIT = 1, 2, 3
_ABSENT, _EMPTY = np.zeros((0, 0, 0)), np.zeros((0, 0))
_ABSENT.setflags(write=False)


class Levels(NamedTuple):
    """Stops of a plan as arrays (B, T, A); each may have size 0. See `markets.accounting.plan.Plan`."""

    loss: np.ndarray
    gain: np.ndarray
    trail: np.ndarray
    cooldown: np.ndarray


class Ranges(NamedTuple):
    """Prices that stops are compared with: N rows by A symbols, NaN where a symbol cannot be traded.

    Where a bar lacks its open, high or low, `open` is NaN, and `low` and `high` are its close.
    """

    open: np.ndarray
    low: np.ndarray
    high: np.ndarray
    closing: bool  # whether orders are filled at the close of the next bar, after all its other prices


class PlanStops(NamedTuple):
    """All that the kernels need to know of the stops of B plans."""

    levels: Levels
    ranges: Ranges


NO_STOPS = PlanStops(Levels(_ABSENT, _ABSENT, _ABSENT, _ABSENT), Ranges(_EMPTY, _EMPTY, _EMPTY, False))


def make_stops(bars: Bars, plan: Plan, execution: Execution) -> PlanStops:
    """The stops of a plan (T, A) or (B, T, A) for a simulation on the visible rows of `bars`; `NO_STOPS` if it has none."""
    if not plan.stops:
        return NO_STOPS
    levels = []
    for name in ("stop_loss", "take_profit", "trailing_stop", "cooldown"):
        part = plan.parts[name].reshape(-1, *bars.shape) if name in plan.parts else _ABSENT
        levels.append(part.view())
        levels[-1].setflags(write=False)  # the kernels are compiled for read-only arrays
    return PlanStops(Levels(*levels), _ranges(bars, resolve_fill(bars, execution) == "next_close"))


def _ranges(bars: Bars, closing: bool) -> Ranges:
    close = np.where(bars.tradable, bars.close, np.nan)
    if bars.open is None or bars.high is None or bars.low is None:
        return Ranges(np.full(bars.shape, np.nan), close, close, closing)
    whole = bars.tradable & np.isfinite(bars.open + bars.high + bars.low)
    low, high = np.where(whole, bars.low, close), np.where(whole, bars.high, close)
    return Ranges(np.where(whole, bars.open, np.nan), low, high, closing)
