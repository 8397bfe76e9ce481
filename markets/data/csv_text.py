"""Parsing of CSV text to a frame of cells: decompress, decode, detect the layout, read the cells, check the shape.

Whatever can be recognised with certainty is read: byte order marks, gzip, UTF-16, semicolons and tabs. Anything else is an
error that names its line.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from markets.bars.bars import FIELDS
from markets.common.errors import InputError
from markets.data.parsing import Faults, report
from markets.data.tables import FORMATS, SYMBOL_COLUMNS, TIME_COLUMNS, plain

EMPTY = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "-"]  # how files write a gap
# Other kinds of file that may be named .csv, by their first bytes.
FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"PAR1": "a Parquet file; name it .parquet",
    b"BZh": "packed with bzip2; unpack it",
    b"\xfd7zXZ": "packed with xz; unpack it",
    b"<!DOCTYPE": "a web page: the download failed; fetch it again",
    b"<html": "a web page: the download failed; fetch it again",
    b"{": "JSON, perhaps a vendor's error message; look at its content, and write the table as CSV",
}


def parse_csv(data: bytes, faults: Faults = None) -> tuple[pd.DataFrame, np.ndarray]:
    """Parse CSV with any of the delimiters comma, semicolon, tab or vertical bar.

    Parameters
    ----------
    data : bytes
        Content of the file, possibly gzipped.
    faults : list of str, optional
        Takes a line for each row with a wrong number of cells, which is then left out; by default the first is an error.

    Returns
    -------
    frame : DataFrame
        With two levels of columns if the header has them, as in files of yfinance.
    lines : ndarray of int
        Line number in the file of each row of the frame.

    Raises
    ------
    InputError
        When the file is not CSV, or its header or the number of cells in a row is wrong.
    """
    text = _decoded(_unpacked(data))
    if not text.strip():
        raise InputError(f"the file is empty; it should be {FORMATS}")
    layout, text = _layout(text, faults)
    frame = _cells(text, layout)
    lines = layout.lines[layout.levels :]
    there = frame.notna().any(axis=1).to_numpy()
    frame, lines = frame[there].reset_index(drop=True), lines[there]
    return (_with_levels(frame, layout) if layout.levels > 1 else _with_header(frame, layout)), lines


def _unpacked(data: bytes) -> bytes:
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for start, what in FOREIGN.items():
        if data.lstrip()[: len(start)].lower() == start.lower():
            raise InputError(f"this is {what}")
    return data


def _decoded(data: bytes) -> bytes:
    """Decode UTF-8, or UTF-16 with a byte order mark, to UTF-8 with LF line ends; refuse anything else."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    at = data.find(b"\0")
    if at >= 0:
        raise InputError(
            f"cannot be read as CSV: row {_line(data, at)} holds a NUL byte: binary, damaged, or UTF-16 without a byte order mark"
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


@dataclass(frozen=True)
class Layout:
    """Layout of a CSV text.

    Attributes
    ----------
    delimiter : str
    lines : ndarray of int
        Line numbers of the rows that are not blank, header included.
    starts : ndarray of int
        Byte offset at which each of these rows starts, and the end of the last one.
    head : list of list of str
        Cells of the first three rows.
    levels : int
        Number of header rows: 1, or 3 as in files of yfinance (fields, symbols, and a row with only the name of the index).
    """

    delimiter: str
    lines: np.ndarray
    starts: np.ndarray
    head: list[list[str]]
    levels: int

    @property
    def names(self) -> list[str]:
        """Names of the columns, normalised by `plain`."""
        return [plain(name) for name in self.head[0]]


def _layout(text: bytes, faults: Faults) -> tuple[Layout, bytes]:
    """The layout, and the text without the rows that have a wrong number of cells."""
    unquoted = b"".join(text.lstrip().split(b"\n", 1)[0].split(b'"')[::2]).decode()
    delimiter = next((mark for mark in ";\t|" if mark in unquoted), ",")
    lines, starts, text = _rows(text, delimiter, faults)
    head = [
        next(csv.reader([text[a:b].decode().strip("\n")], delimiter=delimiter), [""]) for a, b in pairwise(starts[:4])
    ]
    levels = 3 if len(head) == 3 and plain(head[2][0]) in TIME_COLUMNS and not any(head[2][1:]) else 1
    return Layout(delimiter, lines, starts, head, levels), text


def _cells(text: bytes, layout: Layout) -> pd.DataFrame:
    """Rows below the header, with numbered columns; numbers where pandas recognises them, otherwise text."""
    columns = range(len(layout.head[0]))
    if len(layout.lines) <= layout.levels:
        return pd.DataFrame(columns=columns)
    # Symbols are read as text: NA is a ticker, and 0700 differs from 700. So are numbers that may contain a comma.
    is_text = layout.levels > 1 or b'"' in text or (layout.delimiter != "," and b"," in text)
    symbol = {i for i, name in enumerate(layout.names) if name in SYMBOL_COLUMNS and layout.levels == 1}
    gaps: dict[Any, list[str]] = {i: [""] if i in symbol else EMPTY for i in columns}
    return pd.read_csv(
        io.BytesIO(text[layout.starts[layout.levels] :]),
        sep=layout.delimiter,
        header=None,
        names=columns,
        index_col=False,
        dtype={i: str for i in columns if is_text or i in symbol},
        keep_default_na=False,
        na_values=gaps,
        low_memory=False,
    )


def _with_levels(frame: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    fields, symbols, times = layout.head
    frame = frame.set_index(0).rename_axis(index=times[0])
    return frame.set_axis(pd.MultiIndex.from_arrays([fields[1:], symbols[1:]]), axis=1)


def _with_header(frame: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    names = layout.names
    if names[0][:1].isdigit():
        raise InputError(
            f"row {layout.lines[0]} holds values: the first line should name the columns; add a header above it"
        )
    special = {*FIELDS, *TIME_COLUMNS, *SYMBOL_COLUMNS}
    labels = [n if n in special else label.strip() for n, label in zip(names, layout.head[0], strict=True)]
    repeated = [label for i, label in enumerate(labels) if label and label in labels[:i]]
    if repeated:
        raise InputError(f"column {repeated[0]!r} appears twice in the header; give each a different name")
    frame = frame.set_axis(layout.head[0], axis=1)
    if len(names) > 1 and not names[-1] and frame.iloc[:, -1].isna().all():
        frame, names = frame.iloc[:, :-1], names[:-1]  # every line ends in a delimiter
    nameless = [i for i, name in enumerate(names) if not name]
    if nameless == [0] and any(name in TIME_COLUMNS for name in names):
        return frame.iloc[:, 1:]  # an unnamed column of row numbers
    if nameless not in ([], [0]):
        raise InputError(f"column {nameless[-1] + 1} has no name; name it or remove it")
    return frame


def _rows(data: bytes, delimiter: str, faults: Faults) -> tuple[np.ndarray, np.ndarray, bytes]:
    """Line numbers of the rows that are not blank, the offset at which each starts, plus the end of the last, and the text.

    Also checks the number of cells of each row, because pandas silently fills short rows with gaps.
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
    beside = raw[marks + np.where(np.arange(len(marks)) % 2, 1, -1)]  # before an opening mark, after a closing one
    stray = ~np.isin(beside, [ord(delimiter), ord("\n"), ord('"')]) & (marks > 0)  # a doubled mark is an escaped one
    if stray.any():
        line = _line(data, int(marks[np.argmax(stray)]))
        raise InputError(
            f"cannot be read as CSV: row {line} has a quotation mark inside a cell; double it or remove it"
        )
    starts = np.concatenate([[0], ends[:-1]])
    delimiters = np.flatnonzero((raw == ord(delimiter)) & ~quoted)
    cells = np.diff(np.searchsorted(delimiters, ends), prepend=0) + 1
    blank = ends - starts == 1
    for row in np.flatnonzero(cells == 1):  # a line of spaces; tables rarely have a single column
        blank[row] = not data[starts[row] : ends[row]].strip()
    cells, lines, starts = cells[~blank], lines[~blank], starts[~blank]
    odd = np.flatnonzero(cells != cells[0])
    if len(odd) and len(odd) == len(cells) - 1 and cells[0] == 1:
        raise InputError(f"row {lines[0]} is a title; the first line should name the columns: remove it")
    for k in odd.tolist():
        what = "it is cut short" if cells[k] < cells[0] else "a delimiter inside a cell needs quotes"
        report(faults, f"row {lines[k]} has {cells[k]} cells, but the header has {cells[0]}; {what}; fix or remove it")
    if len(odd):
        stops = np.append(starts[1:], len(raw))
        rows = [data[starts[k] : stops[k]] for k in np.flatnonzero(cells == cells[0])]
        data, lines = b"".join(rows), lines[cells == cells[0]]
        starts, raw = np.cumsum([0, *map(len, rows)])[:-1], np.frombuffer(data, dtype=np.uint8)
    return lines, np.append(starts, len(raw)), data
