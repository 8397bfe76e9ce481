"""`Plan`, what a strategy wants, and `Strategy`, what wants it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from markets import Bars, InputError


@dataclass(frozen=True, eq=False)
class Plan:
    """Target weights and how eagerly to go there.

    The simulator trades to the nearest edge of ``aim ± band``, and of that way the share `rate` each bar: a band is the
    optimal form under proportional costs, a rate the optimal form under quadratic ones.

    Attributes
    ----------
    aim : ndarray of shape (T, A)
        Row t is decided at the close of bar t.
    band : ndarray of shape (T, A) or None
        Half-width of the no-trade zone, at least 0; None is 0.
    rate : ndarray of shape (T, A) or None
        In [0, 1]; None is 1.

    Raises
    ------
    ValueError
        When a value is not finite or out of range.
    """

    aim: np.ndarray
    band: np.ndarray | None = None
    rate: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, lowest, highest in (("aim", -np.inf, np.inf), ("band", 0.0, np.inf), ("rate", 0.0, 1.0)):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.ascontiguousarray(values, dtype=np.float64)
            if values.shape != np.shape(self.aim):
                raise ValueError(f"plan: {name} has shape {values.shape}, aim {np.shape(self.aim)}")
            wrong = ~((values >= lowest) & (values <= highest))
            if name == "aim":
                wrong = ~np.isfinite(values)
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise ValueError(
                    f"plan: {name} at row {at[0]}, symbol {at[1]} is {values[at]}; it must be in range and finite"
                )
            object.__setattr__(self, name, values)

    def __getitem__(self, rows: slice) -> Plan:
        band, rate = (None if p is None else p[rows] for p in (self.band, self.rate))
        return Plan(self.aim[rows], band, rate)

    @staticmethod
    def join(plans: list[Plan]) -> Plan:
        """One plan from consecutive ones."""
        if len(plans) == 1:
            return plans[0]
        aim = np.concatenate([p.aim for p in plans])
        # a part without a band among parts with one has a band of zero; likewise a rate of one
        band = [np.zeros_like(p.aim) if p.band is None else p.band for p in plans]
        rate = [np.ones_like(p.aim) if p.rate is None else p.rate for p in plans]
        return Plan(
            aim,
            np.concatenate(band) if any(p.band is not None for p in plans) else None,
            np.concatenate(rate) if any(p.rate is not None for p in plans) else None,
        )


def planned(strategy: Strategy, bars: Bars) -> Plan:
    """The strategy's plan, if it is one for these bars.

    Raises
    ------
    InputError
        When `plan` returns something else, or rows or symbols other than the bars have.
    """
    plan = strategy.plan(bars)
    if not isinstance(plan, Plan):
        raise InputError(f"{strategy.name}: plan(bars) returned {type(plan).__name__}; return strategies.Plan(aim)")
    if plan.aim.shape != bars.shape:
        raise InputError(
            f"{strategy.name}: the plan has shape {plan.aim.shape}, but the visible bars make {bars.shape}; "
            "of what is computed with the history, return the rows from bars.past on"
        )
    return plan


class Strategy(ABC):
    """Something that decides weights from bars.

    Attributes
    ----------
    name : str
        For tables and plots.
    warmup : int
        Bars needed before the first row that is more than a guess.
    adapts : bool
        Whether `adapt` does anything; a strategy that does not is planned once.
    """

    name: str = "strategy"
    warmup: int = 0
    adapts: bool = False

    @abstractmethod
    def plan(self, bars: Bars) -> Plan:
        """Plan for the visible rows, shape (T, A); row t may use bars up to t, the history included, and no more."""

    def adapt(self, bars: Bars) -> Strategy:
        """The strategy after seeing `bars`; those that do not learn return themselves. Set `adapts` if yours learns."""
        return self
