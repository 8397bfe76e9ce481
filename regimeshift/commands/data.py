"""``regimeshift data``: what is in a data set, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class Show:
    """Show a data set: span, gaps, return and volatility of each symbol.

    Files are CSV or Parquet, either wide (a time column, then one column of closes a symbol) or long (columns time, symbol,
    open, high, low, close, volume, of which only time and close are needed; without a symbol column the file is one symbol).
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""

    def run(self) -> None:
        import numpy as np
        import pandas as pd

        from markets import load
        from markets.data.loading import SURVIVORSHIP
        from regimeshift.console import console, show

        bars = load(self.source)
        per_year = len(bars) / bars.years
        rows = {}
        for i, symbol in enumerate(bars.symbols):
            close = bars.close[:, i]
            there = np.flatnonzero(np.isfinite(close))
            returns = np.diff(np.log(bars.marks[there[0] :, i]))
            rows[symbol] = {
                "first": f"{bars.index[there[0]]:%Y-%m-%d}",
                "last": f"{bars.index[there[-1]]:%Y-%m-%d}",
                "bars": f"{len(there):,}",
                "gaps": f"{there[-1] - there[0] + 1 - len(there):,}",
                "growth a year": f"{returns.mean() * per_year:.1%}" if len(returns) else "–",
                "volatility": f"{returns.std() * per_year**0.5:.1%}" if len(returns) else "–",
            }
        fields = ", ".join(f for f in ("open", "high", "low", "close", "volume") if getattr(bars, f) is not None)
        show(pd.DataFrame(rows).T, repr(bars), "symbol")
        console.print(f"Fields: {fields}. About {per_year:.0f} bars a year. SHA-256 {bars.hash[:16]}…")
        if bars.name in SURVIVORSHIP:
            console.print(f"Survivorship: {SURVIVORSHIP[bars.name]}.")


@dataclass
class Check:
    """Look for what is wrong with a data set: gaps, stale runs, outliers, suspected splits, calendar holes. Worst first.

    The status is 1 when the data is unusable as it is (a finding of severity "error"), else 0.
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    calendar: str | None = None
    """An exchange's code as XNYS, XLON or XTKS, or 24/5 or 24/7; guessed where the bars make it clear."""
    stale: int = 10
    """Bars with one and the same close that are suspicious."""
    page: str | None = None
    """Write a page with plots to this .html file."""

    def run(self) -> None:
        from markets import load
        from markets.quality.findings import when
        from markets.quality.report import check
        from regimeshift.console import console, listing, writable

        if self.page:
            writable(Path(self.page).parent)
        bars = load(self.source)
        report = check(bars, self.calendar, self.stale)
        console.print(repr(bars))
        for name, fact in report.facts.items():
            console.print(f"{name.capitalize()}: {fact}.", markup=False)
        if report.findings:
            colours = {"error": "bold red", "warning": "yellow", "note": "dim"}
            rows = []
            for f in report.findings:
                span = when(f.first) if f.first == f.last else f"{when(f.first)} to\n{when(f.last)}"
                rows.append((f.severity, f.symbol, f.kind, span, f"{f.count:,}", f.detail))
            heads = ("severity", "symbol", "kind", "when", "count", "detail")
            listing(heads, rows, [colours[f.severity] for f in report.findings])
        else:
            console.print("No finding.")
        if self.page:
            console.print(f"Wrote {report.page(self.page)}")
        if not report.ok:
            raise SystemExit(1)


def with_show(words: list[str]) -> list[str]:
    """Command line in which ``data FILE`` is ``data show FILE``."""
    if words[:1] == ["data"] and words[1:2] not in (["show"], ["check"], ["--help"], ["-h"]):
        return ["data", "show", *words[1:]]
    return words
