"""yfinance and ccxt as sources, through a cache that makes every download resumable.

``yfinance:SPY,QQQ`` is daily bars, of which the time is the day. ``ccxt:binance:BTC/USDT:1h`` is bars of an exchange, of which
the time is their *end*, in UTC, since a bar is known at its time and not before. The last bar is left out until it is closed.

An answer of yfinance is about one symbol and its whole span: prices are adjusted backwards, so that stretches from different
days do not fit together. An answer of an exchange is a page of some hundred bars at most. Each is stored as it arrives. A vendor
that is busy is asked again after 1, 2, 4, 8 and 16 seconds.
"""

from __future__ import annotations

import difflib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from importlib import import_module
from typing import Any

import pandas as pd

from markets.common.errors import InputError
from markets.data.cache import Series
from markets.data.tables import Table, joined, read_table
from markets.data.time_spans import Span

FORMS = "yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h"
DAY = 86_400_000  # milliseconds
UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY, "w": 7 * DAY}
WAITS = (1, 2, 4, 8, 16)  # seconds before a busy vendor is asked again
PAUSE = 0.5  # seconds between two questions to Yahoo, which states no limit; ccxt keeps each exchange's own
PAGE = 1000  # bars that are asked for at once; an exchange may answer with fewer
SMALLEST_PAGE = 100  # bars to go on by after an empty answer: it may have been about no more
EARLIEST = pd.Timestamp("2017-01-01")  # where exchanges are asked from, unless `start` says otherwise
PATIENCE = 2.0  # seconds after which progress is shown


class Busy(Exception):
    """The vendor did not answer now; it may later."""


def is_vendor(source: str) -> bool:
    """Whether a source is named in the way of a vendor's."""
    return source.startswith(("yfinance:", "ccxt:"))


def fetch(source: str, span: Span, symbols: Sequence[str] | None) -> Table:
    """Read a vendor's bars from the cache, after asking for those that are missing.

    Parameters
    ----------
    source : str
        ``yfinance:SYMBOL,...`` or ``ccxt:EXCHANGE:SYMBOL,...:TIMEFRAME``.
    span : Span
        Without an offset, it is meant in UTC for ccxt.
    symbols : sequence of str, optional
        Those of the source's symbols to ask for.

    Raises
    ------
    InputError
        If the source cannot be read, the vendor has nothing of a symbol, does not answer, or its library is not installed.
    """
    vendor, _, rest = source.partition(":")
    exchange = timeframe = ""
    if vendor == "ccxt":
        exchange, _, rest = rest.partition(":")
        rest, _, timeframe = rest.rpartition(":")
        if not rest or not re.fullmatch(r"[1-9]\d*[smhdw]", timeframe):
            raise InputError(f"{source!r} is no source; write {FORMS}, with a timeframe such as 1m, 1h, 1d or 1w")
    named = [name.strip() for name in rest.split(",")]
    if not all(named) or len(set(named)) < len(named):
        raise InputError(f"{source!r} is no source, or names a symbol twice; write {FORMS}")
    for symbol in symbols or ():
        if symbol not in named:
            raise InputError(f"there is no symbol {symbol!r} in {source}; there are {', '.join(named)}")
    tables, empty = {}, []
    wanted = symbols or named
    with _progress(source, len(wanted)) as step:
        for i, symbol in enumerate(wanted):
            done = partial(step, i, symbol)
            rows = (
                _yahoo(symbol, span, done) if vendor == "yfinance" else _pages(exchange, symbol, timeframe, span, done)
            )
            if len(rows):
                tables[f"{vendor}:{symbol}"] = read_table(rows, symbol, "row {}".format)
            else:
                empty.append(symbol)
    if empty:
        raise InputError(f"{source}: no bars {span} of {', '.join(empty)}; check the symbol, or leave it out")
    return joined(tables)


# ---------------------------------------------------------------------- yfinance


def _yahoo(symbol: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
    """Daily bars of one symbol, raw and adjusted closes, by day."""
    first, last = (_milliseconds(bound) for bound in (span.first, span.last))
    today = _now() // DAY * DAY  # a session of yesterday has ended, wherever it was
    since, until = (0 if first is None else first // DAY * DAY), today if last is None else min(last + 1, today)
    series = Series.of("yfinance", symbol)
    if series.missing(since, until):
        ends = [(since, until), *series.stretches()]
        since, until = min(a for a, _ in ends), max(b for _, b in ends)
        answer = _patiently("yfinance", ask_yahoo, symbol, since, until)
        series.replace(since, until, answer[answer["time"].between(since, until, inclusive="left")])
        time.sleep(PAUSE)
    done(1.0)
    return _by_time(series.read(since, until), None)


def ask_yahoo(symbol: str, since: int, until: int) -> pd.DataFrame:
    """Ask Yahoo for the days of [since, until); this talks to the network.

    Returns
    -------
    DataFrame
        Columns time (milliseconds of the day), open, high, low, close, adj close, volume; empty where there is no such symbol.

    Raises
    ------
    Busy
        If Yahoo limits the rate, or does not answer.
    """
    yfinance = _library("yfinance")
    hidden, yfinance.config.debug.hide_exceptions = yfinance.config.debug.hide_exceptions, False
    days = (pd.Timestamp(moment, unit="ms").strftime("%Y-%m-%d") for moment in (since, until))
    try:
        ticker = yfinance.Ticker(symbol)
        frame = ticker.history(interval="1d", start=next(days), end=next(days), auto_adjust=False, actions=False)
    except yfinance.exceptions.YFTickerMissingError:
        frame = pd.DataFrame()
    except Exception as error:  # yfinance lets errors of several network libraries through
        raise Busy(str(error)) from error
    finally:
        yfinance.config.debug.hide_exceptions = hidden
    if frame.empty:
        return pd.DataFrame({"time": pd.Series(dtype="int64")})
    frame = frame.rename(columns=str.lower)
    frame.insert(0, "time", frame.index.tz_localize(None).normalize().as_unit("ms").asi8)
    return frame.reset_index(drop=True)


# ---------------------------------------------------------------------- ccxt


def _pages(exchange: str, symbol: str, timeframe: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
    """Bars of one symbol of an exchange, by the time that they end."""
    length = int(timeframe[:-1]) * UNITS[timeframe[-1]]
    first, last = _milliseconds(span.first or EARLIEST), _milliseconds(span.last)
    assert first is not None
    closed = _now() - length + 1  # bars that open before have ended
    since, until = first - length, closed if last is None else min(last - length + 1, closed)
    series = Series.of("ccxt", exchange, symbol, timeframe)
    while missing := series.missing(since, until):
        begin, _ = missing
        done((begin - since) / (until - since))
        page = _patiently(exchange, ask_exchange, exchange, symbol, timeframe, begin, PAGE)
        page = page[page["time"] >= begin]
        # What an answer covers ends after its last bar, be it past the span; an empty one says little.
        covered = int(page["time"].iloc[-1]) + length if len(page) else begin + SMALLEST_PAGE * length
        series.keep(begin, min(covered, closed), page[page["time"] < closed])
    done(1.0)
    rows = series.read(since, until)
    if len(rows) and span.first is not None and rows["time"].iloc[0] > since + PAGE * length:
        begins = pd.Timestamp(rows["time"].iloc[0] + length, unit="ms")
        warnings.warn(
            f"{exchange} has no bars of {symbol} before {begins}, though {span.first} was asked for", stacklevel=5
        )
    return _by_time(rows.assign(time=rows["time"] + length), "UTC")


@lru_cache
def _exchange(name: str) -> Any:
    ccxt = _library("ccxt")
    if name not in ccxt.exchanges:
        close = difflib.get_close_matches(name, ccxt.exchanges)
        raise InputError(f"ccxt knows no exchange {name!r}" + (f"; is it {' or '.join(close)}?" if close else ""))
    return getattr(ccxt, name)({"enableRateLimit": True})


def ask_exchange(exchange: str, symbol: str, timeframe: str, since: int, limit: int) -> pd.DataFrame:
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
    ccxt, asked = _library("ccxt"), _exchange(exchange)
    if timeframe not in (asked.timeframes or {timeframe: ""}):
        raise InputError(f"{exchange} has no bars of {timeframe}; it has {', '.join(asked.timeframes)}")
    try:
        rows = asked.fetch_ohlcv(symbol, timeframe, since=since, limit=limit)
    except ccxt.NetworkError as error:
        raise Busy(str(error)) from error
    except ccxt.BadSymbol:
        raise InputError(f"{exchange} has no symbol {symbol!r}; ccxt writes them as BTC/USDT") from None
    except ccxt.BaseError as error:
        raise InputError(f"{exchange} refuses {symbol} {timeframe}: {error}") from None
    frame = pd.DataFrame(rows, columns=["time", "open", "high", "low", "close", "volume"]).astype({"time": "int64"})
    return frame.sort_values("time", ignore_index=True)


# ---------------------------------------------------------------------- both


def _patiently(vendor: str, ask: Callable[..., pd.DataFrame], *question: object) -> pd.DataFrame:
    """Ask, and while the vendor is busy, ask again later."""
    for wait in (*WAITS, None):
        try:
            return ask(*question)
        except Busy as busy:
            if wait is None:
                raise InputError(
                    f"{vendor} does not answer ({str(busy).splitlines()[0] if str(busy) else 'no reason given'}); what has "
                    "arrived is kept, so load again later to go on"
                ) from None
            time.sleep(wait)
    raise AssertionError("the last wait is None")


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"{name} is not installed: pip install 'regimeshift[vendors]'") from None


def _now() -> int:
    return time.time_ns() // 1_000_000


def _milliseconds(moment: pd.Timestamp | None) -> int | None:
    """Milliseconds since 1970; naive times as UTC."""
    return None if moment is None else int(moment.timestamp() * 1000 // 1)


def _by_time(rows: pd.DataFrame, zone: str | None) -> pd.DataFrame:
    index = pd.DatetimeIndex(pd.to_datetime(rows["time"], unit="ms"), name="date").tz_localize(zone)
    return rows.drop(columns="time").set_axis(index).astype("float64")


@contextmanager
def _progress(source: str, series: int) -> Iterator[Callable[[int, str, float], None]]:
    """A bar on the terminal, once the work has lasted; calls say how much of which series is there."""
    from rich.console import Console
    from rich.progress import Progress

    begun = time.monotonic()
    with_bar = Progress(console=Console(stderr=True), transient=True)
    task = with_bar.add_task(source, total=series)

    def step(number: int, symbol: str, share: float) -> None:
        if time.monotonic() - begun > PATIENCE:
            with_bar.start()
        with_bar.update(task, completed=number + share, description=symbol)

    try:
        yield step
    finally:
        if with_bar.live.is_started:
            with_bar.stop()
