"""`Table`: prices parsed from a table of text and numbers.

A table is *wide* (a time column, then one column of closes per symbol), or *long* (columns time, symbol, open, high, low,
close, volume, quoted_spread, of which only time and close are required; without a symbol column it holds one symbol), or has
two levels of columns, field and symbol, like the tables of yfinance. Error messages name the row and the column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from markets.bars.bars import FIELDS, Bars, Source, impossible
from markets.bars.time_spans import NoRows, Span
from markets.common.errors import InputError
from markets.data.parsing import Faults, parse_numbers, parse_times, report

FORMATS = (
    "wide (a time column, then one column of closes per symbol), or long (columns time, symbol, open, high, low, close, "
    "volume, of which only time and close are required; without a symbol column the file holds one symbol)"
)
# Fields, as columns of a wide table. Words that are tickers, such as OPEN and LOW, are not among them.
NO_SYMBOLS = (
    *(
        "volume",
        "quote volume",
        "spread",
        "open interest",
        "turnover",
        "amount",
        "trades",
        "adj close",
        "dividend",
        "dividends",
    ),
    *("split", "splits", "stock splits", "return", "returns", "log return", "log returns", "change", "change %"),
)
TIME_COLUMNS = ("date", "datetime", "timestamp", "time", "index")
SYMBOL_COLUMNS = ("symbol", "ticker", "asset")
ALIASES = {
    **dict.fromkeys(("adjclose", "adj. close", "adjusted close"), "adj close"),
    "vol": "volume",
    "quoted spread": "spread",
    "spread": "spread in points",  # MetaTrader writes points, others money: only what says that it is the quoted one is read
}
TABLE_FIELDS = (*FIELDS, "spread", "adj close")

Where = Callable[[int], str]
"""Returns the name of the n-th row of a table for messages, such as ``row 3``."""


def plain(name: object) -> str:
    """Normalised name of a column: ``<DATE>`` and ``Date`` become ``date``, ``Adj_Close`` becomes ``adj close``."""
    return str(name).strip(" <>").lower().replace("_", " ")


@dataclass(frozen=True)
class Table:
    """Prices at T sorted times of A symbols, not yet validated.

    Attributes
    ----------
    index : DatetimeIndex of shape (T,)
    symbols : tuple of str, length A
    fields : dict of str to ndarray of shape (T, A)
        ``close``, and any of the other fields of `Bars`, ``spread`` among them.
    place : callable
        Returns the place in the source (row and column, in words) of a value, given its bar, symbol and field.
    delisted : mapping of str to Timestamp, optional
        First time at which a symbol no longer exists, where that is known.
    """

    index: pd.DatetimeIndex
    symbols: tuple[str, ...]
    fields: dict[str, np.ndarray]
    place: Callable[[int, int, str], str]
    delisted: Mapping[str, pd.Timestamp] | None = None

    def within(self, span: Span) -> Table:
        """Rows inside a time span.

        Raises
        ------
        NoRows
            When there are none.
        """
        rows = span.rows(self.index)
        if rows.stop <= rows.start:
            raise NoRows(f"no rows {span}: the data runs from {self.index[0]} to {self.index[-1]}")
        fields = {field: values[rows] for field, values in self.fields.items()}
        return replace(
            self, index=self.index[rows], fields=fields, place=lambda bar, *cell: self.place(bar + rows.start, *cell)
        )

    def select(self, symbols: Sequence[str]) -> Table:
        """The table of some of the symbols, in the given order.

        Raises
        ------
        InputError
            When a symbol is unknown.
        """
        for symbol in symbols:
            if symbol not in self.symbols:
                raise InputError(f"there is no symbol {symbol!r}; there are {', '.join(self.symbols)}")
        keep = [self.symbols.index(symbol) for symbol in symbols]
        fields = {field: values[:, keep] for field, values in self.fields.items()}
        gone = {symbol: time for symbol, time in (self.delisted or {}).items() if symbol in symbols}
        return Table(
            self.index, tuple(symbols), fields, lambda bar, i, field: self.place(bar, keep[i], field), gone or None
        )

    def traded(self) -> Table:
        """The table of the symbols that have any close."""
        there = np.isfinite(self.fields["close"]).any(axis=0)
        return self if there.all() else self.select([s for s, here in zip(self.symbols, there, strict=True) if here])

    def without_impossible(self, faults: list[str]) -> Table:
        """The table with gaps where values are impossible, each noted in `faults`, and without symbols that have no close."""
        fields = {field: values.copy() for field, values in self.fields.items()}
        for field, bad, why in impossible(fields):
            for bar, symbol in np.argwhere(bad).tolist():
                faults.append(f"{self.place(bar, symbol, field)}: {field} is {fields[field][bar, symbol]:g}: {why}")
            fields[field][bad] = np.nan
        table = replace(self, fields=fields)
        rest = table.traded()
        faults.extend(f"symbol {s} has no close at all; leave it out" for s in self.symbols if s not in rest.symbols)
        return rest

    def bars(self, name: str, source: Source = Source()) -> Bars:  # noqa: B008 (immutable)
        """Validate and convert to `Bars`; errors name the place in the source."""
        optional: dict[str, Any] = {field: v for field, v in self.fields.items() if field != "close"}
        try:
            return Bars.make(
                self.index,
                self.symbols,
                self.fields["close"],
                **optional,
                delisted=self.delisted,
                name=name,
                source=source,
            )
        except InputError as error:
            if error.cell is None:
                raise
            raise InputError(f"{self.place(*error.cell)}: {error}") from None


def joined(tables: dict[str, Table]) -> Table:
    """Outer join on time of tables with one symbol each.

    Parameters
    ----------
    tables : dict of str to Table
        Keys are the names of the files, for messages.

    Raises
    ------
    InputError
        When some times have a UTC offset and others do not, or a table lacks a field that others have.
    """
    (model_name, model), *others = tables.items()
    for name, table in others:
        if (table.index.tz is None) != (model.index.tz is None):
            aware, naive = (name, model_name) if model.index.tz is None else (model_name, name)
            raise InputError(
                f"the times of {aware} have a UTC offset, those of {naive} have none; use the same form in all files"
            )
        odd = sorted(set(table.fields) ^ set(model.fields))
        if odd:
            lacks, has = (name, model_name) if odd[0] in model.fields else (model_name, name)
            raise InputError(f"{lacks} has no column {odd[0]!r}, but {has} has; add it there or remove it everywhere")
    if len({str(table.index.tz) for table in tables.values()}) > 1:
        indexes = [table.index.tz_convert("UTC") for table in tables.values()]
    else:
        indexes = [table.index for table in tables.values()]
    index = pd.DatetimeIndex(np.unique(np.concatenate([i.as_unit("ns").asi8 for i in indexes])).view("M8[ns]"))
    if indexes[0].tz is not None:
        index = index.tz_localize("UTC").tz_convert(indexes[0].tz)
    rows = [index.get_indexer(i) for i in indexes]
    fields = {field: np.full((len(index), len(tables)), np.nan) for field in model.fields}
    for column, table in enumerate(tables.values()):
        for field, values in table.fields.items():
            fields[field][rows[column], column] = values[:, 0]
    files = list(tables)

    def place(bar: int, symbol: int, field: str) -> str:
        inside = int(np.flatnonzero(rows[symbol] == bar)[0])
        return f"{files[symbol]}: {tables[files[symbol]].place(inside, 0, field)}"

    return Table(index, tuple(t.symbols[0] for t in tables.values()), fields, place)


def read_table(frame: pd.DataFrame, name: str, where: Where, faults: Faults = None) -> Table:
    """Parse a wide, long or two-level frame.

    Parameters
    ----------
    frame : DataFrame
        Times are in a column or in the index.
    name : str
        Name of the symbol, for a long table without a symbol column.
    where : callable
        Returns the name of the n-th row for messages, such as ``row 3``.
    faults : list of str, optional
        Takes a line for each wrong cell and each row out of order, instead of an error at the first. Such cells are read as
        gaps, rows without a time or a symbol are left out, and of rows at the same time the first is kept.

    Raises
    ------
    InputError
        When the table is wrong. The message names the row and the column of the first error.
    """
    if isinstance(frame.index, pd.DatetimeIndex) or plain(frame.index.name or "") in TIME_COLUMNS:
        frame = frame.rename_axis(index=str(frame.index.name or "date"))
        if frame.columns.nlevels == 1:
            frame = frame.reset_index()
    if frame.columns.nlevels == 2:
        return _from_levels(frame, where, faults)
    frame = frame.rename(columns=lambda column: str(column).strip())
    if frame.empty or frame.shape[1] < 2:
        raise InputError(f"no rows or no price columns; it should be {FORMATS}")
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"column {twice!r} appears twice in the header; give each a different name")
    known = {plain(column): column for column in frame.columns}
    is_long = "close" in known or any(c in known for c in SYMBOL_COLUMNS)
    if is_long:
        known = {ALIASES.get(key, key): column for key, column in known.items()}
    time_column = next((known[c] for c in TIME_COLUMNS if c in known), frame.columns[0])
    if "date" in known and "time" in known:
        clock = frame[known["date"]].astype(str) + " " + frame[known["time"]].astype(str)
        index = parse_times(clock, f"{known['date']} {known['time']}", where, faults)
    else:
        index = parse_times(frame[time_column], time_column, where, faults)
    if index.hasnans:
        timed = np.flatnonzero(index.notna())
        frame, index, where = frame.iloc[timed], index[timed], _renumbered(where, timed)
    if is_long:
        return _from_long(frame, known, index, name, where, faults)
    if {"open", "high", "low"} <= known.keys():
        raise InputError(
            f"column 'close' is missing (there are {', '.join(frame.columns)}); name the column of closes so"
        )
    frame, index, where = _in_order(frame, index, where, faults)
    columns = _symbols(frame, [c for c in frame.columns if c not in (time_column, known.get("time"))])
    close = np.column_stack(list(parse_numbers({c: frame[c] for c in columns}, where, faults).values()))
    return Table(index, tuple(columns), {"close": close}, lambda bar, i, _: f"{where(bar)}, column {columns[i]!r}")


def _symbols(frame: pd.DataFrame, columns: list[str]) -> list[str]:
    """The columns of a wide table that are symbols: not a saved index of row numbers.

    Raises
    ------
    InputError
        When a column has no name, or is a field that does not say of which symbol.
    """
    nameless = [c for c in columns if not c or plain(c) == "unnamed" or plain(c).startswith("unnamed:")]
    for column in nameless:
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        if not (np.diff(values) == 1).all():
            raise InputError(f"column {column!r} has no name; name it after its symbol, or remove it")
    for column in columns:
        if ALIASES.get(plain(column), plain(column)) in NO_SYMBOLS:
            raise InputError(
                f"column {column!r} is no symbol, but in a wide table each column holds the closes of one; remove it, or "
                "write the table long (columns date, symbol, close, volume)"
            )
    return [c for c in columns if c not in nameless]


def _renumbered(where: Where, rows: np.ndarray) -> Where:
    """`where` for a table of some of the rows."""
    return lambda row: where(int(rows[row]))


def _from_long(
    frame: pd.DataFrame, known: dict[str, str], index: pd.DatetimeIndex, name: str, where: Where, faults: Faults
) -> Table:
    if "close" not in known:
        raise InputError(f"column 'close' is missing (there are {', '.join(frame.columns)}); it should be {FORMATS}")
    present = [field for field in TABLE_FIELDS if field in known]
    symbol_column = next((known[c] for c in SYMBOL_COLUMNS if c in known), None)
    if symbol_column is None:
        frame, index, where = _in_order(frame, index, where, faults)
    else:
        nameless = frame[symbol_column].isna().to_numpy()
        for row in np.flatnonzero(nameless).tolist():
            report(faults, f"{where(row)}, column {symbol_column!r}: no symbol; complete the row or remove it")
        named = np.flatnonzero(~nameless)
        frame, index, where = frame.iloc[named], index[named], _renumbered(where, named)
    read = parse_numbers({known[field]: frame[known[field]] for field in present}, where, faults)
    values = {field: read[known[field]] for field in present}

    def at(row: int, field: str) -> str:
        return f"{where(row)}, column {known[field]!r}"

    if symbol_column is None:
        fields = {f: v[:, None] for f, v in values.items()}
        return _adjusted(Table(index, (name,), fields, lambda bar, _, field: at(bar, field)), faults)
    labels = frame[symbol_column].astype(str).str.strip().to_numpy(dtype=object)
    column_of, symbols = pd.factorize(labels, sort=True)
    every = pd.DatetimeIndex(index.unique()).sort_values()
    row_of = every.get_indexer(index)
    for column, symbol in enumerate(symbols):
        rows = np.flatnonzero(column_of == column)
        bars = row_of[rows]
        for k in (np.flatnonzero(bars[1:] <= np.maximum.accumulate(bars)[:-1]) + 1).tolist():
            what = "appears twice" if bars[k] in bars[:k] else "comes out of order; sort by time"
            report(faults, f"{where(rows[k])}: {symbol} at {index[rows[k]]} {what}")
    wide = {}
    for field, column_values in values.items():
        wide[field] = np.full((len(every), len(symbols)), np.nan)
        wide[field][row_of[::-1], column_of[::-1]] = column_values[::-1]  # of rows at the same time the first

    def place(bar: int, symbol: int, field: str) -> str:
        return at(int(np.flatnonzero((row_of == bar) & (column_of == symbol))[0]), field)

    return _adjusted(Table(every, tuple(symbols), wide, place), faults)


def _from_levels(frame: pd.DataFrame, where: Where, faults: Faults) -> Table:
    """Parse a frame with two levels of columns, field and symbol in either order, as returned by `yfinance.download`."""
    levels = [[plain(v) for v in frame.columns.get_level_values(i)] for i in (0, 1)]
    field_level = next((i for i in (0, 1) if "close" in levels[i]), None)
    if field_level is None:
        raise InputError("neither level of the columns has a 'close'; the two levels should be field and symbol")
    index = parse_times(pd.Series(frame.index), str(frame.index.name), where, faults)
    if index.hasnans:
        timed = np.flatnonzero(index.notna())
        frame, index, where = frame.iloc[timed], index[timed], _renumbered(where, timed)
    frame, index, where = _in_order(frame, index, where, faults)
    symbols = list(dict.fromkeys(str(v) for v in frame.columns.get_level_values(1 - field_level)))
    labels: dict[tuple[str, int], str] = {}
    columns = {}
    for i, label in enumerate(frame.columns):
        field = ALIASES.get(levels[field_level][i], levels[field_level][i])
        key, text = (field, symbols.index(str(label[1 - field_level]))), ", ".join(map(str, label))
        if key in labels:
            raise InputError(f"column {text!r} appears twice in the header; give each a different name")
        if field in TABLE_FIELDS:
            labels[key], columns[text] = text, frame.iloc[:, i]
    read = parse_numbers(columns, where, faults)
    fields: dict[str, np.ndarray] = {}
    for (field, symbol), text in labels.items():
        fields.setdefault(field, np.full((len(index), len(symbols)), np.nan))[:, symbol] = read[text]

    def place(bar: int, symbol: int, field: str) -> str:
        return f"{where(bar)}, column {labels[field, symbol]!r}"

    return _adjusted(Table(index, tuple(symbols), fields, place), faults)


def _adjusted(table: Table, faults: Faults) -> Table:
    """Scale the prices of each bar to its adjusted close, which leaves ratios of prices within a bar unchanged."""
    if "adj close" not in table.fields:
        return table
    fields = dict(table.fields)
    for field in ("close", "adj close"):
        for bar, symbol in np.argwhere(fields[field] <= 0).tolist():
            where, value = table.place(bar, symbol, field), fields[field][bar, symbol]
            report(faults, f"{where}: {field} is {value:g}: a price must be positive")
        fields[field] = np.where(fields[field] <= 0, np.nan, fields[field])
    scale = fields.pop("adj close") / fields["close"]
    prices = ("open", "high", "low", "close")
    return replace(table, fields={field: v * scale if field in prices else v for field, v in fields.items()})


def _in_order(
    frame: pd.DataFrame, index: pd.DatetimeIndex, where: Where, faults: Faults
) -> tuple[pd.DataFrame, pd.DatetimeIndex, Where]:
    """The rows of a table in order of time, each time once; unless `faults` are noted, another order is an error."""
    steps = np.diff(index.asi8)
    if (steps > 0).all():
        return frame, index, where
    if (steps < 0).all():
        report(faults, f"{where(1)}: times are not sorted: newest first; reverse the order of the rows")
    else:
        for row in (np.flatnonzero(steps <= 0) + 1).tolist():
            if steps[row - 1] < 0:
                message = f"times are not sorted: {index[row]} comes after {index[row - 1]}; sort by time"
            elif index.tz is None and index[row] != index[row].normalize():
                message = (
                    f"time {index[row]} appears twice; keep one, or if clocks were set back, write times with their UTC "
                    "offset"
                )
            else:
                message = f"time {index[row]} appears twice; keep one of the two"
            report(faults, f"{where(row)}: {message}")
    rows = np.unique(index.asi8, return_index=True)[1]
    return frame.iloc[rows], index[rows], _renumbered(where, rows)
