"""Why a decision is as it is: what its regime detectors believe, and what its limits have changed, in words."""

from __future__ import annotations

import numpy as np

from markets import Bars, Plan
from strategies import Strategy, needs
from strategies.limits import Limit

_NAMED = 5  # symbols that a sentence names


def regimes(strategy: Strategy, bars: Bars) -> dict[str, dict[str, float]]:
    """Probability of each regime after the last of `bars`, by the name of the strategy that holds a fitted detector.

    Empty if none does.
    """
    found = {}
    for name, detector in needs.detectors(strategy).items():
        path = detector.filter(bars)
        found[name] = dict(zip(path.names, path.probabilities[-1].tolist(), strict=True))
    return found


def limits(strategy: Strategy, bars: Bars) -> list[str] | None:
    """What each limit of a strategy, or of those that it holds, changes in the plan of the last of `bars`, a sentence each.

    None if it has no limits.
    """
    found = [part for part in needs.walk(strategy) if isinstance(part, Limit)]
    sentences = [_changed(part.label, part.wanted(bars)[-1:], part.plan(bars)[-1:], bars.symbols) for part in found]
    return [sentence for sentence in sentences if sentence] if found else None


def _changed(label: str, before: Plan, after: Plan, symbols: tuple[str, ...]) -> str:
    """A sentence that says how the last row of a plan was changed; empty if it was not."""
    moved = np.abs(after.aim[-1] - before.aim[-1])
    if moved.any():
        largest = np.argsort(-moved, kind="stable")[: min(_NAMED, np.count_nonzero(moved))]
        words = [f"{symbols[i]} from {before.aim[-1, i]:.2%} to {after.aim[-1, i]:.2%}" for i in largest]
        more = int(np.count_nonzero(moved)) - len(words)
        return f"{label}: {', '.join(words)}" + (f", and {more} more" if more else "")
    held = np.isinf(_band(after)) & ~np.isinf(_band(before))
    names = [symbol for symbol, alone in zip(symbols, held, strict=True) if alone]
    if names:
        more = len(names) - _NAMED
        return f"{label}: left alone are {', '.join(names[:_NAMED])}" + (f", and {more} more" if more > 0 else "")
    return ""


def _band(plan: Plan) -> np.ndarray:
    """Half-widths (A,) of the no-trade zones of the last row."""
    return np.zeros(plan.aim.shape[1]) if plan.band is None else plan.band[-1]
