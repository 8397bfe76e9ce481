"""``regimeshift sweep``: backtest a strategy with every setting of a grid, and choose among them as time goes on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from regimeshift.options import DataOptions, Source, TradingOptions, processors


@dataclass
class Sweep(TradingOptions, DataOptions):
    """Backtest a strategy with every setting of a grid, net of costs: the best setting, the best among neighbours as good, and a
    heat map. With --every, also walk-forward optimisation: choose on the bars so far, trade the next ones, and choose again.
    The settings are logged to MLflow, where later backtests of these data count them as trials.
    """

    source: Source = "stocks"
    strategy: str = "moving_average_cross"
    """A rule, such as moving_average_cross, momentum, donchian or inverse_volatility, or a class in your own file,
    my_file.py:MyStrategy."""
    grid: tuple[str, ...] = ()
    """Values of each parameter: fast=5:50:5 (from 5 in steps of 5, without 50) or window=20,60,250. All combinations are tried,
    but those that the strategy refuses."""
    metric: str = "Sharpe"
    """What is compared: Sharpe, CAGR, Calmar, Sortino, max drawdown, or any other of the backtest's table."""
    every: int | None = None
    """Walk-forward optimisation with folds of so many bars, such as 252; by default none."""
    train: int = 2520
    """Bars to choose on: at least, or exactly with --scheme rolling."""
    choose: str = "plateau"
    """What is chosen in each fold: plateau (the setting whose worst neighbour has the best Sharpe ratio), or the best by a
    metric, such as Sharpe."""
    scheme: Literal["expanding", "rolling"] = "expanding"
    """Whether to choose on all bars so far, or on the last ones."""
    jobs: int = 1
    """Processes. The accounts of one run in threads already; more pay for strategies that plan slowly."""
    report: str = "sweep.html"
    """File for the page with plots."""
    table: str | None = None
    """File for the metrics of all settings, as CSV."""

    def run(self) -> None:
        from markets import InputError
        from regimeshift import steps
        from regimeshift.console import console, naming, page_file, say, step, table_file
        from regimeshift.grids import grid_from_words
        from regimeshift.windows import Windows

        page_file(self.report, "--report")
        processors(self.jobs)
        table = table_file(self.table, "--table") if self.table else None
        values = grid_from_words(self.grid)
        if not values:
            raise InputError("--grid is empty; give values of each parameter, as in --grid fast=5:50:5 slow=50:300:10")
        with step("loading"):
            import mlflow

            from backtests import tracking
            from backtests.metrics import METRICS, SHORT
            from backtests.report.sections import write_sections
            from backtests.sweeps import optimise, sweep
            from backtests.sweeps.accounts import require_parameters
            from backtests.sweeps.grid import Grid, label
            from strategies.classes import class_from_name
        if self.metric not in METRICS:
            raise InputError(f"--metric {self.metric}: unknown; use {', '.join(METRICS)}")
        with naming(f"--strategy {self.strategy}"):
            strategy = class_from_name(self.strategy)
        require_parameters(strategy, values)
        costs, execution = self.charged(), self.limits()
        bars = self.load(self.source)
        tracking.connect()
        grid, refused = Grid.of(values), ""

        def allowed(**setting: Any) -> bool:
            nonlocal refused
            try:
                return strategy(**setting).warmup < len(bars) + bars.past
            except (InputError, TypeError, ValueError) as error:
                refused = str(error) if isinstance(error, InputError) else f"it cannot use {label(setting)} ({error})"
                return False

        some = [setting for setting in grid.settings if allowed(**setting)]
        if not some:
            raise InputError(
                f"--grid: no setting is left for {self.strategy}: {refused or 'all need more bars to warm up'}"
            )
        left_out = len(grid) - len(some)
        grid = Grid(grid.values, tuple(some))
        names = tuple(dict.fromkeys((self.metric, *SHORT)))
        trading: dict[str, Any] = {"costs": costs, "execution": execution, "jobs": self.jobs}
        chosen = None
        if self.every is not None:  # first, since it refuses wrong settings before anything is computed
            held = self.held(self.source) if self.start else bars
            first = held.index.searchsorted(bars.index[0])
            with naming("--choose, --train, --every"):
                chosen = optimise(
                    strategy, grid, held[first:], train=self.train, every=self.every, choose=self.choose, scheme=self.scheme,
                    **trading,
                )  # fmt: skip
        found = sweep(strategy, grid, bars, metrics=names, **trading)
        steps.refuse_lookahead(
            strategy(**found.best(self.metric).setting), bars, self.every or Windows.of(bars).quarter
        )
        self._show(found, left_out)
        sections = [found.section(self.metric)]
        if chosen is not None:
            sections.append(chosen.section())
            say(sections[-1].finding)
        if table is not None:
            found.table.to_csv(table)
            console.print(f"Table: {table.resolve()}", markup=False)
        with step("writing the page"):
            path = write_sections(sections, self.report, f"{sections[0].title}: {bars.name}")
        with step("logging to MLflow"), tracking.run(f"sweep {bars.name}", command="sweep", **vars(self)):
            tracking.log_bars(bars, "test")
            tracking.log_trials(bars, self._tried(found.name), found.table["Sharpe"].to_numpy())
            mlflow.log_artifact(str(path))
        console.print(f"Report: {path.resolve()}", markup=False)

    def _tried(self, name: str) -> str:
        """What was tried, in words, for those who count trials: the strategy, its grid, and terms of trading other than usual."""
        terms = [
            (term.name, getattr(self, term.name))
            for term in fields(TradingOptions)
            if getattr(self, term.name) != term.default
        ]
        return " ".join([name, *self.grid, *(f"{term}={value}" for term, value in terms)])

    def _show(self, found: Any, left_out: int) -> None:
        """Print the ten best settings, and what the sweep says."""
        from backtests.metrics import HEADS, formatted
        from markets.common.words import count
        from regimeshift.console import say, show

        section, bars = found.section(self.metric), found.bars
        best = formatted(section.table[list(found.table)].head(10)).rename(columns=HEADS)
        best.index = [" ".join(map(str, key)) if isinstance(key, tuple) else str(key) for key in best.index]
        title = f"{bars.name}, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}, net of costs: the best by {self.metric}"
        show(best, title, " ".join(found.grid.values), "--table has all")
        if left_out:
            say(f"{count(left_out, 'setting')} that the strategy refuses left out.")
        say(section.finding)
        say(f"But: {section.does_not_show[0].lower()}{section.does_not_show[1:]}")
