"""`MomentumBlend`: time-series momentum over several horizons at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from markets import Bars, InputError, Plan
from strategies.rules.simple import Momentum
from strategies.strategy import Strategy


class MomentumBlend(Strategy):
    """The mean of `Momentum` over several windows (Hurst, Ooi and Pedersen, "A century of evidence on trend-following
    investing", Journal of Portfolio Management 2017, who take 1, 3 and 12 months).

    A symbol's weight is ``share of the windows over which it rose / number of listed symbols``, so it is bought and sold in
    steps, and turnover is lower than with one window of the same mean length.

    Parameters
    ----------
    windows : sequence of int
        Bars, each at least 1.

    Raises
    ------
    InputError
        When there are no windows, or one is below 1.
    """

    name = "momentum blend"

    def __init__(self, windows: Sequence[int] = (21, 63, 126, 252)):
        if not windows or min(windows) < 1:
            raise InputError(f"{self.name}: windows are {windows}; give some, of at least 1 bar each")
        self.windows = tuple(windows)
        self.warmup = max(windows)

    def plan(self, bars: Bars) -> Plan:
        return Plan(np.mean([Momentum(window).plan(bars).aim for window in self.windows], axis=0))
