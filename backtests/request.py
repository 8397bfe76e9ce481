"""Bars as a request to a deployed model holds them, in JSON: symbols, times, and one row of values per time."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from markets import Bars, InputError
from markets.bars.bars import FIELDS

_NUMBERS = {float, int, type(None)}


def to_request(bars: Bars, columns: Sequence[str] = ()) -> dict[str, Any]:
    """The visible rows as JSON can hold them: ``symbols``, ``times``, and ``bars`` (closes) with None in gaps.

    Parameters
    ----------
    bars : Bars of shape (T, A)
    columns : sequence of str
        What to add beside closes, such as ``volume``: of each as many rows, under its name.
    """
    asked = {
        "symbols": list(bars.symbols),
        "times": [time.isoformat() for time in bars.index],
        "bars": _plain(bars.close),
    }
    return asked | {column: _plain(getattr(bars, column)) for column in columns}


def from_request(
    symbols: Any, times: Any, rows: Any, name: str = "the request", columns: Mapping[str, Any] | None = None
) -> Bars:
    """Bars from what `to_request` returns, or an external client sends; parameters as of `rows_from_request`.

    Raises
    ------
    InputError
        When one of them is missing, or their shapes differ, or a value is impossible.
    """
    return joined([rows_from_request(symbols, times, rows, name, columns)])


def rows_from_request(
    symbols: Any, times: Any, rows: Any, name: str = "the request", columns: Mapping[str, Any] | None = None
) -> Bars:
    """As `from_request`, but not validated: they go on from other bars (`joined`), and there may be a single one.

    Parameters
    ----------
    symbols : sequence of str, length A
    times : sequence of str, length T
        ISO 8601, oldest first; all with an offset from UTC, or none.
    rows : sequence of T sequences of A numbers
        Closes; None or NaN where a symbol did not trade.
    name : str
        What to call the bars in messages.
    columns : mapping of str to such rows, optional
        What there is beside closes: ``open``, ``high``, ``low``, ``volume`` or ``spread``.

    Raises
    ------
    InputError
        When one of them is missing, or their shapes differ, or a value is impossible.
    """
    for what, given in (("symbols", symbols), ("times", times), ("bars", rows)):
        if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)) or not len(given):
            raise InputError(
                f"{name} is without {what}: send symbols (names), times (ISO 8601) and bars (one row of closes per time)"
            )
    if not all(isinstance(symbol, str) for symbol in symbols):
        raise InputError(f"{name}: symbols must be names, each a text in quotes")
    if not all(isinstance(time, str) for time in times):
        raise InputError(f"{name}: times must be ISO 8601, each a text in quotes")
    try:
        index = pd.DatetimeIndex(pd.to_datetime(list(times), format="ISO8601", utc=_aware(times[0])))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{name}: times must be ISO 8601, all with an offset from UTC or none ({str(error)[:200]})"
        ) from None
    close = _values(name, "bars", "close", rows, symbols)
    if len(index) != len(close):
        raise InputError(f"{name} has {len(index)} times and {len(close)} rows of bars; there must be one time per row")
    more: dict[str, Any] = {}
    for column, given in (columns or {}).items():
        if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)) or len(given) != len(close):
            raise InputError(f"{name}: {column} must be rows of numbers, as many as bars has: {len(close)}")
        more[column] = _values(name, column, column, given, symbols)
    if len(set(symbols)) < len(symbols):
        twice = next(symbol for i, symbol in enumerate(symbols) if symbol in list(symbols)[:i])
        raise InputError(f"{name}: symbol {twice!r} appears twice; give every symbol one column")
    return Bars(index, tuple(symbols), {"close": close, **more}, np.isfinite(close), name)


def joined(parts: Sequence[Bars]) -> Bars:
    """Consecutive bars of the same symbols as one, with the fields of the first, validated.

    Raises
    ------
    InputError
        When times are not strictly increasing, there are fewer than two, or a value is impossible.
    """
    first, index = parts[0], pd.DatetimeIndex(parts[0].index.append([part.index for part in parts[1:]]))
    names = [name for name in (*FIELDS, "spread") if getattr(first, name) is not None]
    fields: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    tradable = np.concatenate([part.tradable for part in parts])
    return Bars.make(index, first.symbols, **fields, tradable=tradable, name=parts[-1].name)


def first_line(error: Exception) -> str:
    """What a library says of a value, without its advice to programmers."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


def _values(name: str, where: str, what: str, rows: Any, symbols: Any) -> np.ndarray:
    """Rows of numbers as an array (T, A), with NaN for None."""
    found = np.empty((len(rows), len(symbols)))
    for t, row in enumerate(rows):
        if isinstance(row, str) or not isinstance(row, (Sequence, np.ndarray)) or len(row) != len(symbols):
            raise InputError(
                f"{name}: row {t} of {where} must hold {len(symbols)} {what}s, one for each of the symbols"
            )
        plain = set(map(type, row)) <= _NUMBERS  # a look at each value takes as long as the decision
        for a, value in enumerate(() if plain else row):
            if value is not None and (isinstance(value, (bool, str)) or not np.isscalar(value)):
                raise InputError(
                    f"{name}: the {what} of {symbols[a]} in row {t} is {reprlib.repr(value)}, which is not a number"
                )
        try:
            found[t] = row
        except (OverflowError, TypeError, ValueError):
            a = next(a for a, value in enumerate(row) if not _is_float(value))
            kind = "a price" if what != "volume" else "a volume"
            raise InputError(
                f"{name}: the {what} of {symbols[a]} in row {t} is not a number that {kind} can be"
            ) from None
    return found


def _is_float(value: Any) -> bool:
    try:
        np.float64(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def _aware(time: Any) -> bool:
    return pd.Timestamp(time).tz is not None
