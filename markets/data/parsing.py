"""Parsing of text cells as numbers and times.

Vendors write 1234.5 as ``1,234.50``, ``1.234,50``, ``$1 234.50`` or ``"1234.5"``, and 31 January as 2024-01-31, 31/01/2024 or
1706659200000. Within one table the format is assumed to be the same throughout, so ambiguous cells are read in the way that
the unambiguous cells show. If all cells are ambiguous, nothing is guessed: an error asks the user to rewrite them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from markets.common.errors import InputError

Where = Callable[[int], str]
Faults = list[str] | None
"""Takes a line for each wrong cell, which is then read as a gap; with None, the first wrong cell raises `InputError`."""

FEW = 5  # wrong cells up to which each has its own line, even if they are most of a column
CURRENCY = r"[$€£¥₹₩₽₿]|USDT?|EUR|GBP|JPY|CHF|CNY|INR"
_AFFIX = re.compile(rf"^(?P<sign>[-+]?)(?P<before>{CURRENCY})?\s*(?P<number>[-+]?[\d.,].*?)\s*(?P<after>{CURRENCY})?$")
_SPACED = re.compile(r"(?<=\d)[\s'’\u00a0\u2009\u202f](?=\d{3}(?!\d))")
# Numbers with a decimal comma, and with a decimal point.
_COMMA_STYLE = r"[-+]?(?:(?:\d*|[1-9]\d{0,2}(?:\.\d{3})+),\d+|[1-9]\d{0,2}(?:\.\d{3})+)"
_DOT_STYLE = r"[-+]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?|\d*\.\d*(?:[eE][-+]?\d+)?)"
# Range of a time in seconds since 1970. Since units differ by a factor of 1,000, at most one of them puts a count into it.
_FIRST, _LAST = (pd.Timestamp(year).timestamp() for year in ("1990", "2100"))
_OFFSET = r":\d\d.*(?:Z|[-+]\d\d(?::?\d\d)?)$"
_CLOCK = r"(?:[ T]+(?P<clock>\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?))?"
_BEFORE_CLOCK = r"[ T]+(?=\d{1,2}:)"
_DAY_AND_MONTH = r"(?P<a>\d{1,2})(?P<separator>[/.-])(?P<b>\d{1,2})(?P=separator)(?P<year>\d{4})" + _CLOCK
_STYLES = {
    re.compile(shape): style
    for shape, style in {
        _DAY_AND_MONTH: "",  # decided by the other rows
        r"\d{1,2}-[A-Za-z]{3}-\d{4}" + _CLOCK: "%d-%b-%Y",
        r"\d{1,2} [A-Za-z]{3} \d{4}" + _CLOCK: "%d %b %Y",
        r"[A-Za-z]{3} \d{1,2}, \d{4}" + _CLOCK: "%b %d, %Y",
        r"\d{4}/\d{1,2}/\d{1,2}" + _CLOCK: "%Y/%m/%d",
        r"\d{4}\.\d{1,2}\.\d{1,2}" + _CLOCK: "%Y.%m.%d",
    }.items()
}


# ---------------------------------------------------------------------- numbers


def parse_numbers(columns: dict[str, pd.Series], where: Where, faults: Faults = None) -> dict[str, np.ndarray]:
    """Parse the columns of one table as float64; empty cells become NaN.

    Parameters
    ----------
    columns : dict of str to Series of length T
        Keys are the column names used in messages. Numeric columns are taken as they are.
    where : callable
        Returns the name of the n-th row for messages.
    faults : list of str, optional
        See `Faults`.

    Returns
    -------
    dict of str to ndarray of shape (T,)

    Raises
    ------
    InputError
        At the first cell that is not a number, or is ambiguous.
    """
    read, texts = {}, {}
    for name, column in columns.items():
        if pd.api.types.is_bool_dtype(column) or column.dtype.kind in "mM":
            raise InputError(f"column {name!r} holds {column.dtype}, not numbers; remove it or write numbers")
        plain = pd.to_numeric(column, errors="coerce")
        if plain.notna().eq(column.notna()).all():
            read[name] = plain
        if _is_text(column):
            texts[name] = column
    if len(read) < len(columns):  # some cell is not a plain number: parse all text again, in one format for the table
        bare = {name: _bare(_stripped(column), name, where) for name, column in texts.items()}
        comma_is_decimal = _comma_is_decimal(bare, where)
        read |= {name: _in_digits(text, comma_is_decimal, name, where, faults) for name, text in bare.items()}
    return {name: read[name].to_numpy(dtype=np.float64, na_value=np.nan, copy=True) for name in columns}


def _in_digits(text: pd.Series, comma_is_decimal: bool, name: str, where: Where, faults: Faults) -> pd.Series:
    marked = text.str.contains("[,.]", na=False)
    if comma_is_decimal:
        shaped = text.str.fullmatch(_COMMA_STYLE, na=False)
        digits = text.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        shaped = text.str.fullmatch(_DOT_STYLE, na=False)
        digits = text.str.replace(",", "", regex=False)
    value = pd.to_numeric(digits, errors="coerce")
    wrong = ((marked & ~shaped) | (value.isna() & text.notna())).to_numpy(dtype=bool)
    rows = np.flatnonzero(wrong).tolist()
    if len(rows) > FEW and 2 * len(rows) > text.notna().sum():  # a column of text: a line for each cell says no more
        first = f"the first {text.iloc[rows[0]]!r} in {where(rows[0])}"
        report(faults, f"column {name!r}: {len(rows):,} cells are not numbers, {first}; remove the column")
        return value.mask(wrong)
    for row in rows:
        report(faults, f"{where(row)}, column {name!r}: {text.iloc[row]!r} is not a number")
    return value.mask(wrong)


def report(faults: Faults, line: str) -> None:
    """Note a wrong cell, or raise `InputError`; see `Faults`."""
    if faults is None:
        raise InputError(line)
    faults.append(line)


def _stripped(column: pd.Series) -> pd.Series:
    """Cells as text without surrounding spaces; empty cells become missing."""
    text = column.astype("string").str.strip()
    return text.mask(text == "")


def _is_text(column: pd.Series) -> bool:
    return bool(pd.api.types.is_string_dtype(column) or column.dtype == object)


def _bare(text: pd.Series, name: str, where: Where) -> pd.Series:
    """Cells without currency signs, and without spaces or apostrophes as thousands separators."""
    odd = ~text.str.fullmatch(r"[-+\d.,eE]*", na=True).to_numpy(dtype=bool)
    if not odd.any():
        return text
    signs: dict[str, int] = {}
    bare = text.to_numpy(dtype=object, copy=True)
    for row in np.flatnonzero(odd).tolist():
        match = _AFFIX.match(bare[row])
        if match is None:
            continue  # not a number; reported later
        for sign in filter(None, (match["before"], match["after"])):
            signs.setdefault(sign, row)
            if len(signs) > 1:
                other = next(iter(signs))
                raise InputError(
                    f"{where(row)}, column {name!r}: {text.iloc[row]!r} is in {sign}, but {where(signs[other])} is in "
                    f"{other}; use one currency per column"
                )
        bare[row] = match["sign"] + _SPACED.sub("", match["number"])
    return pd.Series(bare, index=text.index, dtype="string")


def _comma_is_decimal(texts: dict[str, pd.Series], where: Where) -> bool:
    """Whether the table uses decimal commas, as decided by its unambiguous cells."""
    decimal = thousands = unclear = None
    for name, text in texts.items():
        marked = text.str.contains("[,.]", na=False)
        as_decimal = marked & text.str.fullmatch(_COMMA_STYLE, na=False)
        as_thousands = marked & text.str.fullmatch(_DOT_STYLE, na=False)
        with_comma = text.str.contains(",", regex=False, na=False)
        decimal = decimal or _first(as_decimal & ~as_thousands, text, name)
        thousands = thousands or _first(as_thousands & ~as_decimal, text, name)
        unclear = unclear or _first(as_decimal & as_thousands & with_comma, text, name)
    if decimal and thousands:
        (row, name, cell), (other, _, cell_) = decimal, thousands
        raise InputError(
            f"{where(row)}, column {name!r}: {cell!r} writes decimals with a comma, but {cell_!r} in {where(other)} with a dot; "
            "use one style throughout"
        )
    if unclear and not decimal and not thousands:
        row, name, cell = unclear
        raise InputError(
            f"{where(row)}, column {name!r}: is {cell!r} {cell.replace(',', '')} or {cell.replace(',', '.')}? No other "
            "cell of the table decides it; write it without the comma, or with a decimal point"
        )
    return decimal is not None


def _first(mask: pd.Series, text: pd.Series, name: str) -> tuple[int, str, str] | None:
    if not mask.any():
        return None
    row = int(np.argmax(mask.to_numpy(dtype=bool)))
    return row, name, text.iloc[row]


# ---------------------------------------------------------------------- times


def parse_times(column: pd.Series, name: str, where: Where, faults: Faults = None) -> pd.DatetimeIndex:
    """Parse a column as times, keeping its order.

    Times with a UTC offset keep it if all have the same offset; otherwise they are converted to UTC. Counts of seconds (or
    milli-, micro- or nanoseconds) since 1970 become times in UTC.

    Parameters
    ----------
    column : Series of length T
    name : str
        Name of the column in messages.
    where : callable
        Returns the name of the n-th row for messages.
    faults : list of str, optional
        See `Faults`.

    Returns
    -------
    DatetimeIndex of length T
        NaT where a cell is not a time.

    Raises
    ------
    InputError
        At the first cell that is not a time, or is ambiguous.
    """
    if column.dtype.kind == "M":
        text, parsed = column, column
    elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _counted(column, name, where)
    else:
        text = _stripped(column)
        if len(text) and text.str.fullmatch(r"\d+(?:\.0+)?", na=False).all():
            return _counted(pd.to_numeric(text.astype(object)), name, where)
        parsed = _parsed(text, name, where)
    for row in np.flatnonzero(parsed.isna().to_numpy()).tolist():
        if pd.isna(text.iloc[row]):
            report(faults, f"{where(row)}, column {name!r}: no time; complete the row or remove it")
            continue
        hint = "; if the row is a total or a note, remove it" if row == len(text) - 1 else ""
        line = (
            f"{where(row)}, column {name!r}: {column.iloc[row]!r} is not a time; write it as 2024-01-31 or "
            f"2024-01-31T15:30:00{hint}"
        )
        report(faults, line)
    return pd.DatetimeIndex(parsed)


def _parsed(text: pd.Series, name: str, where: Where) -> pd.Series:
    """Times from text; NaT where a cell is not a time."""
    offset = text.str.contains(_OFFSET, na=False).to_numpy(dtype=bool)
    if offset.any() and not (offset | text.isna().to_numpy(dtype=bool)).all():
        row = int(np.argmax(offset != offset[0]))
        raise InputError(
            f"{where(row)}, column {name!r}: of {text.iloc[row]!r} and {text.iloc[0]!r} one has a UTC offset and one has none; "
            "write all times with an offset, or all without"
        )
    first = text.dropna().iloc[0] if text.notna().any() else ""
    for pattern, style in _STYLES.items():
        if match := pattern.fullmatch(first):
            style = style or _day_or_month_first(text, name, where)
            clock = match["clock"] or ""
            style += {0: "", 1: " %H:%M", 2: " %H:%M:%S"}[clock.count(":")] + (".%f" if "." in clock else "")
            return pd.to_datetime(text.str.replace(_BEFORE_CLOCK, " ", regex=True), errors="coerce", format=style)
    try:
        return pd.to_datetime(text, errors="coerce", format="ISO8601")
    except ValueError:  # offsets that change with daylight saving time: convert all to UTC
        return pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)


def _day_or_month_first(text: pd.Series, name: str, where: Where) -> str:
    """Format of dates such as 31/01/2024, if some row shows which of the two numbers is the day."""
    parts = text.str.extract(_DAY_AND_MONTH)
    day_first, month_first = ((pd.to_numeric(parts[key]) > 12).fillna(False).to_numpy() for key in ("a", "b"))
    if not day_first.any() and not month_first.any():
        row = int(np.argmax(text.notna().to_numpy()))
        raise InputError(
            f"{where(row)}, column {name!r}: is {text.iloc[row]!r} day or month first? No row of the table decides it; "
            "write it as 2024-01-31"
        )
    if day_first.any() and month_first.any():
        i, j = int(np.argmax(day_first)), int(np.argmax(month_first))
        raise InputError(
            f"{where(j)}, column {name!r}: {text.iloc[j]!r} has the month first, but {text.iloc[i]!r} in {where(i)} the day; "
            "write all as 2024-01-31"
        )
    separator = parts["separator"].dropna().iloc[0]
    return separator.join(("%d", "%m", "%Y") if day_first.any() else ("%m", "%d", "%Y"))


def _counted(values: pd.Series, name: str, where: Where) -> pd.DatetimeIndex:
    """Times written as 20240131, or as a count since 1970."""
    missing = values.isna().to_numpy()
    if missing.any():
        raise InputError(f"{where(int(np.argmax(missing)))}, column {name!r}: no time; complete the row or remove it")
    if ((values >= 19000101) & (values <= 21001231)).all():
        days = pd.to_datetime(values.astype(np.int64).astype(str), format="%Y%m%d", errors="coerce")
        if days.notna().all():
            return pd.DatetimeIndex(days)
    for nanos in (10**9, 10**6, 10**3, 1):
        if ((values * (nanos / 1e9) >= _FIRST) & (values * (nanos / 1e9) < _LAST)).all():
            whole = values.to_numpy().astype(np.int64)  # a float cannot hold nanoseconds since 1970 exactly
            part = np.round((values.to_numpy() - whole) * nanos).astype(np.int64)
            return pd.DatetimeIndex((whole * nanos + part).view("M8[ns]"), tz="UTC")
    raise InputError(
        f"column {name!r} should hold times but holds numbers; write them as 2024-01-31 or 2024-01-31T15:30:00"
    )
