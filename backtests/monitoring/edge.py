"""`EdgeAlarm`: a deployed strategy no longer earns what its backtest promised.

Let σ_t be the volatility that is expected of bar t (`backtests.monitoring.scale`), s the promised floor, a Sharpe ratio per bar,
and c the clip. The null hypothesis is that the promise is kept at every bar::

    E[ clip(r_t / σ_t − s, −c, c) | bars before t ] ≥ 0

and under it the alarm is ever given with probability at most `level`, for **any** process of returns: heavy tails, GARCH,
dependence of any kind (`backtests.monitoring.betting`). What is assumed is in what the null says. With ``x = r_t / σ_t − s``, a
mean return of at least ``s σ_t``, given the past, implies the null where ``E[(x − c)⁺] ≤ E[(−x − c)⁺]``: where gains beyond the
clip bring no more than losses beyond it cost. So it is for every law that is symmetric about such a mean, however heavy its
tails, and for those skewed to the left. Of a law that is skewed to the right, whose rare gains are the edge, the clip cuts off a
part of the mean. A floor that is measured after the same clip, as `EdgeAlarm.promised` does, has that part cut off too.

"At every bar" is meant: a strategy that earns in calm markets and loses in each crisis, with the promised mean over both, breaks
this promise in a crisis. The alarm then says so, and what it says is that now there is no edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backtests.monitoring.one_sided import OneSidedAlarm
from backtests.monitoring.scale import CLIP, Numbers, Scale, clipped
from backtests.significance.interval import FEWEST, Sample, interval
from backtests.significance.statistic import MeanReturn
from markets import InputError
from markets.common.statistics import RESOLUTION, deviation


@dataclass(kw_only=True)
class EdgeAlarm(OneSidedAlarm):
    """Evidence that the edge is gone, an e-process: alarm when it reaches ``1 / level``, and from then on.

    Attributes
    ----------
    floor : float
        s: least mean return per bar, in units of the expected volatility. An annualised Sharpe ratio of 1 is ``1 / sqrt(252)``
        per day; 0 asks whether it still earns at all.
    volatility : float
        Standard deviation of the returns per bar in the backtest, with which the expected volatility starts.
    level : float
        Probability of ever giving a false alarm, at most.
    clip : float
        c, in standard deviations. Larger losses count as this one, so that no single bar gives an alarm.
    scale, bets
        The state.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    floor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not abs(self.floor) < self.clip:
            raise InputError(f"EdgeAlarm: floor is {self.floor}; give a Sharpe ratio per bar, such as 1 / sqrt(252)")

    @classmethod
    def promised(
        cls, returns: np.ndarray, *, confidence: float = 0.95, level: float = 0.05, clip: float = CLIP
    ) -> EdgeAlarm:
        """The alarm for what a backtest promised: the lower end of the confidence interval of the mean of ``clip(r_t / σ_t)``.

        That is the interval of the Sharpe ratio of the account at constant expected volatility. It does not know how many
        strategies were tried of which this is the best.

        Parameters
        ----------
        returns : ndarray of shape (T,)
            Returns of the backtest per bar, in excess of what cash earns.
        confidence : float
            Confidence level of the interval, two-sided.
        level, clip : float
            Of the alarm.

        Raises
        ------
        InputError
            When there are fewer than 30 returns, one is not finite, or they vary on too few bars for an interval.
        """
        returns = np.asarray(returns, dtype=np.float64)
        if returns.ndim != 1 or len(returns) < FEWEST or not np.isfinite(returns).all():
            raise InputError(
                f"EdgeAlarm: returns of shape {returns.shape}: give a series of {FEWEST} or more, all finite"
            )
        volatility = deviation(returns)
        if not volatility > RESOLUTION:
            raise InputError("EdgeAlarm: the returns do not vary; give those of a strategy that trades")
        scale, scaled = Scale(volatility**2), np.empty(len(returns))
        for t, one in enumerate(returns):
            scaled[t] = clipped(one / scale.value, clip)
            scale.add(one)
        found = interval([Sample((scaled,), np.arange(len(scaled)), MeanReturn())], level=confidence)
        if not np.isfinite(found.low):
            raise InputError(
                "EdgeAlarm: the returns vary on too few bars; give those of a strategy that trades on more"
            )
        return cls(floor=found.low, volatility=volatility, level=level, clip=clip)

    def update(self, time: object, returned: float) -> None:
        """Learn from one bar. The same bar again changes nothing.

        Parameters
        ----------
        time : Timestamp or what pandas reads as one
        returned : float
            Return of the account over the bar that ends then, as a fraction, in excess of what cash earns. One of exactly 0, as
            of an account that holds nothing, is no evidence where the floor is 0 or more. It would speak against the
            promise otherwise, so that leaving it out keeps the level.

        Raises
        ------
        InputError
            When the time is before the last one, or the return is not finite.
        """
        stamp = self.admit(time)
        if stamp is None:
            return
        if not np.isfinite(returned):
            raise InputError(f"EdgeAlarm: the return of bar {stamp} is {returned}; give a finite number")
        if returned != 0 or self.floor < 0:
            self.observe(returned)
        self.finish(stamp, self.level)

    def observe(self, returned: Numbers) -> None:
        """What `update` learns, without times and alarms: of one path, or an array of one return for each of many paths."""
        self.bets.settle(clipped(self.floor - returned / self.scale.value, self.clip))
        self.scale.add(returned)
