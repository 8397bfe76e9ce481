"""Occlusion: how a decision would differ without the returns of single past bars. For strategies that read no features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from backtests.explain.explanation import prepared
from markets import Bars
from strategies import Strategy, needs
from strategies.strategy import planned


class Occlusion(NamedTuple):
    """What single past bars did to a decision.

    Attributes
    ----------
    symbols : tuple of str
    times : DatetimeIndex of length B
        The bars that were left out, one at a time.
    changes : ndarray of shape (B, A)
        Target weights as they are, less those without the returns of the bar. They do not add up to anything: bars act together.
    decision : ndarray of shape (A,)
        Target weights.
    """

    symbols: tuple[str, ...]
    times: pd.DatetimeIndex
    changes: np.ndarray
    decision: np.ndarray


def occlude(strategy: Strategy, bars: Bars, most: int = 63) -> Occlusion:
    """Leave out the returns of each of the last `most` bars in turn, of all symbols, and decide again after the last of `bars`.

    Prices up to the bar before are multiplied by the return that is left out, so that all others stay.

    Parameters
    ----------
    strategy : Strategy
        Any, also as loaded from the registry.
    bars : Bars
    most : int
        Bars to leave out; no more than the strategy reads, or than there are.
    """
    strategy, bars = prepared(strategy, bars)
    shown = bars[-1:]
    window = needs.window(strategy, shown)
    held = window.with_past()
    decision = planned(strategy, window).aim[0]
    reach = len(held) - 1 if needs.endless(strategy) else min(max(strategy.warmup, 1), len(held) - 1)
    rows = np.arange(len(held) - min(most, reach), len(held))
    prices = {name: held.fields[name] for name in ("open", "high", "low", "close") if name in held.fields}
    others = {name: values for name, values in held.fields.items() if name not in prices}
    changes = np.zeros((len(rows), len(held.symbols)))
    for k, row in enumerate(rows):
        ratio = held.marks[row] / held.marks[row - 1]
        factor = np.where(np.isfinite(ratio), ratio, 1.0)
        before = {name: np.concatenate([values[:row] * factor, values[row:]]) for name, values in prices.items()}
        other = held.with_values(**(others | before))
        changes[k] = decision - planned(strategy, other.rows(window.past, len(held))).aim[0]
    return Occlusion(held.symbols, held.index[rows], changes, decision)
