"""`Blend`: several strategies in one account, each with the same share of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from markets import Bars, InputError
from strategies.base import Plan, Strategy, planned


class Blend(Strategy):
    """The mean of several strategies' plans.

    Their trades net before they cost anything, and where they disagree little is held: a blend of policies that differ in
    their seed alone keeps what they agree on.

    Parameters
    ----------
    parts : sequence of Strategy
    name : str

    Raises
    ------
    InputError
        When there are no parts.
    """

    def __init__(self, parts: Sequence[Strategy], name: str = "blend"):
        if not parts:
            raise InputError(f"{name}: there is nothing to blend; give strategies")
        self.parts, self.name = tuple(parts), name
        self.warmup = max(part.warmup for part in parts)
        self.adapts = any(part.adapts for part in parts)

    def plan(self, bars: Bars) -> Plan:
        plans = [planned(part, bars) for part in self.parts]
        nothing, at_once = np.zeros(bars.shape), np.ones(bars.shape)
        band = [nothing if p.band is None else p.band for p in plans]
        rate = [at_once if p.rate is None else p.rate for p in plans]
        return Plan(*(np.mean(values, axis=0) for values in ([p.aim for p in plans], band, rate)))

    def adapt(self, bars: Bars) -> Strategy:
        """Each part adapted."""
        return Blend([part.adapt(bars) for part in self.parts], self.name) if self.adapts else self
