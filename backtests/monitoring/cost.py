"""`CostAlarm`: trading costs more than was assumed.

Let x_t be what a bar's trades cost less what they were assumed to, over the value traded, and σ_t the size of x that is expected
of it. The null hypothesis is that at every bar::

    E[ clip(x_t / σ_t, −c, c) | bars before t ] ≤ 0

and the evidence is that of `backtests.monitoring.betting`: under the null the alarm is ever given with probability at most
`level`. Costs whose mean, given the past, is at most what was assumed are in the null if x is symmetric, or has its longer tail
on the dear side, as costs do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtests.monitoring.one_sided import OneSidedAlarm
from backtests.monitoring.scale import Numbers, clipped
from markets import InputError


@dataclass(kw_only=True)
class CostAlarm(OneSidedAlarm):
    """Evidence that realised costs are above those assumed, an e-process: alarm when it reaches ``1 / level``, and from then on.

    Attributes
    ----------
    volatility : float
        Standard deviation of the cost of a bar's trades about what is assumed, over the value traded: 5e-4 for 5 basis points.
        The expected size of x starts there.
    tolerance : float
        Fraction by which costs may be above those assumed: .1 asks whether they are more than 10 % above.
    level : float
        Probability of ever giving a false alarm, at most.
    clip : float
        c, in standard deviations. No single dear trade gives an alarm.
    scale, bets
        The state.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    tolerance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tolerance < np.inf:
            raise InputError(f"CostAlarm: tolerance is {self.tolerance}; give a fraction of 0 or more")

    def update(self, time: object, paid: float, assumed: float, traded: float) -> None:
        """Learn from one bar. The same bar again changes nothing, and neither does one without trades.

        Parameters
        ----------
        time : Timestamp or what pandas reads as one
        paid, assumed : float
            What the bar's trades cost, in money, slippage included; and what the backtest's costs say of the same trades.
        traded : float
            Absolute value traded, in money.

        Raises
        ------
        InputError
            When the time is before the last one, or an amount is not finite; or if `traded` is negative.
        """
        stamp = self.admit(time)
        if stamp is None:
            return
        if not (np.isfinite([paid, assumed]).all() and 0 <= traded < np.inf):
            raise InputError(
                f"CostAlarm: bar {stamp} paid {paid}, assumed {assumed} and traded {traded}; give finite amounts of money"
            )
        if traded > 0:
            self.observe((paid - (1 + self.tolerance) * assumed) / traded)
        self.finish(stamp, self.level)

    def observe(self, excess: Numbers) -> None:
        """What `update` learns from the excess cost, over the value traded: a number, or an array of one for each path."""
        self.bets.settle(clipped(excess / self.scale.value, self.clip))
        self.scale.add(excess)
