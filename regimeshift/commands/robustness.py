"""``regimeshift robustness``: what is left of a backtest when something is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from regimeshift.options import DataOptions, Source, TradingOptions, processors


@dataclass
class Robustness(TradingOptions, DataOptions):
    """Ask of a strategy what a sceptic would: other parameters, costs, markets, orders of trades and first bars."""

    source: Source = "stocks"
    strategy: str = "momentum"
    """A rule with its windows, such as momentum:252 (`regimeshift backtest --help` has all), a class in your own file
    (my_strategy.py:MyStrategy), or a trained model (its folder, or models:/NAME@ALIAS), which takes longer."""
    start: Annotated[str | None, tyro.conf.arg(aliases=["--from"])] = None
    """Start of the test, such as 2008 or 2008-01-31; earlier bars are used as warm-up.
    By default, the first bar after the data that a model was trained on, or that it would be."""
    metric: str = "Sharpe"
    """The metric that is compared, such as Sharpe, CAGR, Calmar or "max drawdown"."""
    every: int | None = None
    """Bars between adaptations; by default a quarter of daily or longer bars, or 63 shorter ones."""
    resamples: int | None = None
    """Resampled markets of each kind; by default 200, or 10 for a model."""
    seed: int = 0
    """Seed of the resampled markets and the random orders."""
    jobs: int = 1
    """Variants and markets to run in parallel; the result does not depend on it."""
    report: str = "robustness.html"
    """File for the page with a table and a plot of each section."""

    def run(self) -> None:
        from pathlib import Path

        from regimeshift import steps
        from regimeshift.console import console, naming, page_file, say, step
        from regimeshift.windows import Windows

        page_file(self.report, "--report")
        processors(self.jobs)
        costs, execution = self.charged(), self.limits()
        bars = self.held(self.source)
        windows = Windows.of(bars)
        with step(f"loading {self.strategy}"), naming(f"--strategy {self.strategy}"):
            from backtests.report.sections import write_sections
            from backtests.robustness import robustness
            from strategies.named import strategy_from_name

            learnt = self.strategy.startswith("models:/") or Path(self.strategy).is_dir()
            metas = [steps.trained(self.strategy)] if learnt else []
            rules = [] if learnt else [strategy_from_name(self.strategy, windows.year, windows.volatility)]
        strategy = [*metas, *rules][0]
        span = steps.test_span(bars, metas, self.start, max((rule.warmup for rule in rules), default=0))
        every = windows.quarter if self.every is None else self.every
        steps.refuse_lookahead(strategy, span, every)
        sections = robustness(
            strategy, span, costs=costs, execution=execution, metric=self.metric, resamples=self.resamples, seed=self.seed,
            jobs=self.jobs, every=every,
        )  # fmt: skip
        title = f"{strategy.name} on {span.name}, {span.index[0]:%Y-%m-%d} to {span.index[-1]:%Y-%m-%d}, net of costs"
        console.print(title, style="italic", markup=False)
        for section in sections:
            finding = section.finding.removeprefix(f"{strategy.name}: ")
            console.print(f"\n{section.title}", style="bold", markup=False)
            say(finding[0].upper() + finding[1:])
        with step("writing the page"):
            path = write_sections(sections, self.report, f"Robustness: {title}")
        console.print(f"\nReport: {path.resolve()}", markup=False)
