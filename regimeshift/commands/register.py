"""``regimeshift register``: put a trained model into the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass
class Register:
    """Adapt a trained model to all bars, register it, prove it in a fresh process, and make it the champion."""

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    model: str = "models/stocks-rl2"
    """Folder that `regimeshift train` wrote."""
    name: str | None = None
    """Name in the registry; by default the folder's."""
    promote: bool = True
    """Make it the champion if it passes the gate."""

    def run(self) -> None:
        from pathlib import Path

        from backtests import registry
        from markets import load
        from metalearner import load_meta
        from regimeshift.console import console

        bars = load(self.source)
        meta = load_meta(self.model)
        version = registry.register(self.name or Path(self.model).resolve().name, meta, bars=bars)
        console.print(f"Registered {version.uri}")
        if self.promote:
            difference = registry.promote(version)
            console.print(f"A fresh process gets the same weights (largest difference {difference:.1e}): champion.")
