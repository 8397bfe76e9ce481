"""`OneSidedAlarm`: what the alarms share that bet on one series against "its mean, given the past, is at most 0"."""

from __future__ import annotations

from dataclasses import dataclass

from backtests.monitoring.betting import Bets
from backtests.monitoring.monitor import Monitor, check_level, check_positive
from backtests.monitoring.scale import CLIP, Numbers, Scale


@dataclass(kw_only=True)
class OneSidedAlarm(Monitor):
    """Base class. The evidence is an e-process, and the alarm is given when it reaches ``1 / level``.

    Attributes
    ----------
    volatility : float
        Standard deviation of the series per bar, with which the expected volatility starts.
    level : float
        Probability of ever giving a false alarm, at most.
    clip : float
        c, in standard deviations. Values further from 0 count as this one, so that no single bar gives an alarm.
    scale : Scale
        Expected volatility, of the state.
    bets : Bets
        Wealth, of the state.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    volatility: float
    level: float = 0.05
    clip: float = CLIP
    scale: Scale = None  # type: ignore[assignment]  # from the settings, unless a state is read
    bets: Bets = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_level(self, self.level)
        check_positive(self, volatility=self.volatility, clip=self.clip)
        self.scale = self.scale or Scale(self.volatility**2)
        self.bets = self.bets or Bets(self.clip)

    @property
    def evidence(self) -> Numbers:
        """E_t: a number, or of many paths at once (`observe`) an array."""
        return self.bets.value

    @property
    def value(self) -> float:
        """The evidence: about 1 or less under the null hypothesis, 20 or more at an alarm of level .05."""
        return float(self.evidence)
