"""Files and folders as tables: one CSV or Parquet file, a folder with a file per symbol, a partitioned data set.

What can be told without guessing is read: byte order marks, gzip, UTF-16, semicolons and tabs. Parquet is read through
`pyarrow.dataset`, with the span and the symbols pushed down, so that only what is asked for is ever in memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from markets.common.errors import InputError
from markets.data.parquet import is_dataset, read_dataset
from markets.data.tables import FORMATS, SYMBOL_COLUMNS, TIME_COLUMNS, Table, joined, plain, read_table
from markets.data.time_spans import NoRows, Span

CSV = (".csv", ".txt", ".tsv")
PARQUET = (".parquet", ".pq")
EMPTY = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "-"]  # how files write a gap
# What a file that is named .csv may be instead, by its first bytes.
FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"PAR1": "a Parquet file; name it .parquet",
    b"BZh": "packed with bzip2; unpack it",
    b"\xfd7zXZ": "packed with xz; unpack it",
    b"<!DOCTYPE": "a web page: the download failed; fetch it again",
    b"<html": "a web page: the download failed; fetch it again",
    b"{": "JSON, perhaps a vendor's message of failure; look into it, and write a table as CSV",
}


def read_path(path: Path, span: Span, symbols: Sequence[str] | None) -> Table:
    """Read a file, a folder with a file per symbol, or a partitioned data set.

    Parameters
    ----------
    path : Path
    span : Span
        Parquet rows outside of it are not read; of CSV files they are dropped after reading.
    symbols : sequence of str, optional
        Files, partitions and columns of other symbols are not read.

    Raises
    ------
    InputError
        Naming the file, and the row and the column where there is one.
    """
    if path.is_file():
        return _read_file(path, span, symbols)
    if not path.is_dir():
        raise InputError(f"{path}: not a file or a folder; name a CSV or Parquet file, or a folder of them")
    entries = sorted(p for p in path.iterdir() if not p.name.startswith((".", "_")))
    files = [p for p in entries if p.is_file() and _kind(p)]
    if any(p.is_dir() and "=" in p.name for p in entries) or is_dataset([p for p in files if _kind(p) == "parquet"]):
        found = [p for p in sorted(path.rglob("*")) if _kind(p) == "parquet" and p.is_file()]
        return _named(path, "PARQUET", lambda: read_dataset(found, span, symbols))
    if not files:
        raise InputError(
            f"{path}: the folder holds no CSV or Parquet file; put one file per symbol there, or a data set with folders "
            "like symbol=SPY"
        )
    return _read_folder(path, files, span, symbols)


def _kind(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((*CSV, *(suffix + ".gz" for suffix in CSV))):
        return "csv"
    return "parquet" if name.endswith(PARQUET) else ""


def stem(path: Path) -> str:
    """The name without ``.csv``, ``.csv.gz`` or ``.parquet``."""
    return Path(path.name.removesuffix(".gz")).stem


def _read_folder(path: Path, files: list[Path], span: Span, symbols: Sequence[str] | None) -> Table:
    by_symbol: dict[str, Path] = {}
    for file in files:
        if stem(file) in by_symbol:
            raise InputError(
                f"{path}: {by_symbol[stem(file)].name} and {file.name} are one symbol; keep one of the two"
            )
        by_symbol[stem(file)] = file
    for symbol in symbols or ():
        if symbol not in by_symbol:
            raise InputError(f"{path}: there is no file of symbol {symbol!r}; there are {', '.join(by_symbol)}")
    tables = {}
    for symbol in symbols or by_symbol:
        file = by_symbol[symbol]
        try:
            table = _read_file(file, span, None)
            if len(table.symbols) > 1:
                raise InputError(
                    f"{file}: {len(table.symbols)} symbols in one file; in a folder each file is one symbol"
                )
            tables[file.name] = replace(table, symbols=(symbol,))
        except NoRows:  # it was listed later, or had gone
            if symbols:
                raise
    if not tables:
        raise NoRows(f"{path}: no rows {span} in any of {len(files)} files")
    return _named(path, "a folder", lambda: joined(tables))


def _read_file(path: Path, span: Span, symbols: Sequence[str] | None) -> Table:
    kind = _kind(path)
    if kind == "parquet":
        return _named(path, "PARQUET", lambda: read_dataset([path], span, symbols))
    if kind == "csv":
        return _named(path, "CSV", lambda: _read_csv(path).within(span))
    raise InputError(f"{path}: unknown kind of file {path.suffix!r}; write it as .csv or .parquet")


def _named(path: Path, kind: str, read: Callable[[], Table]) -> Table:
    """Name the file in whatever is wrong with it."""
    try:
        return read()
    except InputError as error:
        raise type(error)(f"{path}: {error}") from None
    except (csv.Error, pd.errors.ParserError, pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: cannot be read as {kind} ({reason})") from None


def _read_csv(path: Path) -> Table:
    frame, lines = parse_csv(_unpacked(path.read_bytes()))
    return read_table(frame, stem(path), lambda row: f"row {lines[row]}")


# ---------------------------------------------------------------------- CSV


def _unpacked(data: bytes) -> bytes:
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for start, what in FOREIGN.items():
        if data.lstrip()[: len(start)].lower() == start.lower():
            raise InputError(f"this is {what}")
    return data


def _decoded(data: bytes) -> bytes:
    """UTF-8 with plain line ends, of UTF-8 or of UTF-16 with its mark; anything else is for the user to name."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    at = data.find(b"\0")
    if at >= 0:
        raise InputError(
            f"cannot be read as CSV: row {_line(data, at)} holds a NUL byte: binary, damaged, or UTF-16 without its mark"
        )
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"cannot be read as CSV: row {_line(data, error.start)} holds byte 0x{data[error.start]:02X}, which is not UTF-8; "
            "is it Latin-1? Convert it: iconv -f LATIN1 -t UTF-8"
        ) from None
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def parse_csv(data: bytes) -> tuple[pd.DataFrame, np.ndarray]:
    """Read text of any delimiter.

    Returns
    -------
    frame : DataFrame
        Two levels of columns where the header has them, as yfinance's has.
    lines : ndarray of int
        The line of the file that each row of the frame is.

    Raises
    ------
    InputError
        If the header or the shape of a row is wrong.
    """
    data = _decoded(data)
    if not data.strip():
        raise InputError(f"the file is empty; it should be {FORMATS}")
    unquoted = b"".join(data.lstrip().split(b"\n", 1)[0].split(b'"')[::2]).decode()
    delimiter = next((mark for mark in ";\t|" if mark in unquoted), ",")
    lines, starts = _rows(data, delimiter)
    head = [
        next(csv.reader([data[a:b].decode().strip("\n")], delimiter=delimiter), [""]) for a, b in pairwise(starts[:4])
    ]
    # yfinance's frames have three: the fields, the symbols, and the name of the time alone.
    levels = 3 if len(head) == 3 and plain(head[2][0]) in TIME_COLUMNS and not any(head[2][1:]) else 1
    header, names = head[0], [plain(name) for name in head[0]]
    # Symbols are text: NA is a ticker, and 0700 is not 700. So are numbers, where a comma may stand in them.
    is_text = levels > 1 or b'"' in data or (delimiter != "," and b"," in data)
    symbol = {i for i, name in enumerate(names) if name in SYMBOL_COLUMNS and levels == 1}
    columns = range(len(header))
    gaps: dict[Any, list[str]] = {i: [""] if i in symbol else EMPTY for i in columns}
    if len(lines) > levels:
        frame = pd.read_csv(
            io.BytesIO(data[starts[levels] :]),
            sep=delimiter,
            header=None,
            names=columns,
            index_col=False,
            dtype={i: str for i in columns if is_text or i in symbol},
            keep_default_na=False,
            na_values=gaps,
            low_memory=False,
        )
    else:
        frame = pd.DataFrame(columns=columns)
    first, lines = lines[0], lines[levels:]
    there = frame.notna().any(axis=1).to_numpy()
    frame, lines = frame[there].reset_index(drop=True), lines[there]
    if levels > 1:
        frame = frame.set_index(0).rename_axis(index=head[2][0])
        return frame.set_axis(pd.MultiIndex.from_arrays([head[0][1:], head[1][1:]]), axis=1), lines
    if names[0][:1].isdigit():
        raise InputError(f"row {first} holds values: the first line should name the columns; put a header above it")
    twice = [name for i, name in enumerate(names) if name and name in names[:i]]
    if twice:
        raise InputError(f"column {twice[0]!r} stands twice in the header; give each a name of its own")
    frame = frame.set_axis(header, axis=1)
    if len(names) > 1 and not names[-1] and frame.iloc[:, -1].isna().all():
        frame, names = frame.iloc[:, :-1], names[:-1]  # every line ends in a delimiter
    nameless = [i for i, name in enumerate(names) if not name]
    if nameless == [0] and any(name in TIME_COLUMNS for name in names):
        return frame.iloc[:, 1:], lines  # a row number that was saved along
    if nameless not in ([], [0]):
        raise InputError(f"column {nameless[-1] + 1} has no name; name it or leave it out")
    return frame, lines


def _rows(data: bytes, delimiter: str) -> tuple[np.ndarray, np.ndarray]:
    """Line numbers of the rows that are not blank, and where each starts (with the end of the last one more).

    pandas fills a row that is cut short with gaps, without a word; so the cells of every row are counted here.
    """
    raw = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", dtype=np.uint8)
    quoted = np.bitwise_xor.accumulate(raw == ord('"'))
    newlines = np.flatnonzero(raw == ord("\n"))
    lines = np.flatnonzero(~quoted[newlines]) + 1
    ends = newlines[lines - 1] + 1
    marks = np.flatnonzero(raw == ord('"'))
    if len(marks) % 2:
        raise InputError(
            f"cannot be read as CSV: row {_line(data, marks[-1])} opens a quotation mark that is never closed"
        )
    beside = raw[marks + np.where(np.arange(len(marks)) % 2, 1, -1)]  # before one that opens, after one that closes
    stray = ~np.isin(beside, [ord(delimiter), ord("\n"), ord('"')]) & (marks > 0)  # two in a row are one in a cell
    if stray.any():
        line = _line(data, int(marks[np.argmax(stray)]))
        raise InputError(
            f"cannot be read as CSV: row {line} has a quotation mark inside of a cell; double it or take it out"
        )
    starts = np.concatenate([[0], ends[:-1]])
    delimiters = np.flatnonzero((raw == ord(delimiter)) & ~quoted)
    cells = np.diff(np.searchsorted(delimiters, ends), prepend=0) + 1
    blank = ends - starts == 1
    for row in np.flatnonzero(cells == 1):  # a line of spaces; a proper table has none or all of these
        blank[row] = not data[starts[row] : ends[row]].strip()
    cells, lines, starts = cells[~blank], lines[~blank], starts[~blank]
    odd = np.flatnonzero(cells != cells[0])
    if len(odd) and len(odd) == len(cells) - 1 and cells[0] == 1:
        raise InputError(f"row {lines[0]} is a title; the first line should name the columns: take it out")
    if len(odd):
        what = "it is cut short" if cells[odd[0]] < cells[0] else "a delimiter inside of a cell needs quotes"
        raise InputError(
            f"row {lines[odd[0]]} has {cells[odd[0]]} cells, but the header has {cells[0]}; {what}; mend it or take it out"
        )
    return lines, np.append(starts, len(raw))
