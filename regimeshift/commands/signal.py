"""``regimeshift signal``: target weights of a registered model for the next bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from regimeshift.options import DataOptions


@dataclass
class Signal(DataOptions):
    """Print the target weights for the next bar, from a registered model and the latest bars."""

    model: Annotated[str, tyro.conf.arg(aliases=["-m"])]
    """Model in the registry: NAME (its champion), NAME@ALIAS, or NAME/VERSION."""
    bars: str | None = None
    """The latest bars of the symbols that the model was made for: a data set, as for `regimeshift data`. It must be named."""
    json: bool = False
    """Print JSON instead of a table."""
    request: bool = False
    """Print only the JSON request to send to a model server (mlflow models serve) for the same decision."""

    def run(self) -> None:
        from markets import InputError

        if self.bars is None:
            raise InputError(f"name the latest bars, as in: regimeshift signal --model {self.model} --bars FILE.csv")

        import json

        import pandas as pd

        from regimeshift.console import console, show, step

        bars = self.load(self.bars)
        with step(f"loading {self.model}"):
            from backtests import registry
            from backtests.contract import duration

            model = registry.load(self.model)
        if self.request:
            print(json.dumps({"dataframe_records": [registry.request(model, bars)]}))
            return
        found = registry.target_weights(model, bars)
        last = bars.index[-1]
        age = pd.Timestamp.now("UTC") - (last if last.tz else last.tz_localize("UTC"))
        if self.json:
            answer = {key: dict(zip(bars.symbols, values.tolist(), strict=True)) for key, values in found.items()}
            print(
                json.dumps(
                    {"model": self.model, "after": str(last), "age_hours": round(age / pd.Timedelta("1h"), 1), **answer}
                )
            )
            return
        text = pd.DataFrame(found, index=list(bars.symbols)).map(lambda w: f"{w:.4%}")
        text.columns = ["target weight", "no-trade band ±", "rate"]
        show(text, f"{self.model}: for the bar after {last}", "symbol")
        console.print(
            f"In cash: {1 - found['target_weight'].sum():.2%}. The last bar is {duration(max(age.total_seconds(), 0))} old."
        )
