"""``yfinance:SPY,QQQ``: daily bars of Yahoo, labelled by their date.

Each request covers the whole span of one symbol: prices are back-adjusted, so parts downloaded on different days would not
match. Today's session is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd

from markets.bars.time_spans import Span
from markets.data.cache import Series
from markets.data.vendors import base

DAY = 86_400_000  # milliseconds
PAUSE = 0.5  # seconds between two requests; Yahoo does not publish its rate limit


class Yfinance(base.Vendor):
    """Yahoo, through the library yfinance."""

    name = "yfinance"
    form = "yfinance:SPY,QQQ"

    def _parse(self, rest: str) -> list[str]:
        return [symbol.strip() for symbol in rest.split(",")]

    def rows(self, symbol: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
        """Daily bars with raw and adjusted closes, indexed by date."""
        first, last = (base.milliseconds(bound) for bound in (span.first, span.last))
        today = base.now() // DAY * DAY  # by UTC midnight, yesterday's session has ended everywhere
        since, until = (0 if first is None else first // DAY * DAY), today if last is None else min(last + 1, today)
        series = Series.of("yfinance", symbol)
        if series.missing(since, until):
            ends = [(since, until), *series.stretches()]
            since, until = min(a for a, _ in ends), max(b for _, b in ends)
            answer = base.patiently("yfinance", ask, symbol, since, until)
            series.replace(since, until, answer[answer["time"].between(since, until, inclusive="left")])
            time.sleep(PAUSE)
        done(1.0)
        return base.by_time(series.read(since, until), None)


def ask(symbol: str, since: int, until: int) -> pd.DataFrame:
    """Request the days of [since, until) from Yahoo; needs the network.

    Returns
    -------
    DataFrame
        Columns time (of the day, in milliseconds), open, high, low, close, adj close, volume; empty if there is no such
        symbol.

    Raises
    ------
    Busy
        When Yahoo limits the rate or does not respond.
    """
    yfinance = base.library("yfinance")
    hidden, yfinance.config.debug.hide_exceptions = yfinance.config.debug.hide_exceptions, False
    days = (pd.Timestamp(moment, unit="ms").strftime("%Y-%m-%d") for moment in (since, until))
    try:
        ticker = yfinance.Ticker(symbol)
        frame = ticker.history(interval="1d", start=next(days), end=next(days), auto_adjust=False, actions=False)
    except yfinance.exceptions.YFTickerMissingError:
        frame = pd.DataFrame()
    except Exception as error:  # yfinance passes on errors of several network libraries
        raise base.Busy(str(error)) from error
    finally:
        yfinance.config.debug.hide_exceptions = hidden
    if frame.empty:
        return pd.DataFrame({"time": pd.Series(dtype="int64")})
    frame = frame.rename(columns=str.lower)
    frame.insert(0, "time", frame.index.tz_localize(None).normalize().as_unit("ms").asi8)
    return frame.reset_index(drop=True)
