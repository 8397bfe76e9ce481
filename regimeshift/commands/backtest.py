"""``regimeshift backtest``: walk models and rules forward."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class Backtest:
    """Walk trained models and rules forward on one data set, net of costs, with a table, a report and an MLflow run."""

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """stocks, sp500, nasdaq, a file or a folder of CSV or Parquet, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    models: list[str] = field(default_factory=list)
    """Folders that `regimeshift train` wrote; each is shown adapted and unadapted."""
    rules: list[str] = field(default_factory=lambda: ["inverse_volatility", "equal_weight", "momentum:252"])
    """equal_weight, buy_and_hold, inverse_volatility, momentum:WINDOW, my_file.py:MyStrategy."""
    start: str | None = None
    """First bar of the test; earlier bars warm up. By default the first bar that no model has learnt from."""
    end: str | None = None
    """Last bar of the test."""
    costs: str = "10bp"
    """Trading cost a side, as 10bp or 0.1%."""
    every: int = 63
    """Bars from one adaptation to the next."""
    report: str = "report.html"
    """Where the report goes."""
    ledgers: str | None = None
    """Folder for each strategy's trades, as 1_NAME.csv: time, symbol, shares, price and every part of the cost."""

    def run(self) -> None:
        from backtests import tracking, walk_forward
        from markets import load, load_detector
        from metalearner import load_meta
        from regimeshift import steps
        from regimeshift.console import console, writable
        from strategies.named import strategy_from_name

        bars = load(self.source)
        bars = bars[: self.end] if self.end else bars
        rules = [strategy_from_name(rule) for rule in self.rules]
        metas = [load_meta(folder) for folder in self.models]
        if len({meta.name for meta in metas}) < len(metas):
            for meta, folder in zip(metas, self.models, strict=True):
                meta.name = str(Path(folder))
        span = steps.test_span(bars, metas, self.start)
        tracking.connect()
        writable(Path(self.report).parent)
        trades = writable(self.ledgers) if self.ledgers else None
        saved = [Path(folder) / "regimes.json" for folder in self.models]
        shaded = next((load_detector(path).filter(span) for path in saved if path.exists()), None)
        learnt = [s for meta in metas for s in (meta, meta.unadapted())]
        result = walk_forward([*learnt, *rules], span, costs=self.costs, every=self.every, regimes=shaded)
        steps.show_result(result)
        path = result.report(self.report)
        with tracking.run(f"backtest {bars.name}", command="backtest", **vars(self)):
            tracking.log_bars(span, "test")
            tracking.log_result(result, path)
        console.print(f"Report: {path.resolve()}")
        if trades is not None:
            for i, backtest in enumerate(result, 1):
                name = f"{i}_" + re.sub(r"[^\w.-]+", "_", backtest.name)  # two names may come to the same
                result.ledger(backtest.name).trades.to_csv(trades / f"{name}.csv", index=False)
            console.print(f"Ledgers: {trades.resolve()}")
