"""``regimeshift data``: what is in a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass
class Data:
    """Show a data set: span, gaps, return and volatility of each symbol.

    Files are CSV or Parquet, either wide (a time column, then one column of closes a symbol) or long (columns time, symbol,
    open, high, low, close, volume, of which only time and close are needed; without a symbol column the file is one symbol).
    """

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, or the path of a .csv or .parquet file."""

    def run(self) -> None:
        import numpy as np
        import pandas as pd

        from markets import load
        from markets.sources import SURVIVORSHIP
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
