"""`load`: bars from installed packages, files and frames.

Nothing is downloaded: the packaged sets come inside `skfolio` and `arch`.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from markets.bars import FIELDS, Bars
from markets.errors import InputError

FORMATS = (
    "wide (a time column, then one column of closes a symbol), or long (columns time, symbol, open, high, low, close, "
    "volume, of which only time and close are needed; without a symbol column the file is one symbol)"
)
TIME_COLUMNS = ("date", "datetime", "timestamp", "time", "index")
EMPTY = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "-"]  # how files write a gap
SYMBOL_COLUMNS = ("symbol", "ticker", "asset")

SURVIVORSHIP = {
    "stocks": "20 US stocks that are still listed in 2022: survivors, so every long-only result is flattered",
}


def load(source: str | Path | pd.DataFrame) -> Bars:
    """Load bars by name, from a file, or from a frame.

    Parameters
    ----------
    source : str, Path or DataFrame
        ``"stocks"`` (20 US stocks, adjusted daily closes, 1990 to 2022, from skfolio; survivors only), ``"sp500"`` and
        ``"nasdaq"`` (index, daily OHLCV, 1999 to 2018, from arch), or a ``.csv`` or ``.parquet`` file, or a pandas frame.
        Files and frames are wide (a time column, then one column of closes a symbol) or long (columns time, symbol,
        open, high, low, close, volume, of which only time and close are needed). With an ``Adj Close`` column,
        prices are scaled to it.

    Returns
    -------
    Bars

    Raises
    ------
    InputError
        Naming the file, the row and the column that are wrong, and what to do.
    """
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, "frame", first_row=0)
    packaged = {"stocks": _stocks, "sp500": _index_set, "nasdaq": _index_set}
    if str(source) in packaged:
        return packaged[str(source)](str(source))
    path = Path(source)
    if not path.suffix and not path.exists():
        raise InputError(
            f"unknown source {str(source)!r}: use {', '.join(packaged)}, or the path of a CSV or Parquet file"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path, or use one of {', '.join(packaged)}")
    if not path.is_file():
        raise InputError(f"{path}: not a file; name one CSV or Parquet file")
    frame = _read(path)
    try:
        return _from_frame(frame, path.stem, first_row=2 if _is_csv(path) else 0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz", ".txt"))


def _read(path: Path) -> pd.DataFrame:
    try:
        if _is_csv(path):
            return _read_csv(path)
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the file is empty; it should be {FORMATS}") from None
    except InputError:
        raise
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, ValueError, EOFError, zlib.error) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: cannot be read as {path.suffix.lstrip('.').upper()} ({reason})") from None
    raise InputError(f"{path}: unknown kind of file {path.suffix!r}; write it as .csv or .parquet")


def _read_csv(path: Path) -> pd.DataFrame:
    header = [str(name) for name in pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]]
    plain = [name.strip().lower() for name in header]
    twice = [name for i, name in enumerate(plain) if name and name in plain[:i]]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} stands twice in the header; give each a name of its own")
    # Symbols are text: NA is a ticker, and 0700 is not 700.
    text: dict[Hashable, Any] = {n: str for n, low in zip(header, plain, strict=True) if low in SYMBOL_COLUMNS}
    empty: dict[str, list[str]] = {name: [""] if name in text else EMPTY for name in header if name}
    # A blank line is a row of gaps to pandas' counting; keep it, so that row numbers are line numbers.
    frame = pd.read_csv(path, skip_blank_lines=False, dtype=text, keep_default_na=False, na_values=empty)
    filled = frame.notna().any(axis=1).to_numpy()
    frame = frame.iloc[: int(filled.nonzero()[0][-1]) + 1] if filled.any() else frame.iloc[:0]
    nameless = [i for i, name in enumerate(plain) if not name]
    if nameless == [0] and any(name in TIME_COLUMNS for name in plain):
        return frame.iloc[:, 1:]  # a row number that was saved along
    if nameless not in ([], [0]):
        raise InputError(f"{path}: column {nameless[-1] + 1} has no name; name it or leave it out")
    return frame


def _stocks(name: str) -> Bars:
    from skfolio.datasets import load_sp500_dataset

    frame = load_sp500_dataset()
    return Bars.make(frame.index, list(frame.columns), frame.to_numpy(), name=name)


def _index_set(name: str) -> Bars:
    import arch.data.nasdaq
    import arch.data.sp500

    frame = {"sp500": arch.data.sp500, "nasdaq": arch.data.nasdaq}[name].load()
    fields = {field: frame[field.capitalize()].to_numpy()[:, None] for field in FIELDS}
    return Bars.make(frame.index, [name], fields.pop("close"), **fields, name=name)


def _from_frame(frame: pd.DataFrame, name: str, first_row: int) -> Bars:
    """Bars from a wide or long frame; `first_row` is the number by which the user knows the frame's first row."""
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(index=str(frame.index.name or "date")).reset_index()
    frame = frame.rename(columns=str)
    if frame.empty or frame.shape[1] < 2:
        raise InputError(f"no rows or no price columns; it should be {FORMATS}")
    known = {column.strip().lower().replace("_", " "): column for column in frame.columns}
    time_column = next((known[c] for c in TIME_COLUMNS if c in known), frame.columns[0])
    times = _times(frame[time_column], time_column, first_row)
    if "close" in known or any(c in known for c in SYMBOL_COLUMNS):
        return _from_long(frame, known, times, name, first_row)
    columns = [c for c in frame.columns if c != time_column]
    close = np.column_stack([_numbers(frame[c], c, first_row) for c in columns])
    return _make(times, [c.strip() for c in columns], {"close": close}, name)


def _from_long(frame: pd.DataFrame, known: dict[str, str], times: pd.DatetimeIndex, name: str, first_row: int) -> Bars:
    if "close" not in known:
        raise InputError(f"column 'close' is missing (there are {', '.join(frame.columns)}); it should be {FORMATS}")
    values = {field: _numbers(frame[known[field]], known[field], first_row) for field in FIELDS if field in known}
    if "adj close" in known:
        # Splits and dividends scale the whole bar, so that open-to-close stays what it was.
        adjusted = _numbers(frame[known["adj close"]], known["adj close"], first_row)
        scale = adjusted / values["close"]
        values = {f: v if f == "volume" else v * scale for f, v in values.items()}
    symbol_column = next((known[c] for c in SYMBOL_COLUMNS if c in known), None)
    if symbol_column is None:
        return _make(times, [name], {f: v[:, None] for f, v in values.items()}, name)
    nameless = frame[symbol_column].isna()
    if nameless.any():
        raise InputError(f"row {first_row + int(np.argmax(nameless))}, column {symbol_column!r}: no symbol")
    labels = frame[symbol_column].astype(str).to_numpy()
    symbols = sorted(set(labels))
    index = pd.DatetimeIndex(np.unique(times))
    row_of, column_of = index.get_indexer(times), np.searchsorted(symbols, labels)
    cell = row_of * len(symbols) + column_of
    for column, symbol in enumerate(symbols):
        rows = np.flatnonzero(column_of == column)
        steps = np.diff(row_of[rows])
        if (steps <= 0).any():
            at = int(np.argmax(steps <= 0)) + 1
            what = "stands twice" if steps[at - 1] == 0 else "comes out of order; sort by time"
            raise InputError(f"row {first_row + rows[at]}: {symbol} at {times[rows[at]]} {what}")
    wide = {}
    for field, column_values in values.items():
        array = np.full(len(index) * len(symbols), np.nan)
        array[cell] = column_values
        wide[field] = array.reshape(len(index), len(symbols))
    return _make(index, symbols, wide, name)


def _make(index: pd.DatetimeIndex, symbols: list[str], fields: dict[str, np.ndarray], name: str) -> Bars:
    close = fields.pop("close")
    return Bars.make(
        index,
        symbols,
        close,
        open=fields.get("open"),
        high=fields.get("high"),
        low=fields.get("low"),
        volume=fields.get("volume"),
        name=name,
    )


def _times(column: pd.Series, name: str, first_row: int) -> pd.DatetimeIndex:
    if pd.api.types.is_numeric_dtype(column):
        raise InputError(
            f"column {name!r} should hold times but holds numbers; write them as 2024-01-31 or 2024-01-31T15:30:00"
        )
    # An unsorted or repeated time is found by `Bars`; here only what is no time at all.
    style = None if column.dtype.kind == "M" else "ISO8601"
    try:
        parsed = pd.to_datetime(column, errors="coerce", format=style)
    except ValueError:  # offsets that change with summer time: one clock for all
        parsed = pd.to_datetime(column, errors="coerce", format=style, utc=True)
    if parsed.isna().any():
        row = int(np.argmax(parsed.isna()))
        raise InputError(
            f"row {first_row + row}, column {name!r}: {column.iloc[row]!r} is not a time; write it as 2024-01-31"
        )
    return pd.DatetimeIndex(parsed)


def _numbers(column: pd.Series, name: str, first_row: int) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(f"row {first_row + row}, column {name!r}: {column.iloc[row]!r} is not a number")
    return numbers.to_numpy(dtype=np.float64, copy=True)
