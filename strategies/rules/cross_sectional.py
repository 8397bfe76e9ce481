"""`CrossSectionalMomentum`: the winners of the last year, against the losers or alone."""

from __future__ import annotations

import numpy as np

from markets import Bars, InputError, Plan
from markets.bars.traded import TradedBars
from strategies.rules.schedule import DAYS, Period, check_period, period_starts, since_start
from strategies.strategy import Strategy


class CrossSectionalMomentum(Strategy):
    """Cross-sectional momentum (Jegadeesh and Titman, "Returns to buying winners and selling losers", Journal of Finance
    1993).

    On the first bar of each month symbols are ranked by ``P_{t−skip} / P_{t−window}``, over their own bars. The best
    `fraction` of them share a weight of 1 equally; with `losers`, half of that, and the worst `fraction` share a weight of −½
    equally. What is chosen is held until the next month. The last month is left out ("12 − 1"), as it tends to reverse
    (Jegadeesh and Titman leave out a week; the month is that of Fama and French, "Multifactor explanations of asset pricing
    anomalies", Journal of Finance 1996). There is no rank of a single symbol, and nothing is held.

    Parameters
    ----------
    window, skip : int
        In bars; ``0 <= skip < window``.
    fraction : float
        Of the symbols that have a return, in (0, 0.5]; at least one, and at most half of them.
    losers : bool
        Whether losers are sold short. Otherwise winners alone are held.
    every : {"day", "week", "month", "quarter", "year"}
        Calendar period between choices.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    def __init__(
        self,
        window: int = 252,
        skip: int = 21,
        fraction: float = 0.3,
        losers: bool = False,
        every: Period = "month",
    ):
        self.name = f"{'winners minus losers' if losers else 'winners'} {window}"
        if not 0 <= skip < window:
            raise InputError(f"{self.name}: skip is {skip}; it must be at least 0 and less than the window")
        if not 0 < fraction <= 0.5:
            raise InputError(f"{self.name}: fraction is {fraction}; it must be above 0 and at most 0.5")
        check_period(self.name, every)
        self.window, self.skip, self.fraction, self.losers, self.every = window, skip, fraction, losers, every
        self.warmup = window + DAYS[every]

    def trimmed(self, bars: Bars) -> Bars:
        return since_start(bars, self.every, self.warmup + 1)

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        traded = TradedBars(held.close)
        close, score = traded.packed(held.close), np.full(held.shape, np.nan)
        if len(held) > self.window:
            score[self.window :] = close[self.window - self.skip : len(close) - self.skip] / close[: -self.window]
        score = np.where(held.listed, traded.unpacked(score), np.nan)
        starts = np.flatnonzero(period_starts(held, self.every))
        chosen = np.zeros((len(starts) + 1, held.shape[1]))  # the last row: nothing, before the first start
        for weights, row in zip(chosen, score[starts], strict=False):
            ranked = np.argsort(row, kind="stable")[: int(np.isfinite(row).sum())]  # NaN are last
            if len(ranked) < 2:
                continue
            count = min(max(round(self.fraction * len(ranked)), 1), len(ranked) // 2)  # no symbol is on both sides
            weights[ranked[-count:]] = (0.5 if self.losers else 1.0) / count
            if self.losers:
                weights[ranked[:count]] = -0.5 / count
        period = np.searchsorted(starts, np.arange(bars.past, len(held)), side="right") - 1
        return Plan(np.where(bars.listed, chosen[period], 0.0))
