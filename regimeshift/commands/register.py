"""``regimeshift register``: register a trained model for deployment."""

from __future__ import annotations

from dataclasses import dataclass

from regimeshift.options import DataOptions, NamedSource, named


@dataclass
class Register(DataOptions):
    """Adapt a trained model to all bars, register it with a certificate, and make it the champion if it passes the gates.

    What is not on record, such as a backtest beside the champion, stops nothing here; `regimeshift promote` is stricter.
    """

    source: NamedSource = None
    model: str = "models/stocks-rl2"
    """Folder of a model trained by `regimeshift train`."""
    name: str | None = None
    """Name in the registry; by default the folder's."""
    promote: bool = True
    """Make it the champion if it passes the gates, the first of which is that a new process reproduces its weights."""

    def run(self) -> None:
        from pathlib import Path

        from regimeshift.champion import promoted
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
            with step("passing the gates"):
                found = promoted(version)
            found.show()
