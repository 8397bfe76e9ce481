"""``ccxt:binance:BTC/USDT:1h``: bars of an exchange, of which the time is their *end*, in UTC.

A bar is known at its time and not before; the last one is left out until it is closed. An answer is a page of some hundred bars
at most.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pandas as pd

from markets.common.errors import InputError
from markets.data.cache import Series
from markets.data.time_spans import Span
from markets.data.vendors import base

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}  # milliseconds
PAGE = 1000  # bars that are asked for at once; an exchange may answer with fewer
SMALLEST_PAGE = 100  # bars to go on by after an empty answer: it may have been about no more
EARLIEST = pd.Timestamp("2017-01-01")  # where exchanges are asked from, unless `start` says otherwise


class Ccxt(base.Vendor):
    """An exchange, through the library ccxt, which keeps each exchange's own limit of questions."""

    name = "ccxt"
    form = "ccxt:binance:BTC/USDT:1h"

    def _parse(self, rest: str) -> list[str]:
        self.exchange, _, named = rest.partition(":")
        named, _, self.timeframe = named.rpartition(":")
        if not named or not re.fullmatch(r"[1-9]\d*[smhdw]", self.timeframe):
            raise InputError(
                f"{f'ccxt:{rest}'!r} is no source; write {self.form}, with a timeframe such as 1m, 1h, 1d or 1w"
            )
        return [symbol.strip() for symbol in named.split(",")]

    def rows(self, symbol: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
        """Bars by the time that they end; a span without an offset is meant in UTC."""
        exchange, timeframe = self.exchange, self.timeframe
        length = int(timeframe[:-1]) * UNITS[timeframe[-1]]
        first, last = base.milliseconds(span.first or EARLIEST), base.milliseconds(span.last)
        assert first is not None
        closed = base.now() - length + 1  # bars that open before have ended
        since, until = first - length, closed if last is None else min(last - length + 1, closed)
        series = Series.of("ccxt", exchange, symbol, timeframe)
        while missing := series.missing(since, until):
            begin, _ = missing
            done((begin - since) / (until - since))
            page = base.patiently(exchange, ask, exchange, symbol, timeframe, begin, PAGE)
            page = page[page["time"] >= begin]
            # What an answer covers ends after its last bar, be it past the span; an empty one says little.
            covered = int(page["time"].iloc[-1]) + length if len(page) else begin + SMALLEST_PAGE * length
            series.keep(begin, min(covered, closed), page[page["time"] < closed])
        done(1.0)
        rows = series.read(since, until)
        if len(rows) and span.first is not None and rows["time"].iloc[0] > since + PAGE * length:
            begins = pd.Timestamp(rows["time"].iloc[0] + length, unit="ms")
            warnings.warn(
                f"{exchange} has no bars of {symbol} before {begins}, though {span.first} was asked for", stacklevel=4
            )
        return base.by_time(rows.assign(time=rows["time"] + length), "UTC")


@lru_cache
def _exchange(name: str) -> Any:
    ccxt = base.library("ccxt")
    if name not in ccxt.exchanges:
        close = difflib.get_close_matches(name, ccxt.exchanges)
        raise InputError(f"ccxt knows no exchange {name!r}" + (f"; is it {' or '.join(close)}?" if close else ""))
    return getattr(ccxt, name)({"enableRateLimit": True})


def ask(exchange: str, symbol: str, timeframe: str, since: int, limit: int) -> pd.DataFrame:
    """Ask an exchange for a page of bars that open at `since` or later; this talks to the network.

    Returns
    -------
    DataFrame
        Columns time (milliseconds at which a bar opens), open, high, low, close, volume; sorted.

    Raises
    ------
    Busy
        If the exchange limits the rate, or does not answer.
    InputError
        If it does not know the symbol or the timeframe, or refuses.
    """
    ccxt, asked = base.library("ccxt"), _exchange(exchange)
    if timeframe not in (asked.timeframes or {timeframe: ""}):
        raise InputError(f"{exchange} has no bars of {timeframe}; it has {', '.join(asked.timeframes)}")
    try:
        rows = asked.fetch_ohlcv(symbol, timeframe, since=since, limit=limit)
    except ccxt.NetworkError as error:
        raise base.Busy(str(error)) from error
    except ccxt.BadSymbol:
        raise InputError(f"{exchange} has no symbol {symbol!r}; ccxt writes them as BTC/USDT") from None
    except ccxt.BaseError as error:
        raise InputError(f"{exchange} refuses {symbol} {timeframe}: {error}") from None
    frame = pd.DataFrame(rows, columns=["time", "open", "high", "low", "close", "volume"]).astype({"time": "int64"})
    return frame.sort_values("time", ignore_index=True)
