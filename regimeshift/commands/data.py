"""``regimeshift data``: summarise a data set, check its quality, and fetch sets from the package registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from regimeshift.options import DataOptions, Source

if TYPE_CHECKING:
    from markets.bars.bars import Source as BarsSource


@dataclass
class Show(DataOptions):
    """Summarise a data set: span, gaps, growth and volatility of each symbol.

    Files are CSV or Parquet, either wide (a time column and one column of closes per symbol) or long (columns time, symbol,
    open, high, low, close, volume, of which only time and close are required; without a symbol column the file is one symbol).
    """

    source: Source = "stocks"

    def run(self) -> None:
        import numpy as np
        import pandas as pd

        from markets.common.statistics import bars_per_year, deviation, growth_per_year, years
        from regimeshift.console import console, show

        bars = self.load(self.source)
        rows = {}
        for i, symbol in enumerate(bars.symbols):
            there = np.flatnonzero(np.isfinite(bars.close[:, i]))
            index, close = bars.index[there], bars.close[there, i]
            rows[symbol] = {
                "first": f"{index[0]:%Y-%m-%d}",
                "last": f"{index[-1]:%Y-%m-%d}",
                "bars": f"{len(there):,}",
                "gaps": f"{there[-1] - there[0] + 1 - len(there):,}",
                "growth\nper year": _percent(growth_per_year(close[-1] / close[0], years(index))),
                "volatility\nper year": _percent(deviation(np.diff(close) / close[:-1]) * bars_per_year(index) ** 0.5),
            }
            if bars.spread is not None:
                quoted = bars.spread[np.isfinite(bars.spread[:, i]), i]
                rows[symbol]["median\nspread"] = f"{np.median(quoted) * 1e4:.1f} bp" if len(quoted) else "–"
        show(pd.DataFrame(rows).T, repr(bars), "symbol")
        per_year = bars.bars_per_year
        rate = (
            f"About {per_year:,.0f} bars per year" if np.isfinite(per_year) else "Too short to annualise: a single day"
        )
        fields = [*bars.fields, *(["spread"] if bars.spread is not None else [])]
        console.print(f"Fields: {', '.join(fields)}. {rate}.")
        console.print(f"data_hash {bars.hash}\nspan_hash {bars.span_hash}")
        for line in known(bars.source):
            console.print(line, markup=False)


def known(source: BarsSource) -> list[str]:
    """What is known about where bars come from, a sentence each."""
    lines = [f"From: {source.origin}."] if source.origin else []
    lines += [f"To know: {caveat}." for caveat in source.caveats]
    lines += [f"Survivorship: {source.survivorship}."] if source.survivorship else []
    lines += [f"A fair cost per side: {source.costs} (--costs {source.costs})."] if source.costs else []
    return lines


def _percent(value: float) -> str:
    return f"{value:.1%}" if abs(value) < float("inf") else "–"


@dataclass
class Check(DataOptions):
    """Check the quality of a data set: gaps, stale prices, outliers, suspected splits, missing sessions. The worst come first.

    Exit status 1 if there is a finding of severity "error", which makes the data unusable as they are; else 0.
    """

    source: Source = "stocks"
    calendar: str | None = None
    """Trading calendar: an exchange code such as XNYS, XLON or XTKS, or 24/5 or 24/7; by default guessed from the bars."""
    stale: int = 10
    """Number of consecutive bars with the same close that counts as stale."""
    page: str | None = None
    """Write a page with plots to this .html file."""

    def run(self) -> None:
        from markets.quality import check, check_source
        from markets.quality.findings import first_cells, when
        from regimeshift.console import console, listing, page_file, step

        if self.page:
            page_file(self.page, "--page")
        with step(f"checking {self.source}"):
            if self.resample:
                report = check(self.load(self.source), self.calendar, self.stale)
            else:
                report = check_source(
                    self.source, self.calendar, self.stale, start=self.start, end=self.end, symbols=self.symbols or None
                )
        console.print(repr(report.bars))
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
        for cell in first_cells(report.cells):
            console.print(cell, markup=False)
        if self.page:
            console.print(f"Wrote {report.page(self.page)}")
        if not report.ok:
            raise SystemExit(1)


@dataclass
class Fetch:
    """Fetch data sets from the package registry into the cache, once; from then on they are read there, offline.

    Pip's settings say where: its index or mirror, proxy and certificates. Files are checked by their SHA-256, and nothing is
    installed or built. Without a name, the sets are listed.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Sets to fetch: futures, us74, fx, nyse_o, or all."""

    def run(self) -> None:
        import pandas as pd

        from markets.data.universes import UNIVERSES, fetch_universes
        from regimeshift.console import console, show

        try:
            fetched = fetch_universes(self.names)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("what was fetched is kept; run the command again to go on") from None
        for universe in fetched:
            console.print(f"{universe.name} is in {universe.archive.path}", markup=False)
        if not self.names:
            rows = {
                name: {
                    "size": f"{universe.archive.size / 1e6:.1f} MB",
                    "in the cache": "yes" if universe.archive.path.exists() else "no",
                    "what it is": universe.source.origin,
                }
                for name, universe in UNIVERSES.items()
            }
            show(pd.DataFrame(rows).T, "regimeshift data fetch NAME", "set")


def with_show(words: list[str]) -> list[str]:
    """The command-line arguments, with ``data FILE`` expanded to ``data show FILE``."""
    if words[:1] == ["data"] and words[1:2] not in (["show"], ["check"], ["fetch"], ["--help"], ["-h"]):
        return ["data", "show", *words[1:]]
    return words
