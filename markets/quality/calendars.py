"""Comparison of bar times with the trading sessions of an exchange, which is guessed unless given.

The calendars are those of the library exchange-calendars (holidays, early closes, unscheduled closures such as 11 to 14
September 2001), and for New York in the 1960s also `markets.data.nyse`. ``"24/7"`` and ``"24/5"`` stand for every day and every
weekday, from midnight to midnight UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from textwrap import shorten

import numpy as np
import pandas as pd

from markets.bars.resampling import localized
from markets.common.errors import InputError
from markets.data.nyse import nyse_holidays
from markets.quality.findings import Finding, listed, when

DAY = pd.Timedelta(days=1)
SET = "set it with --calendar or check(..., calendar=)"


@dataclass(frozen=True)
class Sessions:
    """Trading days and hours of an exchange.

    Attributes
    ----------
    name : str
    zone : str
    days : DatetimeIndex of shape (S,)
        Dates, without a time zone.
    opens, closes : DatetimeIndex of shape (S,)
        In UTC.
    trading : ndarray of shape (S,)
        Trading time of each session in seconds, without breaks.
    """

    name: str
    zone: str
    days: pd.DatetimeIndex
    opens: pd.DatetimeIndex
    closes: pd.DatetimeIndex
    trading: np.ndarray


@lru_cache(maxsize=8)
def sessions(name: str, first: pd.Timestamp, last: pd.Timestamp) -> Sessions:
    """Sessions of a calendar between two dates, both included.

    Parameters
    ----------
    name : str
        ``"24/7"``, ``"24/5"``, or the market identifier code of an exchange: ``"XNYS"``, ``"XLON"``, ``"XTKS"``.
    first, last : Timestamp
        Dates without a time zone.

    Raises
    ------
    InputError
        When the calendar is unknown or does not cover these dates.
    """
    if name in ("24/7", "24/5"):
        days = pd.date_range(first, last, freq="D")
        days = days if name == "24/7" else days[days.day_of_week < 5]
        opens = days.tz_localize("UTC")
        return Sessions(name, "UTC", days, opens, opens + DAY, np.full(len(days), 86400.0))
    import exchange_calendars

    try:
        # A week more at either end, because exchange-calendars needs at least one session in the span.
        calendar = exchange_calendars.get_calendar(name, start=first - 7 * DAY, end=last + 7 * DAY)
    except exchange_calendars.errors.InvalidCalendarName:
        raise InputError(
            f"calendar {name!r} is unknown; use 24/7, 24/5 or an exchange code such as XNYS, XLON or XTKS"
        ) from None
    except ValueError as error:
        why = shorten(str(error), 150)
        raise InputError(f"calendar {name!r} is not available from {when(first)} to {when(last)}: {why}") from None
    table = calendar.schedule.loc[first:last]
    if name == "XNYS":
        table = table[~table.index.isin(nyse_holidays(first, last))]
    rest = (table["break_end"] - table["break_start"]).fillna(pd.Timedelta(0))
    trading = (table["close"] - table["open"] - rest).dt.total_seconds().to_numpy()
    return Sessions(
        name,
        str(calendar.tz),
        pd.DatetimeIndex(table.index),
        pd.DatetimeIndex(table["open"]),
        pd.DatetimeIndex(table["close"]),
        trading,
    )


def check_index(
    index: pd.DatetimeIndex, calendar: str | None
) -> tuple[list[Finding], dict[str, str], pd.DatetimeIndex]:
    """Compare bar times with a calendar.

    Parameters
    ----------
    index : DatetimeIndex of shape (T,)
    calendar : str or None
        See `sessions`. With None the calendar is guessed if the bars make it clear.

    Returns
    -------
    findings : list of Finding
    facts : dict of str to str
        ``spacing``, ``times`` and ``calendar``, in words.
    missing : DatetimeIndex
        Sessions without a bar, as dates without a time zone.
    """
    steps = index[1:] - index[:-1]
    step = pd.Timedelta(steps.to_series().median()) if len(steps) else DAY
    zone = f"time zone {index.tz}" if index.tz is not None else "no time zone"
    none = pd.DatetimeIndex([])
    if step > 4 * DAY:
        facts = {"spacing": f"about {step / DAY:.0f} days", "times": zone}
        return [], facts | {"calendar": "not checked: a bar is longer than a session"}, none
    if step >= pd.Timedelta(hours=20):
        return _check_days(index, calendar, zone)
    regular = float((steps == step).mean())
    spacing = str(step).removeprefix("0 days ") + ("" if regular > 0.5 else ", irregular")
    return _check_hours(index, calendar, step, regular > 0.5, {"spacing": spacing, "times": zone})


# ---------------------------------------------------------------------- days


def _check_days(
    index: pd.DatetimeIndex, calendar: str | None, zone: str
) -> tuple[list[Finding], dict[str, str], pd.DatetimeIndex]:
    local = index.tz_localize(None)
    why = "as asked"
    if calendar is None:
        calendar, why = guess_days(local.normalize())
    at = sessions(calendar, *_reach(local)) if calendar else None
    midnight = bool((local == local.normalize()).all())
    if at is not None and index.tz is not None and not midnight:
        local = index.tz_convert(at.zone).tz_localize(None)
    dates = local.normalize()
    findings, times = _stamps(index, local, at)
    findings += shifted("(all)", index, dates, at)
    facts = {"spacing": "daily", "times": f"{zone}, {times}"}
    if at is None:
        return findings, facts | {"calendar": why}, pd.DatetimeIndex([])
    days = at.days[(at.days >= dates[0]) & (at.days <= dates[-1])]
    extra = ~dates.isin(days)
    missing = days[~days.isin(dates)]
    if len(missing):
        findings.append(_missing(missing, days, index, dates, at.name))
    if extra.any():
        rows = np.flatnonzero(extra)
        detail = f"{at.name} was closed on {listed(dates[extra])}"
        findings.append(_finding("extra session", "warning", index, rows, detail))
    agreed = len(days) - len(missing)
    facts["calendar"] = f"{at.name}, {why}; bars on {agreed:,} of {len(days):,} sessions"
    return findings, facts, missing


def guess_days(dates: pd.DatetimeIndex) -> tuple[str | None, str]:
    """Guess the calendar of daily bars; returns the calendar, or None if unclear, and the reason.

    Bars at weekends mean ``24/7``. Otherwise bars on New York's weekday holidays mean ``24/5``, and none on them ``XNYS``.
    """
    every = pd.date_range(dates[0], dates[-1], freq="D")
    weekend = every[every.day_of_week >= 5]
    share = float(weekend.isin(dates).mean()) if len(weekend) else 0.0
    if share >= 0.8:
        return "24/7", f"guessed: bars on {share:.0%} of the weekend days"
    if share > 0.02 and weekend.isin(dates).sum() > 2:
        return None, f"not guessed: bars on {share:.0%} of the weekend days; {SET}"
    weekdays = every[every.day_of_week < 5]
    holidays = weekdays[~weekdays.isin(sessions("XNYS", *_reach(dates)).days)]
    if len(holidays) < 3:
        return "XNYS", "by default: too few holidays to guess"
    share = float(holidays.isin(dates).mean())
    if share <= 0.2:
        return "XNYS", f"guessed: no bars on {1 - share:.0%} of its {len(holidays):,} holidays"
    if share >= 0.8:
        return "24/5", f"guessed: bars on {share:.0%} of New York's {len(holidays):,} holidays, none at weekends"
    return None, f"not guessed: bars on {share:.0%} of New York's holidays; {SET}"


def _reach(local: pd.DatetimeIndex) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last date for `sessions`, with a margin for differing time zones and for weekends without sessions."""
    return local[0].normalize() - 7 * DAY, local[-1].normalize() + 7 * DAY


def _stamps(index: pd.DatetimeIndex, local: pd.DatetimeIndex, at: Sessions | None) -> tuple[list[Finding], str]:
    """Findings on the time of day of daily bars, and a description of the usual one."""
    clock = local - local.normalize()
    counts = clock.value_counts()
    usual = [pd.Timedelta(counts.index[0])]
    # Without daylight saving time in the time zone, an exchange's close is at two different hours of the day.
    if (
        len(counts) > 1
        and abs(counts.index[1] - counts.index[0]) == pd.Timedelta(hours=1)
        and counts.iloc[1] > 0.2 * len(index)
    ):
        usual.append(pd.Timedelta(counts.index[1]))
    odd = ~clock.isin(usual)
    if at is not None:  # early closes, in the exchange's time zone or in UTC
        odd &= ~local.isin(at.closes.tz_convert(at.zone).tz_localize(None)) & ~local.isin(at.closes.tz_localize(None))
    name = " and ".join(str(t).removeprefix("0 days ")[:5] for t in usual)
    midnight = usual == [pd.Timedelta(0)]
    words = "dates, known at the close of that day" if midnight else f"stamped at {name}"
    findings = []
    if odd.any():
        rows = np.flatnonzero(odd)
        tail = "; the last bar may be unfinished" if rows[-1] == len(index) - 1 else ""
        detail = f"not at {name} like the others: {listed(local[odd])}{tail}"
        findings.append(_finding("bar time", "warning", index, rows, detail))
    twice = np.flatnonzero(local.normalize()[1:] == local.normalize()[:-1]) + 1
    if len(twice):
        detail = f"a second bar on the same day: {listed(local[twice])}"
        findings.append(_finding("bar time", "warning", index, twice, detail))
    return findings, words


def shifted(symbol: str, index: pd.DatetimeIndex, dates: pd.DatetimeIndex, at: Sessions | None = None) -> list[Finding]:
    """Finding if daily bars have the dates of a market's sessions, but a day off.

    Without a calendar, bars on Sundays and none on Fridays, or bars on Saturdays and none on Mondays, show it.

    Parameters
    ----------
    symbol : str
    index : DatetimeIndex of shape (T,)
    dates : DatetimeIndex of shape (T,)
        The date of each bar, without a time zone.
    at : Sessions, optional
    """
    every = pd.date_range(dates[0], dates[-1], freq="D")
    if len(every) < 21:
        return []
    share = [float(every[every.day_of_week == k].isin(dates).mean()) for k in range(7)]  # Monday is 0
    for days, word, remedy in ((1, "early", "add"), (-1, "late", "subtract")):
        there, missing = ((6, 0), (4, 5)) if days == 1 else ((5, 4), (0, 6))
        off = min(share[k] for k in there) > 0.7 and max(share[k] for k in missing) < 0.1
        if at is not None:
            off = (dates + days * DAY).isin(at.days).mean() > 0.97 and dates.isin(at.days).mean() < 0.9
        if off:
            week = "bars on Sundays and none on Fridays" if days == 1 else "bars on Saturdays and none on Mondays"
            detail = (
                f"the dates seem to be a day {word}: {week}; {remedy} a day, or convert times to the zone of the market. If "
                "the market does trade on these days, name its calendar, such as XSAU"
            )
            rows = np.array([0, len(index) - 1])
            return [replace(_finding("date shift", "warning", index, rows, detail, len(index)), symbol=symbol)]
    return []


def _missing(
    missing: pd.DatetimeIndex, days: pd.DatetimeIndex, index: pd.DatetimeIndex, dates: pd.DatetimeIndex, name: str
) -> Finding:
    """Finding of sessions without a bar; its rows are the bars on either side."""
    place = days.searchsorted(missing)
    run = np.concatenate([[True], np.diff(place) > 1])
    lengths = np.diff(np.append(np.flatnonzero(run), len(run)))
    first = missing[run][int(np.argmax(lengths))]
    after = np.minimum(dates.searchsorted(missing[run]), len(index) - 1)
    rows = np.column_stack([np.maximum(after - 1, 0), after])
    longest_run = f", the longest gap {lengths.max():,} from {when(first)}" if lengths.max() > 1 else ""
    detail = f"{name} was open on {listed(missing)}{longest_run}"
    severity = "error" if 2 * len(missing) > len(days) else "warning"
    stamps = missing if index.tz is None else localized(missing, index.tz)
    return Finding("(all)", "missing session", severity, stamps[0], stamps[-1], len(missing), detail, rows)


def _finding(
    kind: str, severity: str, index: pd.DatetimeIndex, rows: np.ndarray, detail: str, count: int = 0
) -> Finding:
    spans = np.column_stack([rows, rows])
    return Finding("(all)", kind, severity, index[rows[0]], index[rows[-1]], count or len(rows), detail, spans)


# ---------------------------------------------------------------------- hours


def _check_hours(
    index: pd.DatetimeIndex, calendar: str | None, step: pd.Timedelta, regular: bool, facts: dict[str, str]
) -> tuple[list[Finding], dict[str, str], pd.DatetimeIndex]:
    at, utc, why = _fit_hours(index, calendar)
    if at is None:
        facts["calendar"] = why
        return [], facts, pd.DatetimeIndex([])
    number, inside = _session_of(utc, at)
    findings = []
    have = np.bincount(number[inside], minlength=len(at.days))
    seen = np.arange(len(at.days)) >= (number[inside][0] if inside.any() else 0)
    seen &= np.arange(len(at.days)) <= (number[inside][-1] if inside.any() else -1)
    missing = at.days[seen & (have == 0)]
    if len(missing):
        dates = pd.DatetimeIndex(at.days[np.clip(number, 0, None)])
        findings.append(_missing(missing, at.days[seen], index, dates, at.name))
    # The first and the last session may be cut by the data, so they are not checked.
    whole = seen & (have > 0)
    whole[np.flatnonzero(whole)[[0, -1]] if whole.any() else []] = False
    short = np.where(whole, np.floor(at.trading / step.total_seconds()) - have, 0.0)
    if regular and (short >= 1).any():
        rows = np.flatnonzero(inside & (short[np.clip(number, 0, None)] >= 1))
        worst = int(np.argmax(short))
        most = f"{short[worst]:.0f} of {short[worst] + have[worst]:.0f} on {when(at.days[worst])}"
        count = int(short[short >= 1].sum())
        detail = f"in {(short >= 1).sum():,} sessions; at most {most}"
        findings.append(_finding("missing bars", "warning", index, rows, detail, count))
    if not inside.all():
        rows = np.flatnonzero(~inside)
        share = len(rows) / len(index)
        what = "another zone or another calendar?" if share > 0.5 else "trading before or after hours?"
        detail = f"{share:.1%} of the bars are outside {at.name}'s hours: {listed(index[rows])}; {what}"
        findings.append(_finding("off hours", "warning" if share > 0.5 else "note", index, rows, detail))
    stamped = _stamped(utc, number, inside, at, whole)
    if stamped == "start":
        detail = (
            f"bars seem to be stamped at their start: the first of a session at its open, none at its close. Add {step} "
            "to the times, otherwise every value is used one bar too early"
        )
        findings.append(_finding("bar time", "warning", index, np.array([0, len(index) - 1]), detail, len(index)))
    facts["times"] += {"start": ", stamped at their start", "end": ", stamped at their end"}.get(
        stamped, ", stamped at their start or end, which is unclear from the times; they should be the ends"
    )
    facts["calendar"] = f"{at.name}, {why}; bars in {(have > 0).sum():,} of {seen.sum():,} sessions"
    return findings, facts, missing


def _fit_hours(index: pd.DatetimeIndex, calendar: str | None) -> tuple[Sessions | None, pd.DatetimeIndex, str]:
    """Sessions to compare with, bar times in UTC, and how both were determined."""
    local = index.tz_localize(None).normalize()
    every = pd.date_range(local[0], local[-1], freq="D")
    weekend = every[every.day_of_week >= 5]
    days = local.unique()
    if calendar is None and len(weekend) and weekend.isin(days).mean() >= 0.8:
        return sessions("24/7", *_reach(local)), _utc(index, "UTC"), "guessed: bars at weekends"
    at = sessions(calendar or "XNYS", *_reach(local))
    zones = [at.zone] if index.tz is not None else [at.zone, "UTC"]
    fits = [float(_session_of(_utc(index, zone), at)[1].mean()) for zone in zones]
    best = int(np.argmax(fits))
    read = "" if index.tz is not None else f", times without a zone read as {zones[best]}"
    if calendar is not None:
        return at, _utc(index, zones[best]), f"as asked{read}"
    if fits[best] >= 0.98:
        return at, _utc(index, zones[best]), f"guessed: {fits[best]:.1%} of the bars in its hours{read}"
    why = f"not guessed: {fits[best]:.0%} of the bars in New York's hours, none at weekends; {SET}"
    return None, index, why


def _utc(index: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    if index.tz is None:
        index = localized(index, zone)
    return index.tz_convert("UTC")


def _session_of(utc: pd.DatetimeIndex, at: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """Number of the last session opened by each time, and whether the time is within that session."""
    number = at.opens.searchsorted(utc, side="right") - 1
    return number, (number >= 0) & (utc <= at.closes[np.clip(number, 0, None)])


def _stamped(utc: pd.DatetimeIndex, number: np.ndarray, inside: np.ndarray, at: Sessions, whole: np.ndarray) -> str:
    """Whether bars are stamped at their "start" or "end"; "" if unclear, or without breaks between sessions."""
    if at.name in ("24/7", "24/5") or whole.sum() < 3:
        return ""
    opened, closed = np.zeros(len(at.days), dtype=bool), np.zeros(len(at.days), dtype=bool)
    opened[number[inside & (utc == at.opens[np.clip(number, 0, None)])]] = True
    closed[number[inside & (utc == at.closes[np.clip(number, 0, None)])]] = True
    at_open, at_close = opened[whole].mean(), closed[whole].mean()
    if at_open > 0.8 and at_close < 0.2:
        return "start"
    return "end" if at_close > 0.8 and at_open < 0.2 else ""
