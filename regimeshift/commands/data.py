"""``regimeshift data``: summarise a data set, and check its quality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class Show:
    """Summarise a data set: span, gaps, growth and volatility of each symbol.

    Files are CSV or Parquet, either wide (a time column and one column of closes per symbol) or long (columns time, symbol,
    open, high, low, close, volume, of which only time and close are required; without a symbol column the file is one symbol).
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """Data set: stocks, sp500, nasdaq, a CSV or Parquet file or folder, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""

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
                "growth per year": f"{returns.mean() * per_year:.1%}" if len(returns) else "–",
                "volatility": f"{returns.std() * per_year**0.5:.1%}" if len(returns) else "–",
            }
        fields = ", ".join(f for f in ("open", "high", "low", "close", "volume") if getattr(bars, f) is not None)
        show(pd.DataFrame(rows).T, repr(bars), "symbol")
        console.print(f"Fields: {fields}. About {per_year:.0f} bars per year. SHA-256 {bars.hash}.")
        if bars.name in SURVIVORSHIP:
            console.print(f"Survivorship: {SURVIVORSHIP[bars.name]}.")


@dataclass
class Check:
    """Check the quality of a data set: gaps, stale prices, outliers, suspected splits, missing sessions. The worst come first.

    Exit status 1 if there is a finding of severity "error", which makes the data unusable as they are; else 0.
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """Data set: stocks, sp500, nasdaq, a CSV or Parquet file or folder, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    calendar: str | None = None
    """Trading calendar: an exchange code such as XNYS, XLON or XTKS, or 24/5 or 24/7; by default guessed from the bars."""
    stale: int = 10
    """Number of consecutive bars with the same close that counts as stale."""
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
            console.print("No findings.")
        if self.page:
            console.print(f"Wrote {report.page(self.page)}")
        if not report.ok:
            raise SystemExit(1)


def with_show(words: list[str]) -> list[str]:
    """The command-line arguments, with ``data FILE`` expanded to ``data show FILE``."""
    if words[:1] == ["data"] and words[1:2] not in (["show"], ["check"], ["--help"], ["-h"]):
        return ["data", "show", *words[1:]]
    return words
