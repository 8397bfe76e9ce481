"""``regimeshift signal``: target weights of a registered model for the next bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass
class Signal:
    """Print the target weights for the next bar, from a registered model and the latest bars."""

    model: Annotated[str, tyro.conf.arg(aliases=["-m"])]
    """Model in the registry: NAME (its champion), NAME@ALIAS, or NAME/VERSION."""
    bars: str = "stocks"
    """The latest bars: a .csv or .parquet file, or the name of a packaged data set."""
    json: bool = False
    """Print JSON instead of a table."""
    request: bool = False
    """Print only the JSON request to send to a model server (mlflow models serve) for the same decision."""

    def run(self) -> None:
        import json

        import pandas as pd

        from backtests import registry
        from markets import load
        from regimeshift.console import console, show

        bars = load(self.bars)
        model = registry.load(self.model)
        if self.request:
            print(json.dumps({"dataframe_records": [{"bars": registry.decision_window(model, bars).tolist()}]}))
            return
        found = registry.target_weights(model, bars)
        time = str(bars.index[-1])
        if self.json:
            weights = dict(zip(bars.symbols, found["target_weight"].tolist(), strict=True))
            bands = dict(zip(bars.symbols, found["band"].tolist(), strict=True))
            print(json.dumps({"model": self.model, "after": time, "target_weight": weights, "band": bands}))
            return
        text = pd.DataFrame(found, index=list(bars.symbols)).map(lambda w: f"{w:.4%}")
        text.columns = ["target weight", "no-trade band ±"]
        show(text, f"{self.model}: for the bar after {time}", "symbol")
        console.print(f"In cash: {1 - found['target_weight'].sum():.2%}")
