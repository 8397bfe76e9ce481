"""``regimeshift backtest``: walk-forward backtests of models and rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class Backtest:
    """Run walk-forward backtests of trained models and rules, net of costs; print a table, write a report, log an MLflow run."""

    source: Annotated[str, tyro.conf.Positional] = "stocks"
    """Data set: stocks, sp500, nasdaq, a CSV or Parquet file or folder, yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."""
    models: list[str] = field(default_factory=list)
    """Folders of models trained by `regimeshift train`; each is backtested with and without adaptation.
    Also models:/NAME@ALIAS or models:/NAME/VERSION: registered versions, as they were adapted then."""
    rules: list[str] = field(default_factory=lambda: ["inverse_volatility", "equal_weight", "momentum:252"])
    """Any of equal_weight, buy_and_hold, inverse_volatility, momentum:WINDOW, my_file.py:MyStrategy."""
    start: str | None = None
    """Start of the test, such as 2008 or 2008-01-31; earlier bars are used as warm-up.
    By default, the first bar after the data that the models were trained on."""
    end: str | None = None
    """End of the test; by default the last bar."""
    costs: str = "10bp"
    """Trading costs per side, such as 10bp or 0.1%."""
    every: int = 63
    """Bars between adaptations."""
    report: str = "report.html"
    """File for the report."""
    ledgers: str | None = None
    """Folder for each strategy's trades, as 1_NAME.csv: time, symbol, shares, price and the components of the cost."""

    def run(self) -> None:
        from backtests import tracking, walk_forward
        from markets import load, load_detector
        from metalearner import MetaPolicy
        from regimeshift import steps
        from regimeshift.console import console, writable
        from strategies.named import strategy_from_name

        bars = load(self.source)
        bars = bars[: self.end] if self.end else bars
        rules = [strategy_from_name(rule) for rule in self.rules]
        metas = [steps.trained(model) for model in self.models]
        if len({meta.name for meta in metas}) < len(metas):
            for meta, folder in zip(metas, self.models, strict=True):
                meta.name = str(Path(folder))
        span = steps.test_span(bars, metas, self.start)
        tracking.connect()
        writable(Path(self.report).parent)
        trades = writable(self.ledgers) if self.ledgers else None
        saved = [Path(folder) / "regimes.json" for folder in self.models]
        shaded = next((load_detector(path).filter(span) for path in saved if path.exists()), None)
        learnt = [s for m in metas for s in ((m, m.unadapted()) if isinstance(m, MetaPolicy) else (m,))]
        result = walk_forward([*learnt, *rules], span, costs=self.costs, every=self.every, regimes=shaded)
        steps.show_result(result)
        path = result.report(self.report)
        with tracking.run(f"backtest {bars.name}", command="backtest", **vars(self)):
            tracking.log_bars(span, "test")
            tracking.log_result(result, path)
        console.print(f"Report: {path.resolve()}")
        if trades is not None:
            for i, backtest in enumerate(result, 1):
                name = f"{i}_" + re.sub(r"[^\w.-]+", "_", backtest.name)  # the number keeps names distinct
                result.ledger(backtest.name).trades.to_csv(trades / f"{name}.csv", index=False)
            console.print(f"Ledgers: {trades.resolve()}")
