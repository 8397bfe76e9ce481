"""``ccxt:binance:BTC/USDT:1h``: bars of a crypto exchange, labelled by their *end*, in UTC.

A bar is known at its time, not before; a bar that has not ended yet is left out. Exchanges return a page of up to several
hundred bars per request.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pandas as pd

from markets.bars.time_spans import Span
from markets.common.errors import InputError
from markets.data.cache import Series
from markets.data.vendors import base

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}  # milliseconds
PAGE = 1000  # bars per request; an exchange may return fewer
SMALLEST_PAGE = 100  # bars to skip after an empty response, which may have covered no more than that
EARLIEST = pd.Timestamp("2017-01-01")  # default start


class Ccxt(base.Vendor):
    """An exchange, through the library ccxt, which respects the rate limit of each exchange."""

    name = "ccxt"
    form = "ccxt:binance:BTC/USDT:1h"

    def _parse(self, rest: str) -> list[str]:
        self.exchange, _, named = rest.partition(":")
        named, _, self.timeframe = named.rpartition(":")
        if not named or not re.fullmatch(r"[1-9]\d*[smhdw]", self.timeframe):
            raise InputError(
                f"{f'ccxt:{rest}'!r} is not a source; write {self.form}, with a timeframe such as 1m, 1h, 1d or 1w"
            )
        return [symbol.strip() for symbol in named.split(",")]

    def rows(self, symbol: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
        """Bars indexed by the time at which they end; a span without an offset is taken as UTC."""
        exchange, timeframe = self.exchange, self.timeframe
        length = int(timeframe[:-1]) * UNITS[timeframe[-1]]
        first, last = base.milliseconds(span.first or EARLIEST), base.milliseconds(span.last)
        assert first is not None
        closed = base.now() - length + 1  # bars that open before this time have ended
        since, until = first - length, closed if last is None else min(last - length + 1, closed)
        series = Series.of("ccxt", exchange, symbol, timeframe)
        while missing := series.missing(since, until):
            begin, _ = missing
            done((begin - since) / (until - since))
            page = base.patiently(exchange, ask, exchange, symbol, timeframe, begin, PAGE)
            page = page[page["time"] >= begin]
            # A response covers the time up to the end of its last bar; an empty one covers only a short interval.
            covered = int(page["time"].iloc[-1]) + length if len(page) else begin + SMALLEST_PAGE * length
            series.keep(begin, min(covered, closed), page[page["time"] < closed])
        done(1.0)
        rows = series.read(since, until)
        if len(rows) and span.first is not None and rows["time"].iloc[0] > since + PAGE * length:
            begins = pd.Timestamp(rows["time"].iloc[0] + length, unit="ms")
            warnings.warn(
                f"{exchange} has no bars of {symbol} before {begins}, but {span.first} was requested", stacklevel=4
            )
        return base.by_time(rows.assign(time=rows["time"] + length), "UTC")


@lru_cache
def _exchange(name: str) -> Any:
    ccxt = base.library("ccxt")
    if name not in ccxt.exchanges:
        close = difflib.get_close_matches(name, ccxt.exchanges)
        raise InputError(f"ccxt has no exchange {name!r}" + (f"; is it {' or '.join(close)}?" if close else ""))
    return getattr(ccxt, name)({"enableRateLimit": True})


def ask(exchange: str, symbol: str, timeframe: str, since: int, limit: int) -> pd.DataFrame:
    """Request a page of bars that open at `since` or later from an exchange; needs the network.

    Returns
    -------
    DataFrame
        Columns time (of a bar's open, in milliseconds), open, high, low, close, volume; sorted by time.

    Raises
    ------
    Busy
        When the exchange limits the rate or does not respond.
    InputError
        When the exchange does not have the symbol or the timeframe, or refuses the request.
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
