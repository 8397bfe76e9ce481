"""`Schedule`: at which bars a watch adapts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtests.watch.journal import Decided
from markets import Bars, InputError, RegimeDetector

FIRST = "first"


@dataclass(frozen=True, eq=False)
class Schedule:
    """Adapt every so many bars, and when the regime has changed.

    Attributes
    ----------
    every : int or None
        Bars between adaptations, counted from the first bar of the watch as in a walk-forward; None is never.
    detector : RegimeDetector or None
        Fitted on bars before the watch. It says what regime each bar is in.
    on_change : bool
        Whether to adapt when the regime has changed.
    confirm : int
        Bars in a row that a new regime must be the most probable one.

    Raises
    ------
    InputError
        When a number is below 1, or a change of regime is to be noticed without a detector.
    """

    every: int | None = 63
    detector: RegimeDetector | None = None
    on_change: bool = False
    confirm: int = 5

    def __post_init__(self) -> None:
        for name in ("every", "confirm"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1 bar")
        if self.on_change and self.detector is None:
            raise InputError("a change of regime is noticed by a detector; give one that is fitted on the past")

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON holds them, for the journal."""
        regimes = None if self.detector is None else repr(self.detector)
        return {"every": self.every, "on_change": self.on_change, "confirm": self.confirm, "regimes": regimes}

    def beliefs(self, bars: Bars) -> list[dict[str, float]]:
        """Probability of each regime at each of the visible bars, by what was known then; empty without a detector."""
        if self.detector is None:
            return [{} for _ in range(len(bars))]
        path = self.detector.filter(bars)  # row t uses nothing later than bar t
        return [dict(zip(path.names, row, strict=True)) for row in path.probabilities.tolist()]

    def due(self, decided: Sequence[Decided], belief: Mapping[str, float], regime: str) -> str:
        """Why to adapt at the bar that comes after those `decided` on, of which there is one; empty if there is no reason.

        Parameters
        ----------
        decided : sequence of Decided
        belief : mapping of str to float
            At the new bar.
        regime : str
            The most probable one at the last adaptation; empty before there was one.
        """
        if self.every is not None and len(decided) % self.every == 0:
            return "schedule"
        if not self.on_change or len(decided) < self.confirm - 1:
            return ""
        now = max(belief, key=belief.__getitem__)
        before = decided[len(decided) - (self.confirm - 1) :]
        confirmed = now != regime and all(record.regime == now for record in before)
        return f"regime: {regime or 'none'} to {now}" if confirmed else ""
