"""``regimeshift register``: register a trained model, a rule, a blend or a strategy of one's own file for deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimeshift.options import DataOptions, NamedSource, named

if TYPE_CHECKING:
    from markets import Bars
    from metalearner import MetaPolicy
    from strategies import Strategy


@dataclass
class Register(DataOptions):
    """Adapt a model or strategy to all bars, register it with a certificate, and make it the champion if it passes the gates.

    What is not on record, such as a backtest beside the champion, stops nothing here; `regimeshift promote` is stricter.
    """

    source: NamedSource = None
    model: str | None = None
    """Folder of a model trained by `regimeshift train`; models/stocks-rl2 if no strategy is given."""
    strategy: tuple[str, ...] = ()
    """Instead of a model: a rule (momentum:252), or a class or function in your own file (my_strategy.py:MyStrategy), which is
    copied into the version and run from there. Of several, their blend with equal weights."""
    name: str | None = None
    """Name in the registry; by default the folder's or the strategy's."""
    promote: bool = True
    """Make it the champion if it passes the gates, the first of which is that a new process reproduces its weights."""

    def run(self) -> None:
        from markets import InputError
        from regimeshift.champion import promoted
        from regimeshift.console import console, step

        if self.model is not None and self.strategy:
            raise InputError("register takes --model or --strategy, not both")
        what = f"--strategy {' '.join(self.strategy)}" if self.strategy else f"--model {self.folder}"
        source = named(self.source, f"register FILE.csv {what}")
        with step(f"loading {' '.join(self.strategy) or self.folder}"):
            from backtests import registry

            known = None if self.strategy else _trained(self.folder)
        bars = self.load(source)
        registered = self._blend(bars) if known is None else known
        name = self._name(registered.name)
        with step(f"adapting {registered.name} and registering it as {name}"):
            version = registry.register(name, registered, bars=bars)
            tags = registry.tags_of(version)
        console.print(
            f"Registered {version.uri}, made for {', '.join(bars.symbols)} up to {bars.index[-1]}", markup=False
        )
        if remark := getattr(registered, "remark", ""):
            console.print(remark, markup=False)
        for file, digest in registry.own_files(tags).items():
            console.print(f"It runs its own copy of {file}, SHA-256 {digest}.", markup=False, soft_wrap=True)
        span = tags.get("backtest_span")
        console.print(f"Its backtest in MLflow: {span}." if span else "MLflow holds no backtest of this model.")
        if self.promote:
            with step("passing the gates"):
                found = promoted(version)
            found.show()

    @property
    def folder(self) -> str:
        """The folder of the trained model."""
        return "models/stocks-rl2" if self.model is None else self.model

    def _blend(self, bars: Bars) -> Strategy:
        """The strategy that was named, or the blend of those that were, with windows that suit the bars."""
        from regimeshift.steps import rules_from_names
        from regimeshift.windows import Windows
        from strategies import Blend

        rules = rules_from_names(list(self.strategy), bars, Windows.of(bars), started=True)
        return rules[0] if len(rules) == 1 else Blend(rules, f"blend of {', '.join(rule.name for rule in rules)}")

    def _name(self, of_strategy: str) -> str:
        """The name in the registry."""
        from pathlib import Path

        from backtests import registry
        from regimeshift.steps import plain_name

        usual = of_strategy if self.strategy else Path(self.folder).resolve().name
        return self.name or (usual if registry.NAME.fullmatch(usual) else plain_name(usual))


def _trained(folder: str) -> MetaPolicy:
    from metalearner import load_meta

    return load_meta(folder)
