"""`Windows`: lengths in bars that suit the spacing of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from markets import Bars, Features
    from strategies import Pool


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
    bars : int
        How many there are.
    daily : bool
        Whether a calendar week has several bars, but a day not.
    """

    year: int
    lookback: int
    task: int
    bars: int
    daily: bool

    @classmethod
    def of(cls, bars: Bars, lookback: int | None = None) -> Windows:
        """The windows for `bars`; the features' `lookback` is a year of them by default, and at least 4 bars.

        Rows on which nothing trades are no bars.
        """
        from markets.bars.frequency import bars_in_year
        from markets.bars.time_spans import median_spacing

        bars = bars.without_empty()
        year = bars_in_year(bars)
        lookback = lookback or max(year, 4)
        have, days = len(bars) + bars.past, median_spacing(bars.with_past().index) / 86_400
        found = cls(year, lookback, 0, have, 0.75 < days < 5)
        usual, enough = found.usual_task, (have - lookback) // 12
        return replace(found, task=max(min(usual, enough), min(usual, 12)))

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
    def query(self) -> int:
        """Query bars of a task whose estimates adapt: half a year, and less where validation has not eight such stretches."""
        quarter = (self.bars - self.lookback) // 4  # what `spans` leaves for validation
        return max(min(self.of_daily(126, 24), quarter // 8), self.shortest)

    @property
    def pool(self) -> Pool:
        """The default pool of estimates with these windows, and no longer than what comes before the test of `spans`.

        Bars that are not daily, and few daily ones, are decided on one by one, instead of once a week.
        """
        from markets.bars.frequency import DAILY_YEAR
        from strategies import Pool

        usual = Pool()
        before = self.lookback + int(0.55 * (self.bars - self.lookback)) - 1

        def scaled(halflives: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sorted({max(round(h * self.lookback / DAILY_YEAR), 2) for h in halflives}))

        wanted = round(usual.window * self.lookback / DAILY_YEAR)
        window = min(wanted, before - (usual.lookback - usual.window) - 7)
        every: Literal["week", "bar"] = "week"
        if not self.daily or window < self.lookback:
            every, window = "bar", min(wanted, max((before - 36) * 6 // 7, (before - 8) * 12 // 17))
        shortest = max(min(usual.shortest, self.lookback // 2), 2)
        return Pool(scaled(usual.volatilities), scaled(usual.correlations), max(window, shortest), every, shortest)

    @property
    def needed(self) -> int:
        """Bars without which training, validation and test cannot all have any: the warm-up and five usual stretches."""
        return self.lookback + 1 + 5 * self.usual_task
