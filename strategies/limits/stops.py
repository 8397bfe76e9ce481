"""Stop-loss, take-profit and trailing stop of each position, filled inside the bar by the account itself.

The other limits change what is wanted from one bar to the next. These are orders that rest in the market: the plan carries
their levels, and the account knows its own entry prices and fills them (docs/execution.md states the rules). Stops go around
all other limits: ``Stops(VolatilityTarget(Momentum(252), 0.1), loss=0.1)``.

Kaminski and Lo, "When do stop-loss rules stop losses?", Journal of Financial Markets 2014: a stop adds to the expected return of
a strategy whose returns have momentum, and takes from it where they are independent or revert.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from markets import Bars, InputError, Plan
from strategies.limits.limit import Limit


@dataclass(eq=False)
class Stops(Limit):
    """Closes a position once it has lost `loss`, gained `gain`, or fallen back by `trailing`.

    Long: at ``entry · (1 − loss)``, ``entry · (1 + gain)`` and ``best · (1 − trailing)``, with the average entry price and the
    best price since the position was opened. Short: the other way round. The symbol then stays out until the strategy's weight
    for it is zero or has the other sign, or for `cooldown` decisions.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    loss, gain, trailing : float, optional
        Fractions above 0, such as 0.1. At least one is needed.
    cooldown : int, optional
        At least 0. Without it, a symbol that is always wanted is never bought again; with it, when the strategy next trades
        it (`BuyAndHold` never does).

    Raises
    ------
    InputError
        When a setting is out of range, or none is given.
    """

    loss: float | None = None
    gain: float | None = None
    trailing: float | None = None
    cooldown: int | None = None

    def check(self) -> None:
        levels = {"loss": self.loss, "gain": self.gain, "trailing": self.trailing}
        if all(level is None for level in levels.values()):
            raise InputError("stops: give loss, gain or trailing, as in Stops(strategy, loss=0.1)")
        for name, level in levels.items():
            if level is not None and not 0 < level < np.inf:
                raise InputError(f"stops: {name} is {level}; it is a fraction above 0: 10 % are 0.1")
        if self.cooldown is not None and not self.cooldown >= 0:
            raise InputError(f"stops: cooldown is {self.cooldown}; it must be at least 0 decisions")

    @property
    def label(self) -> str:
        levels = (("stop", self.loss), ("take", self.gain), ("trail", self.trailing))
        return " ".join(f"{name} {level:.3g}" for name, level in levels if level is not None)

    def plan(self, bars: Bars) -> Plan:
        levels = {
            "stop_loss": self.loss, "take_profit": self.gain, "trailing_stop": self.trailing, "cooldown": self.cooldown
        }  # fmt: skip
        stops = {name: np.full(bars.shape, float(level)) for name, level in levels.items() if level is not None}
        return replace(self.wanted(bars), **stops)
