"""Vendors of market data, one module each, with a cache that makes every download resumable.

To add a vendor, write a subclass of `Vendor` in a module of this package and list it in `VENDORS`; see ``docs/extending.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from markets.bars.time_spans import Span
from markets.common.errors import InputError
from markets.data.tables import Table, joined, read_table
from markets.data.vendors.base import Vendor, progress
from markets.data.vendors.ccxt import Ccxt
from markets.data.vendors.yfinance import Yfinance

__all__ = ["FORMS", "VENDORS", "Vendor", "fetch", "is_vendor"]

VENDORS: dict[str, type[Vendor]] = {vendor.name: vendor for vendor in (Yfinance, Ccxt)}
FORMS = " or ".join(vendor.form for vendor in VENDORS.values())


def is_vendor(source: str) -> bool:
    """Whether `source` starts with the name of a vendor, as in ``"yfinance:SPY"``."""
    return ":" in source and source.partition(":")[0] in VENDORS


def fetch(source: str, span: Span, symbols: Sequence[str] | None) -> Table:
    """Read a vendor's bars from the cache, after downloading those that are missing.

    Parameters
    ----------
    source : str
        In one of the forms of `FORMS`.
    span : Span
    symbols : sequence of str, optional
        Symbols of the source to read; all by default.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        When the source cannot be parsed, the vendor has no bars of a symbol or does not respond, or its library is not
        installed.
    """
    name, _, rest = source.partition(":")
    vendor = VENDORS[name](rest)
    for symbol in symbols or ():
        if symbol not in vendor.symbols:
            raise InputError(f"there is no symbol {symbol!r} in {source}; there are {', '.join(vendor.symbols)}")
    tables, empty = {}, []
    wanted = symbols or vendor.symbols
    with progress(source, len(wanted)) as step:
        for i, symbol in enumerate(wanted):
            rows = vendor.rows(symbol, span, partial(step, i, symbol))
            if len(rows):
                tables[f"{name}:{symbol}"] = read_table(rows, symbol, "row {}".format)
            else:
                empty.append(symbol)
    if empty:
        raise InputError(f"{source}: no bars {span} of {', '.join(empty)}; check the symbol, or remove it")
    return joined(tables)
