"""``regimeshift register``: register a trained model for deployment."""

from __future__ import annotations

from dataclasses import dataclass

from regimeshift.options import DataOptions, NamedSource, named


@dataclass
class Register(DataOptions):
    """Adapt a trained model to all bars, register it, check that a new process reproduces it, and make it the champion."""

    source: NamedSource = None
    model: str = "models/stocks-rl2"
    """Folder of a model trained by `regimeshift train`."""
    name: str | None = None
    """Name in the registry; by default the folder's."""
    promote: bool = True
    """Make it the champion if a new process reproduces its weights."""

    def run(self) -> None:
        from pathlib import Path

        from regimeshift.console import console, step
        from regimeshift.steps import plain_name

        source = named(self.source, f"register FILE.csv --model {self.model}")

        with step(f"loading {self.model}"):
            from backtests import registry
            from metalearner import load_meta

            meta = load_meta(self.model)
        bars = self.load(source)
        folder = Path(self.model).resolve().name
        name = self.name or (folder if registry.NAME.fullmatch(folder) else plain_name(folder))
        with step(f"adapting {meta.name} and registering it as {name}"):
            version = registry.register(name, meta, bars=bars)
            span = registry.tags_of(version).get("backtest_span")
        console.print(
            f"Registered {version.uri}, made for {', '.join(bars.symbols)} up to {bars.index[-1]}", markup=False
        )
        if meta.remark:
            console.print(meta.remark, markup=False)
        console.print(f"Its backtest in MLflow: {span}." if span else "MLflow holds no backtest of this model.")
        if self.promote:
            with step("loading it in a new process"):
                difference = registry.promote(version)
            console.print(
                f"A new process reproduces its weights (largest difference {difference:.1e}); it is now the champion."
            )
