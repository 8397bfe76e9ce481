"""`ComparisonAlarm`: champion against challenger, while both run on the same bars.

Let d_t be the challenger's score at bar t less the champion's, scaled by the volatility that is expected of it and clipped to
[−c, c]. The null hypothesis "the challenger is not better" is one about averages, not about every bar::

    (1/t) Σ_{i ≤ t} E[d_i | bars before i] ≤ 0    at every t

so that a challenger may win in some regimes and lose in others (the weak null of Choe and Ramdas, "Comparing sequential
forecasters", Operations Research 2024). The evidence is the wealth of bets on d_t, of several fixed sizes, that all begin at the
first bar (`backtests.monitoring.betting`). It gains more than their e-process, ``exp(λ Σ d − ψ(λ) Σ (d − g)²)``, whose penalty ψ
grows with the width of the clip. "The champion is not better" is the same with −d.

The alarm goes by the mean of both directions' evidence, and names the one that has more. Where both are equally good on average
it is ever given with probability at most `level`; and one that is not better is ever named with probability at most `level`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtests.monitoring.betting import Bets
from backtests.monitoring.monitor import Monitor, check_level, check_positive
from backtests.monitoring.scale import CLIP, Numbers, Scale, clipped
from markets import InputError


@dataclass(kw_only=True)
class ComparisonAlarm(Monitor):
    """Evidence that the challenger is better than the champion, or the champion better than the challenger.

    Attributes
    ----------
    volatility : float
        Standard deviation of the difference of their scores per bar, in the backtest, with which the expected one starts.
    level : float
        Probability of naming a winner that is not better, at most.
    clip : float
        c, in standard deviations of the difference.
    winner : str
        ``challenger`` or ``champion`` once there is an alarm, and empty before.
    scale, challenger, champion
        The state: expected volatility, and the bets that each is the better one.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    volatility: float
    level: float = 0.05
    clip: float = CLIP
    winner: str = ""
    scale: Scale = None  # type: ignore[assignment]  # from the settings, unless a state is read
    challenger: Bets = None  # type: ignore[assignment]
    champion: Bets = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_level(self, self.level)
        check_positive(self, volatility=self.volatility, clip=self.clip)
        self.scale = self.scale or Scale(self.volatility**2)
        self.challenger = self.challenger or Bets(self.clip, prior=0.0)
        self.champion = self.champion or Bets(self.clip, prior=0.0)

    @property
    def evidence(self) -> Numbers:
        """Mean of both directions' evidence: a number, or of many paths at once (`observe`) an array."""
        return 0.5 * (self.challenger.value + self.champion.value)

    @property
    def value(self) -> float:
        """The evidence that one is better, whichever: 20 or more at an alarm of level .05."""
        return float(self.evidence)

    def update(self, time: object, champion: float, challenger: float) -> None:
        """Learn from one bar. The same bar again changes nothing.

        Parameters
        ----------
        time : Timestamp or what pandas reads as one
        champion, challenger : float
            Scores of the bar, of which more is better: returns, or a utility such as ``r − ½ γ r²``.

        Raises
        ------
        InputError
            When the time is before the last one, or a score is not finite.
        """
        stamp = self.admit(time)
        if stamp is None:
            return
        if not np.isfinite([champion, challenger]).all():
            raise InputError(
                f"ComparisonAlarm: the scores of bar {stamp} are {champion} and {challenger}; give finite numbers"
            )
        self.observe(challenger - champion)
        self.finish(stamp, self.level)
        if self.alarm and not self.winner:
            self.winner = "challenger" if self.challenger.value > self.champion.value else "champion"

    def observe(self, difference: Numbers) -> None:
        """What `update` learns from the challenger's score less the champion's: a number, or an array of one for each path."""
        payoff = clipped(difference / self.scale.value, self.clip)
        self.challenger.settle(payoff)
        self.champion.settle(-payoff)
        self.scale.add(difference)
