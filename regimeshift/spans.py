"""The split of a data set into training, validation and test spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from markets import Bars


def time_text(time: pd.Timestamp) -> str:
    """A bar time as options take it: the day, and the time of day unless it is midnight."""
    return f"{time:%Y-%m-%d}" if time == time.normalize() else str(time)


class Spans(NamedTuple):
    """Start of the validation span and of the test span."""

    validation: pd.Timestamp
    test: pd.Timestamp


def spans(bars: Bars, validation: str | None, test: str | None, lookback: int | None = None) -> Spans:
    """The given starts of validation and test; by default 30 % of the data are for training, 25 % for validation, 45 % for test.

    With less than ten years of data these are fractions of the bars after the features' warm-up. With ten or more they are
    fractions of time, rounded to the nearest 1 January.

    Parameters
    ----------
    bars : Bars
    validation, test : str or None
        Times such as 2008 or 2008-01-31; None is the default.
    lookback : int, optional
        Warm-up of the features in bars; by default that of `Windows.of`.

    Returns
    -------
    Spans

    Raises
    ------
    InputError
        When a text is not a time, or the times are not in order and inside the data.
    """
    import pandas as pd

    from markets import InputError
    from markets.bars.time_spans import moment
    from markets.common.statistics import years
    from markets.common.words import count
    from regimeshift.windows import Windows

    bars = bars.without_empty()  # rows on which nothing trades are no bars
    lookback = Windows.of(bars).lookback if lookback is None else lookback
    warm = min(max(lookback - bars.past, 0), len(bars) - 1)  # features do not exist during the warm-up

    def at(text: str | None, share: float, option: str) -> pd.Timestamp:
        if text is not None:
            return moment(f"--{option}", text, bars.index.tz)
        if not years(bars.index) >= 10:  # NaN within a day
            return bars.index[warm + int(share * (len(bars) - warm))]
        # round to the nearest 1 January
        time = bars.index[0] + (bars.index[-1] - bars.index[0]) * share
        return pd.Timestamp(year=time.year + (time.month > 6), month=1, day=1, tz=bars.index.tz)

    if validation is None and test is None and len(bars) - warm < 10:
        raise InputError(
            f"{bars.name} has {count(len(bars) - warm, 'bar')} after a warm-up of {warm}: too few to cut into training, "
            "validation and test; use more bars"
        )
    found = Spans(at(validation, 0.30, "validation"), at(test, 0.55, "test"))
    if not bars.index[0] < found.validation < found.test < bars.index[-1]:
        raise InputError(
            f"--validation {found.validation} and --test {found.test} must be in this order and inside {bars.name}, "
            f"which runs from {bars.index[0]} to {bars.index[-1]}"
        )
    return found
