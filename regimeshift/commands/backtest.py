"""``regimeshift backtest``: walk-forward backtests of learners, models and rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from regimeshift.options import (
    DataOptions,
    LearnerName,
    LearningOptions,
    NamedSource,
    TradingOptions,
    named,
    processors,
)

if TYPE_CHECKING:
    from markets import Bars
    from regimeshift.windows import Windows


@dataclass
class Backtest(TradingOptions, DataOptions):
    """Run walk-forward backtests of learners, models and rules, net of costs: a table, a report and an MLflow run."""

    source: NamedSource = None
    models: list[str] = field(default_factory=list)
    """Folders of models trained by `regimeshift train`; each is backtested with and without adaptation.
    Also models:/NAME@ALIAS or models:/NAME/VERSION: registered versions, as they were adapted then."""
    strategies: Annotated[list[str], tyro.conf.arg(aliases=("--rules",))] = field(
        default_factory=lambda: ["inverse_volatility", "equal_weight", "momentum"]
    )
    """Rules: all, or any of equal_weight, buy_and_hold, inverse_volatility:WINDOW, momentum:WINDOW, momentum_blend:WINDOW,
    cross_sectional_momentum:WINDOW:SKIP, winners_minus_losers:WINDOW:SKIP, reversal, residual_momentum:WINDOW:SKIP,
    trend_following:WINDOW:HALFLIFE, moving_average_cross:FAST:SLOW, donchian:WINDOW, volatility_target:PERCENT:HALFLIFE,
    pairs:WINDOW:PAIRS, minimum_variance:WINDOW, minimum_variance_ewma:HALFLIFE:WINDOW, minimum_variance_expanding:WINDOW,
    minimum_variance_ledoit_wolf:WINDOW, minimum_variance_regime:HALFLIFE:CORRELATION:WINDOW, minimum_variance_pool:WINDOW,
    risk_parity:WINDOW, maximum_sharpe:WINDOW, regime_gated:YEAR, random_weights:SEED:WINDOW,
    my_file.py:MyStrategy. Windows are in bars, and have defaults that suit the bars."""
    start: Annotated[str | None, tyro.conf.arg(aliases=("--from",))] = None
    """Start of the test, such as 2008 or 2008-01-31; earlier bars are used as warm-up and for training.
    By default, the first bar after the data that the models were trained on."""
    every: int | None = None
    """Bars between adaptations; by default a quarter of daily or longer bars, or 63 shorter ones."""
    learners: list[LearnerName] = field(default_factory=list)
    """Learners to train anew within the backtest, on what was known then; each with and without adaptation."""
    retrain_every: str = "1Y"
    """Time between trainings of the learners: years, months, weeks or days, as in 1Y, 6M, 2W or 10D."""
    scheme: Literal["expanding", "rolling"] = "expanding"
    """Train on all bars so far, or on the last of them alone (--train)."""
    train: str | None = None
    """Time to train on, such as 10Y: at least (expanding) or exactly (rolling)."""
    steps: int = 300
    """Training steps of the learners."""
    seed: int = 0
    """Seed of the learners."""
    jobs: int | None = None
    """Jobs to run in parallel: a strategy, or a learner in one fold."""
    cache: str | None = None
    """Folder in which finished jobs are kept, so that an interrupted or extended backtest goes on where it was. By default the
    cache of this machine with --learners, and none without."""
    check: bool = True
    """Refuse strategies that look ahead: rows of their plans are planned again without later bars."""
    strict: bool = False
    """Check every row for look-ahead, not a sample of them."""
    report: str = "report.html"
    """File for the report."""
    robustness: bool = False
    """Examine the first strategy further, as `regimeshift robustness` does, and show that in the report."""
    ledgers: str | None = None
    """Folder for each strategy's trades, as 1_NAME.csv: time, symbol, shares, price and the components of the cost."""

    def run(self) -> None:
        from markets import InputError
        from regimeshift import steps
        from regimeshift.console import console, page_file, step, writable
        from regimeshift.windows import Windows

        if self.models:
            self.source = named(self.source, f"backtest FILE.csv --models {' '.join(self.models)}")
        self.source = self.source or "stocks"
        page_file(self.report, "--report")
        trades = writable(self.ledgers) if self.ledgers else None
        costs, execution = self.charged(), self.limits()
        if self.every is not None and self.every < 1:
            raise InputError(f"--every {self.every}: it must be at least 1 bar")
        if self.strict and not self.check:
            raise InputError("--strict checks every row for look-ahead, and --no-check none; give one of them")
        processors(self.jobs)
        if self.robustness and not (self.models or self.strategies):
            raise InputError("--robustness examines a model or a rule; name one with --models or --strategies")
        steps.require_named(self.strategies, self.models)
        cache = self._cache()
        bars = self.held(self.source)
        with step(f"checking {bars.name}"):
            from markets import check

            quality = check(bars).line
        console.print(f"{quality}. See: regimeshift data check", markup=False)
        windows = Windows.of(bars)
        with step("loading models and rules"):
            from backtests import tracking, walk_forward
            from backtests.robustness import robustness
            from markets import load_detector
            from metalearner import MetaPolicy

            rules = steps.rules_from_names(self.strategies, bars, windows, started=bool(self.start or self.models))
            metas = [steps.trained(model) for model in self.models]
            if len({meta.name for meta in metas}) < len(metas):
                for meta, folder in zip(metas, self.models, strict=True):
                    meta.name = str(Path(folder))
            span = steps.test_span(bars, metas, self.start, max((rule.warmup for rule in rules), default=0))
            tracking.connect()
            saved = [Path(folder) / "regimes.json" for folder in self.models]
            shaded = next((load_detector(path).filter(span) for path in saved if path.exists()), None)
        if shaded is None:
            shaded = steps.regimes_before(span)
        learnt = [s for m in metas for s in ((m, m.unadapted()) if isinstance(m, MetaPolicy) else (m,))]
        every = windows.quarter if self.every is None else self.every
        result = walk_forward(
            [*self._learners(bars, windows), *learnt, *rules], span, costs=costs, execution=execution, every=every,
            regimes=shaded, train=self.train, retrain_every=self.retrain_every, scheme=self.scheme, controls=True,
            tasks=steps.task_cut(windows), check="strict" if self.strict else self.check, jobs=self.jobs, cache=cache,
        )  # fmt: skip
        sections = []
        if self.robustness:
            sections = robustness(
                [*learnt, *rules][0], span, costs=costs, execution=execution, every=every, jobs=self.jobs or 1
            )
        verdict = steps.judge(result)
        steps.show_result(result, verdict)
        path: Path | None = None
        failed: Exception | None = None
        with step("writing the report"):
            try:
                path = result.report(self.report, verdict=verdict, sections=sections)
            except (InputError, OSError) as error:  # such as a disk that filled up; the run is logged all the same
                failed = error
        with step("logging to MLflow"), tracking.run(f"backtest {bars.name}", command="backtest", **vars(self)):
            tracking.log_bars(span, "test")
            tracking.log_result(result, path, verdict)
        if path is None:
            assert failed is not None
            raise failed
        console.print(f"Report: {path.resolve()}", markup=False)
        if trades is not None:
            for i, backtest in enumerate(result, 1):
                name = f"{i}_" + re.sub(r"[^\w.-]+", "_", backtest.name)  # the number keeps names distinct
                result.ledger(backtest.name).trades.to_csv(trades / f"{name}.csv", index=False)
            console.print(f"Ledgers: {trades.resolve()}", markup=False)

    def _cache(self) -> Path | None:
        """The folder of finished jobs."""
        from markets.data.cache import root
        from regimeshift.console import naming, writable

        if self.cache is None:
            return root() / "backtests" if self.learners else None
        with naming(f"--cache {self.cache}"):
            return writable(self.cache)

    def _learners(self, bars: Bars, windows: Windows) -> list[Any]:
        """The learners of ``--learners``, with windows that suit the bars."""
        from regimeshift import steps

        if self.learners:
            steps.require(bars, windows)
        return [
            steps.build_learner(
                name, windows, LearningOptions(), self, steps=self.steps, seed=self.seed, device="auto"
            )
            for name in self.learners
        ]  # fmt: skip
