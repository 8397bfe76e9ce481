"""``regimeshift headroom``: how much adapting could be worth on some bars, before anything is trained on them."""

from __future__ import annotations

from dataclasses import dataclass

from regimeshift.options import DataOptions, Source, TradingOptions


@dataclass
class Headroom(TradingOptions, DataOptions):
    """Say how much adapting to regimes could be worth on some bars: the most, what can be learnt, and the years that show it."""

    source: Source = "stocks"
    base: str | None = None
    """A rule of which more or less is held, such as momentum:252 (`regimeshift backtest --help` has all), or a class in your own
    file (my_strategy.py:MyStrategy). By default the equal-weight market of the bars."""
    risk_aversion: float = 5.0
    """γ of the certainty equivalent, mean − ½ γ variance per year."""
    draws: int = 100
    """Markets like yours in which the traders are compared."""
    learner: str | None = None
    """A learner to be trained on some markets like yours and judged in others: what share of the headroom does it reach? risk
    takes half a minute; rl2, latent, maml, anil, cavia, reptile, finetune, scratch, rolling and experts take minutes. By default
    none."""
    seed: int = 0
    """Seed of the calibration, the simulated markets and the training."""
    report: str = "headroom.html"
    """File for the page with plots: the ladder, what the learner reaches, the years that show it, and the markets behind it."""

    def run(self) -> None:
        from regimeshift import steps
        from regimeshift.console import console, naming, page_file, say, show, step
        from regimeshift.windows import Windows

        page_file(self.report, "--report")
        costs, execution = self.charged(), self.limits()
        bars = self.load(self.source)
        with step("starting"):
            from backtests.headroom import headroom, sections, shown
            from backtests.report.sections import write_sections
            from strategies.named import strategy_from_name

            rule = None
            if self.base is not None:
                windows = Windows.of(bars)
                with naming(f"--base {self.base}"):
                    rule = strategy_from_name(self.base, windows.year, windows.volatility)
            if self.learner is not None:
                with naming(f"--learner {self.learner}"):
                    steps.require_learner(self.learner)
        found = headroom(
            bars, costs=costs, execution=execution, base=rule, risk_aversion=self.risk_aversion, draws=self.draws,
            seed=self.seed,
        )  # fmt: skip
        share = None if self.learner is None else steps.reached_by(self.learner, found, self.seed)
        title = f"Headroom: {found.name}, {found.index[0]:%Y-%m-%d} to {found.index[-1]:%Y-%m-%d}"
        show(shown(found.table), f"{title}, per year and net of costs", "trader")
        answers = sections(found, share)
        for section in answers:
            finding = section.finding.removeprefix(f"{found.name}: ")
            console.print(f"\n{section.title}", style="bold", markup=False)
            say(finding[0].upper() + finding[1:])
        if known := bars.source.survivorship:
            say(f"\nSurvivorship: {known}.")
        with step("writing the page"):
            path = write_sections(answers, self.report, title)
        console.print(f"\nReport: {path.resolve()}", markup=False)
