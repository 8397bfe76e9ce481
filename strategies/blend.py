"""`Blend`: several strategies in one account, each with the same share of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from markets import Bars, InputError, Plan
from strategies import serialization as saving
from strategies.policy import PolicyStrategy
from strategies.strategy import Strategy, planned


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

    def save(self, folder: str | Path) -> Path:
        """Write each part into a folder of its own, and ``blend.json``.

        Raises
        ------
        InputError
            When a part is not a `PolicyStrategy`: rules are not saved, they are written down.
        """
        folder = Path(folder)
        for k, part in enumerate(self.parts):
            if not isinstance(part, PolicyStrategy):
                raise InputError(f"{self.name}: {part.name} is a {type(part).__name__}; only torch policies are saved")
            part.save(folder / str(k))
        saving.write_config(folder / "blend.json", {"name": self.name, "parts": len(self.parts)})
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Blend:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            When the files are missing or do not belong together.
        """
        with saving.reading(folder, "blend.json", "blend") as config:
            parts = [PolicyStrategy.load(Path(folder) / str(k)) for k in range(config["parts"])]
            return cls(parts, config["name"])
