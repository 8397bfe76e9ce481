"""`load`: bars from packaged data sets, fetched universes, files, folders, frames and vendors.

Only vendor sources (``yfinance:``, ``ccxt:``) download anything. The packaged data sets are part of the installed libraries
`skfolio` and `arch`; universes are fetched once, by ``regimeshift data fetch`` (`markets.data.universes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from markets.bars.bars import Bars, Source
from markets.bars.frequency import differing, resampled_together
from markets.bars.time_spans import Span
from markets.common.errors import InputError
from markets.data.files import read_path, stem
from markets.data.parsing import Faults
from markets.data.tables import Table, read_table
from markets.data.universes import UNIVERSES
from markets.data.vendors import FORMS, fetch, is_vendor


def load(
    source: str | Path | pd.DataFrame,
    *,
    start: str | date | None = None,
    end: str | date | None = None,
    symbols: Sequence[str] | None = None,
    resample: str | None = None,
) -> Bars:
    """Load bars from a packaged data set, a fetched universe, a file, a folder, a frame or a vendor.

    Parameters
    ----------
    source : str, Path or DataFrame
        - ``"stocks"`` (20 US stocks, adjusted daily closes, 1990 to 2022, from skfolio; survivors only), ``"sp500"`` or
          ``"nasdaq"`` (index, daily OHLCV, 1999 to 2018, from arch);
        - ``"futures"`` (46 futures, 1970 to 2023), ``"us74"`` (74 US stocks with quoted spreads, 2000 to 2023), ``"fx"`` (41
          currencies in euros, 1999 to 2026) or ``"nyse_o"`` (36 US stocks, 1962 to 1984), daily closes that ``regimeshift
          data fetch NAME`` has brought into the cache; `Bars.source` says what each is worth;
        - a ``.csv`` (also ``.csv.gz``, ``.tsv``, ``.txt``) or ``.parquet`` file, or a pandas frame. It may be wide (a time
          column, then one column of closes per symbol), long (columns time, symbol, open, high, low, close, volume, of which
          only time and close are required), or have two levels of columns like the result of `yfinance.download`. If there
          is an ``Adj Close`` column, prices are scaled to it;
        - a folder with one file per symbol, named after the symbol; the files are joined on time;
        - a folder that is a partitioned Parquet data set (``symbol=SPY/``, ``year=2020/``); only the requested span and
          symbols are read;
        - ``"yfinance:SPY,QQQ"`` or ``"ccxt:binance:BTC/USDT:1h"``, downloaded through a cache; needs the ``[vendors]`` extra.
    start, end : str or date, optional
        The time span, both ends included; ``end="2012"`` includes all of 2012. Bars outside the span are not kept, not even
        as history: to have a warm-up, load more and slice the bars. Symbols without a close in the span are left out.
    symbols : sequence of str, optional
        Symbols to keep, in this order.
    resample : str, optional
        Period to resample to, such as ``"1D"`` or ``"W-FRI"``; see `Bars.resample`. With it, symbols may be of different
        frequency, such as hourly and daily ones: a date then stands for the end of its day.

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        When the input is wrong, or its symbols are of different frequency. The message names the file, row and column, and
        how to fix it.
    """
    table, about = read(source, start=start, end=end, symbols=symbols)
    try:
        bars = table.bars(about.name, about.source)
        bars = resampled_together(bars, resample) if resample else bars
        if difference := differing(bars):
            raise InputError(f"{difference}, with load(..., resample=) or --resample, or load them apart")
        return bars
    except InputError as error:
        raise InputError(f"{about.prefix}{error}") from None


class About(NamedTuple):
    """What `read` found out about a source.

    Attributes
    ----------
    name : str
        Of the bars.
    prefix : str
        To begin error messages with.
    source : Source
    """

    name: str
    prefix: str
    source: Source


def read(
    source: str | Path | pd.DataFrame,
    *,
    start: str | date | None = None,
    end: str | date | None = None,
    symbols: Sequence[str] | None = None,
    faults: Faults = None,
) -> tuple[Table, About]:
    """Read what `load` does, but not yet checked for impossible prices.

    Parameters
    ----------
    source, start, end, symbols
        See `load`.
    faults : list of str, optional
        Takes a line for each wrong cell, which is then read as a gap; by default the first is an error.
    """
    span = Span.of(start, end)
    if isinstance(symbols, str):
        raise InputError(f"symbols is the text {symbols!r}; give a list, as in symbols=[{symbols!r}]")
    wanted = None if symbols is None else list(symbols)
    if wanted == []:
        raise InputError("symbols is empty; name at least one, or leave it out for all")
    if not isinstance(source, (str, Path, pd.DataFrame)):
        raise InputError(f"source is {source!r}; give a name, a path or a pandas frame")
    known = Source()
    if isinstance(source, pd.DataFrame):
        table, name, prefix = read_table(source, "frame", "row {}".format, faults), "frame", ""
    elif str(source) in PACKAGED:
        name, prefix = str(source), f"{source}: "
        packaged, known = PACKAGED[name]
        table = packaged(name)
    elif str(source) in UNIVERSES:
        name, prefix = str(source), f"{source}: "
        table, known = UNIVERSES[name].table(), UNIVERSES[name].source
    elif isinstance(source, str) and is_vendor(source):
        table, name, prefix = fetch(source, span, wanted), source, ""
    else:
        path = Path(source)
        if not path.suffix and not path.exists():
            raise InputError(
                f"unknown source {str(source)!r}: use {', '.join(NAMES)}, {FORMS}, or the path of a CSV or Parquet "
                "file or folder"
            )
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path, or use one of {', '.join(NAMES)}")
        table, prefix = read_path(path, span, wanted, faults), f"{path}: "
        name = stem(path) if path.is_file() else path.resolve().name
    try:
        if span != Span():
            table = table.within(span)
            table = table if wanted else table.traded()
        if wanted is not None:
            table = table.select(wanted)
        return table, About(name, prefix, known)
    except InputError as error:
        raise InputError(f"{prefix}{error}") from None


def _stocks(name: str) -> Table:
    from skfolio.datasets import load_sp500_dataset

    return read_table(load_sp500_dataset(), name, "row {}".format)


def _index_set(name: str) -> Table:
    import arch.data.nasdaq
    import arch.data.sp500

    frame = {"sp500": arch.data.sp500, "nasdaq": arch.data.nasdaq}[name].load()
    return read_table(frame.drop(columns="Adj Close", errors="ignore"), name, "row {}".format)


SURVIVORS = "20 US stocks that are still listed in 2022: survivorship bias flatters every long-only result"
INDEX = "Daily prices and volumes of the {}, 1999 to 2018, from arch"
PACKAGED = {
    "stocks": (
        _stocks,
        Source(
            survivorship=SURVIVORS,
            adjusted=True,
            origin="Adjusted daily closes of 20 US stocks, 1990 to 2022, from skfolio",
            costs="10bp",
        ),
    ),
    "sp500": (_index_set, Source(adjusted=True, origin=INDEX.format("S&P 500"))),
    "nasdaq": (_index_set, Source(adjusted=True, origin=INDEX.format("Nasdaq Composite"))),
}
NAMES = (*PACKAGED, *UNIVERSES)
