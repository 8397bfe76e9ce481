"""Where training ends, validation runs and the test begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from markets import Bars


class Spans(NamedTuple):
    """The first time of validation and of the test."""

    validation: pd.Timestamp
    test: pd.Timestamp


def spans(bars: Bars, validation: str | None, test: str | None) -> Spans:
    """The times asked for, or those that leave 30 % for training, 25 % for validation and 45 % for the test.

    With less than ten years these are shares of the bars that follow the features' warm-up; with more they are of the time, to
    the nearest turn of a year.

    Raises
    ------
    InputError
        When they are no times, or not in order and inside the data.
    """
    import pandas as pd

    from markets import Features, InputError

    warm = min(Features().lookback, len(bars) - 1)  # nothing is learnt from the bars that warm the features up

    def at(text: str | None, share: float, option: str) -> pd.Timestamp:
        if text is not None:
            try:
                return pd.Timestamp(text, tz=bars.index.tz)
            except ValueError:
                raise InputError(f"--{option} {text!r} is not a time; write it as 2008 or 2008-01-31") from None
        if bars.years < 10:
            return bars.index[warm + int(share * (len(bars) - warm))]
        # the turn of the year that is nearest
        time = bars.index[0] + (bars.index[-1] - bars.index[0]) * share
        return pd.Timestamp(year=time.year + (time.month > 6), month=1, day=1, tz=bars.index.tz)

    found = Spans(at(validation, 0.30, "validation"), at(test, 0.55, "test"))
    if not bars.index[0] < found.validation < found.test < bars.index[-1]:
        raise InputError(
            f"--validation {found.validation} and --test {found.test} must be in this order and inside {bars.name}, "
            f"which runs from {bars.index[0]} to {bars.index[-1]}"
        )
    return found
