"""How often each symbol has a bar, and what to do when symbols differ in it.

Symbols are of one frequency if they are all intraday, or all daily, weekly, monthly or longer. A coin with bars at weekends
beside a stock is daily like the stock. Among intraday symbols a differing spacing is no other frequency, since a symbol that
trades every half hour among minute bars is as likely a quiet one; nor has a symbol any if its bars come irregularly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from markets.bars.bars import Bars
from markets.bars.time_spans import median_spacing
from markets.common.statistics import bars_per_year

HOUR = pd.Timedelta(hours=1)
# The shortest spacing of each frequency, and the period to resample to it.
FREQUENCIES = (
    (0 * HOUR, "intraday", ""),
    (20 * HOUR, "daily", "1D"),
    (5 * 24 * HOUR, "weekly", "W-FRI"),
    (25 * 24 * HOUR, "monthly", "ME"),
    (80 * 24 * HOUR, "quarterly", "QE"),
    (300 * 24 * HOUR, "yearly", "YE"),
)
REGULAR = 0.7  # least fraction of steps near the median one; four of five from day to day are
NEAR = 0.2  # relative distance from the median step
DAILY_YEAR = 252  # daily bars in a year, for which default windows are; shorter bars have the same windows


def bars_in_year(bars: Bars) -> int:
    """Number of bars in a year, for windows: 252 of daily or shorter bars, and as many as there are of longer ones.

    So a year is 52 weekly or 12 monthly bars.
    """
    index = bars.with_past().index
    return DAILY_YEAR if median_spacing(index) < 36 * 3600 else max(round(bars_per_year(index)), 1)


class Spacing(NamedTuple):
    """Spacing of a symbol's bars.

    Attributes
    ----------
    step : Timedelta or None
        Median time from bar to bar; None with fewer than four bars.
    frequency : str
        Of `FREQUENCIES`; "" where bars come irregularly.
    """

    step: pd.Timedelta | None
    frequency: str

    def __str__(self) -> str:
        every = str(self.step).removeprefix("0 days ")
        return f"{self.frequency} (every {every})" if self.frequency == "intraday" else self.frequency


def spacings(bars: Bars) -> dict[str, Spacing]:
    """The spacing of each symbol."""
    found = {}
    for symbol, close in zip(bars.symbols, bars.close.T, strict=True):
        times = bars.index[np.isfinite(close)]
        if len(times) < 4:
            found[symbol] = Spacing(None, "")
            continue
        step = pd.Timedelta(seconds=median_spacing(times))
        name = [name for least, name, _ in FREQUENCIES if step >= least][-1]
        regular = name == "intraday" or (np.abs(np.diff(times) - step) <= NEAR * step).mean() >= REGULAR
        found[symbol] = Spacing(step, name if regular else "")
    return found


def differing(bars: Bars) -> str:
    """In words, which symbols differ in frequency and the period to resample to; "" if none do."""
    names = [name for _, name, _ in FREQUENCIES]
    groups: dict[str, list[str]] = {}
    found = spacings(bars)
    for symbol, spacing in found.items():
        if spacing.frequency:
            groups.setdefault(spacing.frequency, []).append(symbol)
    if len(groups) < 2:
        return ""
    order = sorted(groups, key=names.index)
    words = []
    for name in order:
        first, *others = groups[name]
        more = f" and {len(others):,} more" if others else ""
        words.append(f"{first}{more} {'are' if others else 'is'} {found[first]}")
    rule = FREQUENCIES[names.index(order[-1])][2]
    return f"{', '.join(words)}: resample all to {rule}"


def resampled_together(bars: Bars, rule: str) -> Bars:
    """`Bars.resample`, also of symbols of different frequency.

    The bar of a date ends with that day, but one stamped at midnight ends as the day begins. So where some symbols have dates
    and others have times, dates are first moved to their midnight; periods of days or longer then get dates again.
    """
    night = bars.index == bars.index.normalize()
    there = np.isfinite(bars.close)
    intraday = np.array([spacing.frequency in ("", "intraday") for spacing in spacings(bars).values()])
    dated = ~intraday & ~(there & ~night[:, None]).any(axis=0)
    if dated.all() or not dated.any():
        return bars.resample(rule)
    day = pd.DateOffset(days=1)
    rest, dates = there[:, ~dated].any(axis=1), there[:, dated].any(axis=1)  # rows with a bar of either kind
    late = bars.index[dates] + day
    index = bars.index[rest].append(late).unique().sort_values()
    fields = {}
    quoted = {} if bars.spread is None else {"spread": bars.spread}
    for field, values in (bars.fields | quoted | {"tradable": bars.tradable.astype(np.float64)}).items():
        fields[field] = np.full((len(index), values.shape[1]), np.nan)
        fields[field][np.ix_(index.get_indexer(bars.index[rest]), ~dated)] = values[rest][:, ~dated]
        fields[field][np.ix_(index.get_indexer(late), dated)] = values[dates][:, dated]
    fields["tradable"] = fields["tradable"] == 1
    joint = Bars.make(index, bars.symbols, **fields, delisted=bars.delisted_from, name=bars.name, source=bars.source)
    found = joint.resample(rule)
    if (found.index == found.index.normalize()).all():
        found = replace(found, _index=pd.DatetimeIndex(found.index - day))
    return found
