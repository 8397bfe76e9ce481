"""`Blend`: the equally weighted average of several strategies, traded in one account."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from markets import Bars, InputError, Plan
from strategies import serialization as saving
from strategies.learned import LearnedStrategy, load_learned
from strategies.strategy import Strategy, check_average, latest, planned


class Blend(Strategy):
    """The mean of several strategies' plans: aim, no-trade band and trading rate are averaged per bar and symbol.

    Opposite trades of the parts cancel before costs are charged. Positions on which the parts disagree become small, so a
    blend of policies trained with different seeds is an ensemble that keeps the positions they share. Stops have no mean: a part
    with stops is refused, and the blend can have some (`strategies.limits.stops`). Nor has a position that one part leaves
    alone, as `BuyAndHold` does, and another one trades.

    Parameters
    ----------
    parts : sequence of Strategy
        At least one.
    name : str
        Label in tables and plots.

    Raises
    ------
    InputError
        When there are no parts; in `plan`, when plans have no mean.
    """

    def __init__(self, parts: Sequence[Strategy], name: str = "blend"):
        if not parts:
            raise InputError(f"{name}: there is nothing to blend; pass at least one strategy")
        self.parts, self.name = tuple(parts), name
        self.warmup = max(part.warmup for part in parts)
        self.adapts = any(part.adapts for part in parts)

    @property
    def seen_until(self) -> pd.Timestamp | None:
        """Last bar used to train, select or adapt a part; None if no part says."""
        return latest(getattr(part, "seen_until", None) for part in self.parts)

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the parts' fingerprints; None if a part has none."""
        found = [getattr(part, "fingerprint", None) for part in self.parts]
        return hashlib.sha256("".join(found).encode()).hexdigest() if all(found) else None  # type: ignore[arg-type]

    def trimmed(self, bars: Bars) -> Bars:
        """`bars` with as much history as the parts read at the first visible row; see `Strategy.trimmed`."""
        return max((part.trimmed(bars) for part in self.parts), key=lambda window: window.past)

    def plan(self, bars: Bars) -> Plan:
        plans = [planned(part, bars) for part in self.parts]
        check_average(self.name, self.parts, plans, np.ones((len(bars), len(plans))), "Blend(...)")
        return mean_plan(plans)

    def adapt(self, bars: Bars) -> Strategy:
        """A blend of the adapted parts; the blend itself if no part adapts."""
        return Blend([part.adapt(bars) for part in self.parts], self.name) if self.adapts else self

    def save(self, folder: str | Path) -> Path:
        """Write ``blend.json``, and each part into its own subfolder (``0``, ``1``, ...).

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            When a part is not a `LearnedStrategy`. Rules have no weights to save; build them from code instead.
        """
        for part in self.parts:
            if not isinstance(part, LearnedStrategy):
                raise InputError(f"{self.name}: {part.name} is a {type(part).__name__}; only torch policies are saved")
        with saving.replacing_files(folder) as beside:
            for k, part in enumerate(self.parts):
                part.save(beside / str(k))  # type: ignore[attr-defined]
            saving.write_config(beside / "blend.json", {"name": self.name, "parts": len(self.parts)})
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Blend:
        """Read a blend written by `save`.

        Raises
        ------
        InputError
            When files are missing or inconsistent with each other.
        """
        with saving.reading(folder, "blend.json", "blend") as config:
            parts = [load_learned(Path(folder) / str(k)) for k in range(config["parts"])]
            return cls(parts, config["name"])


def mean_plan(plans: Sequence[Plan]) -> Plan:
    """The mean of the aims, no-trade bands and trading rates of plans of one shape (T, A), without their stops."""
    nothing, at_once = np.zeros_like(plans[0].aim), np.ones_like(plans[0].aim)
    band = [nothing if p.band is None else p.band for p in plans]
    rate = [at_once if p.rate is None else p.rate for p in plans]
    return Plan(*(np.mean(values, axis=0) for values in ([p.aim for p in plans], band, rate)))
