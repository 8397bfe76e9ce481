"""`Strategy`: what decides, bar by bar, which weights it wants."""

from __future__ import annotations

from abc import ABC, abstractmethod

from markets import Bars, InputError, Plan


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
