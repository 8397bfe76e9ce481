"""Reading of files and folders: one CSV or Parquet file, a folder with one file per symbol, or a partitioned data set.

Parquet is read through `pyarrow.dataset` with filters on time span and symbols, so that only the requested rows are loaded.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from markets.bars.time_spans import NoRows, Span
from markets.common.errors import InputError
from markets.data.csv_text import parse_csv
from markets.data.parquet import is_dataset, read_dataset
from markets.data.parsing import Faults
from markets.data.tables import Table, joined, read_table

CSV = (".csv", ".txt", ".tsv")
PARQUET = (".parquet", ".pq")


def read_path(path: Path, span: Span, symbols: Sequence[str] | None, faults: Faults = None) -> Table:
    """Read a file, a folder with one file per symbol, or a partitioned data set.

    Parameters
    ----------
    path : Path
    span : Span
        Parquet rows outside the span are not read; CSV rows outside it are dropped after reading.
    symbols : sequence of str, optional
        Files, partitions and columns of other symbols are not read.
    faults : list of str, optional
        See `markets.data.parsing.Faults`.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        When the input cannot be read. The message names the file and, if known, the row and the column.
    """
    if path.is_file():
        return _read_file(path, span, symbols, faults)
    if not path.is_dir():
        raise InputError(f"{path}: neither a file nor a folder; give a CSV or Parquet file, or a folder of them")
    entries = sorted(p for p in path.iterdir() if not p.name.startswith((".", "_")))
    files = [p for p in entries if p.is_file() and _kind(p)]
    if any(p.is_dir() and "=" in p.name for p in entries) or is_dataset([p for p in files if _kind(p) == "parquet"]):
        found = [p for p in sorted(path.rglob("*")) if _kind(p) == "parquet" and p.is_file()]
        return _named(path, "PARQUET", lambda: read_dataset(found, span, symbols, faults))
    if not files:
        raise InputError(
            f"{path}: the folder holds no CSV or Parquet file; put one file per symbol there, or a data set with folders "
            "like symbol=SPY"
        )
    return _read_folder(path, files, span, symbols, faults)


def _kind(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((*CSV, *(suffix + ".gz" for suffix in CSV))):
        return "csv"
    return "parquet" if name.endswith(PARQUET) else ""


def stem(path: Path) -> str:
    """File name without ``.csv``, ``.csv.gz`` or ``.parquet``."""
    return Path(path.name.removesuffix(".gz")).stem


def _read_folder(path: Path, files: list[Path], span: Span, symbols: Sequence[str] | None, faults: Faults) -> Table:
    by_symbol: dict[str, Path] = {}
    for file in files:
        if stem(file) in by_symbol:
            raise InputError(
                f"{path}: {by_symbol[stem(file)].name} and {file.name} are the same symbol; keep one of the two"
            )
        by_symbol[stem(file)] = file
    for symbol in symbols or ():
        if symbol not in by_symbol:
            raise InputError(f"{path}: there is no file for symbol {symbol!r}; there are {', '.join(by_symbol)}")
    tables = {}
    for symbol in symbols or by_symbol:
        file = by_symbol[symbol]
        try:
            found: Faults = None if faults is None else []
            table = _read_file(file, span, None, found)
            if faults is not None:
                faults.extend(f"{file.name}: {line}" for line in found or ())
            if len(table.symbols) > 1:
                raise InputError(
                    f"{file}: {len(table.symbols)} symbols in one file; in a folder, each file must hold one symbol"
                )
            tables[file.name] = replace(table, symbols=(symbol,))
        except NoRows:  # listed after the span, or delisted before it
            if symbols:
                raise
    if not tables:
        raise NoRows(f"{path}: no rows {span} in any of {len(files)} files")
    return _named(path, "a folder", lambda: joined(tables))


def _read_file(path: Path, span: Span, symbols: Sequence[str] | None, faults: Faults) -> Table:
    kind = _kind(path)
    if kind == "parquet":
        return _named(path, "PARQUET", lambda: read_dataset([path], span, symbols, faults))
    if kind == "csv":
        return _named(path, "CSV", lambda: _read_csv(path, faults).within(span))
    raise InputError(f"{path}: unknown kind of file {path.suffix!r}; write it as .csv or .parquet")


def _named(path: Path, kind: str, read: Callable[[], Table]) -> Table:
    """Call `read` and put the name of the file into its error message, if any."""
    try:
        return read()
    except InputError as error:
        raise type(error)(f"{path}: {error}") from None
    except (csv.Error, pd.errors.ParserError, pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: cannot be read as {kind} ({reason})") from None


def _read_csv(path: Path, faults: Faults) -> Table:
    frame, lines = parse_csv(path.read_bytes(), faults)
    return read_table(frame, stem(path), lambda row: f"row {lines[row]}", faults)
