"""``regimeshift adapt``: adapt a trained model to the latest bars."""

from __future__ import annotations

from dataclasses import dataclass

from regimeshift.options import DataOptions, NamedSource, named


@dataclass
class Adapt(DataOptions):
    """Adapt a trained model to the bars of a data set, and save the adapted strategy.

    Costs and limits are those that the model was trained with.
    """

    source: NamedSource = None
    model: str = "models/stocks-rl2"
    """Folder of a model trained by `regimeshift train`."""
    out: str | None = None
    """Folder for the adapted strategy; by default MODEL/adapted."""

    def run(self) -> None:
        import pandas as pd

        from regimeshift.console import console, show, step, writable

        source = named(self.source, f"adapt FILE.csv --model {self.model}")
        with step("loading the model"):
            from metalearner import load_meta
            from strategies import stored

            meta = load_meta(self.model)
        bars = self.load(source)
        folder = writable(self.out or f"{self.model}/adapted")
        with step(f"adapting {meta.name}"):
            strategy = meta.adapt(bars)
            stored.save(strategy, folder)
        rows = {"adapted": strategy.plan(bars[-1:]).aim[0], "unadapted": meta.unadapted().plan(bars[-1:]).aim[0]}
        text = pd.DataFrame(rows, index=list(bars.symbols)).map(lambda w: f"{w:+.2%}")
        show(text, f"{meta.name}: target weights after {bars.index[-1]:%Y-%m-%d}", "symbol")
        console.print(f"Saved {folder}; read it with strategies.stored.load. To deploy it: regimeshift register")
