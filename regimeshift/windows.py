"""`Windows`: lengths in bars that suit the spacing of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markets import Bars, Features


@dataclass(frozen=True)
class Windows:
    """Windows in bars. Those of daily bars are the default, and longer bars get as many bars as make the same time.

    Attributes
    ----------
    year : int
        Bars in a year: 252 for daily and shorter bars, 52 for weekly, 12 for monthly ones.
    lookback : int
        Longest window of the features.
    task : int
        Support bars and query bars of a task: 60 daily bars, and fewer where there are not enough for twelve such stretches.
    """

    year: int
    lookback: int
    task: int

    @classmethod
    def of(cls, bars: Bars, lookback: int | None = None) -> Windows:
        """The windows for `bars`; the features' `lookback` is a year of them by default, and at least 4 bars.

        Rows on which nothing trades are no bars.
        """
        from markets.bars.frequency import bars_in_year

        bars = bars.without_empty()
        year = bars_in_year(bars)
        lookback = lookback or max(year, 4)
        usual = cls(year, lookback, 0).usual_task
        enough = (len(bars) + bars.past - lookback) // 12
        return cls(year, lookback, max(min(usual, enough), min(usual, 12)))

    def of_daily(self, bars: int, least: int) -> int:
        """The window that is `bars` on daily bars, but at least `least` where that is shorter."""
        from markets.bars.frequency import DAILY_YEAR

        return max(round(bars * self.year / DAILY_YEAR), min(bars, least))

    @property
    def features(self) -> Features:
        """The default features with these windows."""
        from markets import Features

        return Features.scaled(self.lookback)

    @property
    def quarter(self) -> int:
        """Bars between adaptations."""
        return self.of_daily(63, 3)

    @property
    def volatility(self) -> int:
        """Window of a volatility."""
        return self.of_daily(63, 12)

    @property
    def usual_task(self) -> int:
        """Support bars and query bars of a task, where there are enough bars."""
        return self.of_daily(60, 12)

    @property
    def shortest(self) -> int:
        """Shortest support or query."""
        return self.of_daily(10, 4)

    @property
    def needed(self) -> int:
        """Bars without which training, validation and test cannot all have any: the warm-up and five usual stretches."""
        return self.lookback + 1 + 5 * self.usual_task
