"""Reading of Parquet data sets, restricted to the requested span and symbols.

A data set is one file, or many files in folders such as ``symbol=SPY`` or ``year=2020`` (Hive partitions). Filters are pushed
down: folders and row groups that cannot match are skipped, and columns that `Bars` does not use are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import and_
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from markets.bars.time_spans import NoRows, Span
from markets.common.errors import InputError
from markets.data.parsing import Faults
from markets.data.tables import ALIASES, SYMBOL_COLUMNS, TABLE_FIELDS, TIME_COLUMNS, Table, plain, read_table

NANOS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def is_dataset(files: Sequence[Path]) -> bool:
    """Whether the files of one folder are parts of one table, which is so if they have a symbol column."""
    return bool(files) and any(plain(name) in SYMBOL_COLUMNS for name in pq.read_schema(files[0]).names)


def read_dataset(files: Sequence[Path], span: Span, symbols: Sequence[str] | None, faults: Faults = None) -> Table:
    """Read the rows of a time span and of some symbols.

    Parameters
    ----------
    files : sequence of Path
        Parquet files of one schema. If times are not of an Arrow time type, all rows are read and filtered afterwards.
    span : Span
    symbols : sequence of str, optional
    faults : list of str, optional
        See `markets.data.parsing.Faults`.

    Returns
    -------
    Table

    Raises
    ------
    NoRows
        When no rows are left.
    InputError
        When a column is missing or a value is wrong.
    """
    keys = pa.schema([(key, _key_type(key)) for key in _keys(files[0])])
    options = {"format": "parquet", "partitioning": ds.partitioning(keys, flavor="hive")}
    schema = _with_float_prices(ds.dataset(str(files[0]), **options).schema)
    data = ds.dataset([str(file) for file in files], schema=schema, **options)
    time = _time_column(schema)
    symbol = next((name for name in schema.names if plain(name) in SYMBOL_COLUMNS), None)
    filters = _time_filters(schema, time, span)
    if symbol and symbols:
        wanted = pa.array(list(symbols)).cast(schema.field(symbol).type)
        filters.append(pc.field(symbol).isin(wanted))
    columns = _columns(schema, time, symbol, symbols, keys.names)
    table = data.to_table(columns=columns, filter=reduce(and_, filters) if filters else None)
    if table.num_rows == 0:
        raise NoRows(f"no rows {span}" + (f" of {', '.join(symbols)}" if symbols else ""))
    if symbol:
        table = table.set_column(table.schema.get_field_index(symbol), symbol, table[symbol].cast(pa.string()))
    frame = table.to_pandas()
    del table
    if len(files) > 1:  # rows are ordered within each file, but not across files
        by_index = isinstance(frame.index, pd.DatetimeIndex)
        frame = frame.sort_index(kind="stable") if by_index else frame.sort_values(time, kind="stable")
        frame = frame if by_index else frame.reset_index(drop=True)
    where = "row {}" if len(files) == 1 and not filters else "row {} of those read"
    return read_table(frame, files[0].stem, where.format, faults).within(span)


def _columns(
    schema: pa.Schema, time: str, symbol: str | None, symbols: Sequence[str] | None, keys: Sequence[str]
) -> list[str]:
    """Columns that `Bars` uses, the time column first."""
    known = {ALIASES.get(plain(name), plain(name)): name for name in schema.names}
    if symbol or "close" in known:
        fields = {known.get(field) for field in (*TABLE_FIELDS, *TIME_COLUMNS)} | {symbol}
        return [time, *(name for name in schema.names if name in fields and name != time)]
    if any(name.startswith("('") for name in schema.names):
        return list(schema.names)  # two levels of columns, in the way pandas stores them
    wide = [name for name in schema.names if name != time and name not in keys]
    for name in symbols or ():
        if name not in wide:
            raise InputError(f"there is no symbol {name!r}; there are {', '.join(wide)}")
    return [time, *(symbols or wide)]


def _keys(file: Path) -> list[str]:
    """Names of the partition keys, from the folders of a file's path."""
    return [part.split("=", 1)[0] for part in file.parts[:-1] if "=" in part]


def _key_type(key: str) -> pa.DataType:
    if plain(key) in TIME_COLUMNS:
        return pa.timestamp("s")
    return pa.int32() if plain(key) in ("year", "quarter", "month", "week", "day") else pa.string()


def _with_float_prices(schema: pa.Schema) -> pa.Schema:
    """The schema with float prices: in the first file, whole-number prices may be stored as integers."""
    for i, field in enumerate(schema):
        if pa.types.is_integer(field.type) and ALIASES.get(plain(field.name), plain(field.name)) in TABLE_FIELDS:
            schema = schema.set(i, field.with_type(pa.float64()))
    return schema


def _time_column(schema: pa.Schema) -> str:
    """Name of the time column: by name or pandas index, else the first column of a time type, else the first column."""
    named = [name for name in schema.names if plain(name) in TIME_COLUMNS or name == "__index_level_0__"]
    typed = [field.name for field in schema if pa.types.is_temporal(field.type)]
    return next((name for name in named if name in typed), (named or typed or schema.names)[0])


def _time_filters(schema: pa.Schema, time: str, span: Span) -> list[pc.Expression]:
    kind = schema.field(time).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return []
    zone = pd.DatetimeIndex([], tz=kind.tz).tz if pa.types.is_timestamp(kind) else None
    filters = []
    for bound, is_first in zip(span.on(zone), (True, False), strict=True):
        if bound is None:
            continue
        limit = _scalar(bound, kind, up=is_first)
        filters.append(pc.field(time) >= limit if is_first else pc.field(time) <= limit)
        for key in schema.names:
            if plain(key) == "year" and pa.types.is_integer(schema.field(key).type):
                # In another time zone, the year may start up to a day earlier or later.
                year = (bound - pd.Timedelta("1D") if is_first else bound + pd.Timedelta("1D")).year
                filters.append(pc.field(key) >= year if is_first else pc.field(key) <= year)
    return filters


def _scalar(bound: pd.Timestamp, kind: pa.DataType, up: bool) -> pa.Scalar:
    """A bound in the unit of a column, rounded towards the inside of the span."""
    if pa.types.is_date(kind):
        day: datetime = (bound.ceil("D") if up else bound.floor("D")).to_pydatetime(warn=False)
        return pa.scalar(day.date(), type=kind)
    count, rest = divmod(bound.value, NANOS[kind.unit])
    return pa.scalar(count + (up and rest > 0), type=kind)
