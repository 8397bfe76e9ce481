"""``regimeshift adapt``: adapt a trained model to the latest bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass
class Adapt:
    """Adapt a trained model to all bars of a data set, and save the adapted strategy."""

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """Data set: stocks, sp500, nasdaq, a CSV or Parquet file or folder, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    model: str = "models/stocks-rl2"
    """Folder of a model trained by `regimeshift train`."""
    out: str | None = None
    """Folder for the adapted strategy; by default MODEL/adapted."""

    def run(self) -> None:
        import pandas as pd

        from markets import load
        from metalearner import load_meta
        from regimeshift.console import console, show, writable

        bars = load(self.source)
        meta = load_meta(self.model)
        folder = writable(self.out or f"{self.model}/adapted")
        strategy = meta.adapt(bars)
        strategy.save(folder)
        rows = {"adapted": strategy.plan(bars[-1:]).aim[0], "unadapted": meta.unadapted().plan(bars[-1:]).aim[0]}
        text = pd.DataFrame(rows, index=list(bars.symbols)).map(lambda w: f"{w:+.2%}")
        show(text, f"{meta.name}: target weights after {bars.index[-1]:%Y-%m-%d}", "symbol")
        console.print(
            f"Saved {folder}; read it with strategies.{type(strategy).__name__}.load. To deploy it: regimeshift register"
        )
