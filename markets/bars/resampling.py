"""Resampling of bars to a longer period: days to weeks, minutes to hours.

A period is an interval, open on the left and closed on the right. Its row is labelled by the end of the period::

    open    first tradable open              high    highest high
    close   last close                       low     lowest low
    volume  sum                              spread  last quoted

The label is the end of the period, not the time of its last bar, because only the end of a period makes it certain that no
further bar belongs to it. The week of 10 September 2001, for example, had a single session, which was not known at that
session's close. With this labelling, ``bars.until(t).resample(rule)`` and ``bars.resample(rule).until(t)`` are
bit-identical at every bar t.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from markets.common.errors import InputError

_EXAMPLES = "W-FRI, ME, QE, 5D, 1h or 15min"
_BEGINNINGS = tuple(getattr(pd.offsets, name) for name in dir(pd.offsets) if name.endswith("Begin"))


class Resampled(NamedTuple):
    """The resampled arrays of `Bars`: G rows, of which the first `past` are history."""

    times: pd.DatetimeIndex
    fields: dict[str, np.ndarray]
    tradable: np.ndarray
    past: int
    delisted_from: tuple[pd.Timestamp | None, ...]


def resampled(
    index: pd.DatetimeIndex,
    fields: dict[str, np.ndarray],
    tradable: np.ndarray,
    delisted_from: tuple[pd.Timestamp | None, ...],
    past: int,
    rule: str,
    incomplete: Literal["drop", "keep"],
    name: str,
) -> Resampled:
    """Aggregate the arrays of `Bars` to the periods of `rule`; see `Bars.resample`."""
    if incomplete not in ("drop", "keep"):
        raise InputError(f"incomplete is {incomplete!r}: use 'drop' or 'keep'")
    dates = _are_dates(index)
    ends = period_ends(index, rule, dates)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ends.asi8)) + 1])
    stops = np.append(starts[1:], len(index))
    labels = ends[starts]
    if labels[-1] > index[-1]:  # the last period has not ended
        if incomplete == "drop":
            starts, stops, labels = starts[:-1], stops[:-1], labels[:-1]
        else:
            labels = pd.DatetimeIndex(labels[:-1].append(index[-1:]))
    first_visible = int(labels.searchsorted(index[past]))
    if first_visible == len(labels):
        raise InputError(
            f"{name} has no complete period of {rule!r} between {index[past]} and {index[-1]}; "
            'use a shorter period, or incomplete="keep"'
        )
    shape, none = (len(labels), tradable.shape[1]), np.empty((0, 0))
    longer = {field: np.empty(shape) for field in fields if field != "spread"}
    mask = np.zeros(shape, dtype=bool)
    names = ("open", "high", "low", "close", "volume")
    _aggregate(
        starts, stops, *(fields.get(n, none) for n in names), tradable, *(longer.get(n, none) for n in names), mask
    )
    if "spread" in fields:
        longer["spread"] = _last(fields["spread"], starts, stops)
    for array in (*longer.values(), mask):
        array.setflags(write=False)
    gone = tuple(
        None if time is None else _gone(time, index[tradable[:, i]], rule, dates)
        for i, time in enumerate(delisted_from)
    )
    return Resampled(labels, longer, mask, first_visible, gone)


def period_ends(index: pd.DatetimeIndex, rule: str, dates: bool) -> pd.DatetimeIndex:
    """End of the period that each time belongs to, never earlier than the time itself.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
        Increasing.
    rule : str
        A pandas offset: ``"W-FRI"``, ``"ME"``, ``"5D"``, ``"1h"``. Periods of several days are counted from 1970-01-01, hours
        and shorter periods from midnight UTC (without a time zone, from midnight local time). So no label depends on where
        the data starts.
    dates : bool
        Whether the times are dates. If so, a period includes its last date. Otherwise a period of days lasts until the
        midnight after its last day, in the time zone of the index.

    Returns
    -------
    DatetimeIndex of shape (T,)

    Raises
    ------
    InputError
        When `rule` is not a period, labels periods by their start, would depend on the first bar, or is finer than a day
        while the times are dates.
    """
    try:
        offset = pd.tseries.frequencies.to_offset(rule)
    except (ValueError, TypeError) as error:
        raise InputError(f"{rule!r} is not a period ({error}); write {_EXAMPLES}") from None
    if offset is None or offset.n < 1 or isinstance(offset, (*_BEGINNINGS, pd.offsets.BusinessHour)):
        raise InputError(f"{rule!r} has no period end to label bars by; write {_EXAMPLES}")
    if isinstance(offset, pd.offsets.Tick):
        if dates:
            raise InputError(f"{rule!r} is finer than a day, but the bars are daily; bars cannot be split")
        return _ceiling(index, pd.Timedelta(offset))
    tick = pd.Timedelta(0) if dates else pd.Timedelta(1, unit=index.unit)
    days = (index - tick).tz_localize(None).normalize()
    if isinstance(offset, pd.offsets.Day):
        number = (days - pd.Timestamp(0)) // pd.Timedelta(days=1)
        last = pd.Timestamp(0) + pd.to_timedelta(-(-number // offset.n) * offset.n, unit="D")
    elif offset.n == 1:
        edges = pd.date_range(offset.rollforward(days[0]), offset.rollforward(days[-1]), freq=offset)
        last = edges[edges.searchsorted(days)]
    else:
        raise InputError(
            f"{rule!r} would depend on the first bar; use a single calendar period (QE, YE) or a number of days (14D)"
        )
    ends = pd.DatetimeIndex(last).as_unit(index.unit) + pd.Timedelta(days=0 if dates else 1)
    if index.tz is not None:
        ends = localized(ends, index.tz)
    return ends.rename(index.name)


def _are_dates(index: pd.DatetimeIndex) -> bool:
    """Whether every time is the first of its day: midnight, or 1:00 on days when daylight saving time skips midnight."""
    clock = index.tz_localize(None)
    first = clock == clock.normalize()
    if not first.all() and index.tz is not None:
        first |= index == localized(clock.normalize(), index.tz)
    return bool(first.all())


def localized(times: pd.DatetimeIndex, zone: tzinfo | str) -> pd.DatetimeIndex:
    """Local times with a time zone. Of an ambiguous time the later one is taken; a nonexistent time is shifted forward."""
    return times.tz_localize(zone, ambiguous=np.zeros(len(times), dtype=bool), nonexistent="shift_forward")


def _ceiling(index: pd.DatetimeIndex, width: pd.Timedelta) -> pd.DatetimeIndex:
    """Each time rounded up to a multiple of `width` since 1970, UTC."""
    step = width.as_unit("ns").value
    ends = pd.DatetimeIndex((-(-index.as_unit("ns").asi8 // step) * step).view("M8[ns]"), name=index.name)
    ends = ends.as_unit("ns" if index.unit == "ns" else "us")
    return ends if index.tz is None else ends.tz_localize("UTC").tz_convert(index.tz)


def _gone(time: pd.Timestamp, traded: pd.DatetimeIndex, rule: str, dates: bool) -> pd.Timestamp:
    """First time at which a symbol no longer exists, for resampled rows.

    The row of the period in which it last traded still has a price, so the symbol is delisted from the next row on.
    """
    if not len(traded):
        return time
    last, end = period_ends(pd.DatetimeIndex([traded[-1], time]), rule, dates)
    if last < end:
        return time
    return period_ends(pd.DatetimeIndex([end + pd.Timedelta(1, unit="D" if dates else "us")]), rule, dates)[0]


def _last(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Last finite value of each column in rows ``starts[g]:stops[g]``, which follow one another, shape (G, A); NaN if none."""
    rows = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)[: stops[-1]]
    last = np.maximum.reduceat(rows, starts, axis=0)
    return np.where(last >= 0, np.take_along_axis(values, last, axis=0), np.nan)


@njit(cache=True, nogil=True)
def _aggregate(starts, stops, open_, high, low, close, volume, tradable, o, h, l, c, v, mask):
    """Fill the rows `o, h, l, c, v, mask` (G, A) from bars ``starts[g]:stops[g]``; an absent field has size 0."""
    opens, highs, lows, volumes = open_.size > 0, high.size > 0, low.size > 0, volume.size > 0
    for g in range(len(starts)):
        for i in range(close.shape[1]):
            c[g, i] = np.nan
            if opens:
                o[g, i] = np.nan
            if highs:
                h[g, i] = np.nan
            if lows:
                l[g, i] = np.nan
            if volumes:
                v[g, i] = np.nan
        for t in range(starts[g], stops[g]):
            for i in range(close.shape[1]):
                if not np.isnan(close[t, i]):
                    c[g, i] = close[t, i]
                if opens and not np.isnan(open_[t, i]) and (np.isnan(o[g, i]) or (tradable[t, i] and not mask[g, i])):
                    o[g, i] = open_[t, i]
                # Without a high or low, use open and close.
                if highs:
                    top = high[t, i]
                    if np.isnan(top):
                        top = np.fmax(close[t, i], open_[t, i]) if opens else close[t, i]
                    h[g, i] = np.fmax(h[g, i], top)
                if lows:
                    bottom = low[t, i]
                    if np.isnan(bottom):
                        bottom = np.fmin(close[t, i], open_[t, i]) if opens else close[t, i]
                    l[g, i] = np.fmin(l[g, i], bottom)
                if volumes and not np.isnan(volume[t, i]):
                    v[g, i] = volume[t, i] if np.isnan(v[g, i]) else v[g, i] + volume[t, i]
                if tradable[t, i]:
                    mask[g, i] = True
