"""``regimeshift transfer``: hand a trained model to another market."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from regimeshift.options import DataOptions, LearnerName, LearningOptions, NamedSource, TradingOptions, named, words

if TYPE_CHECKING:
    import pandas as pd

    from markets import Bars
    from metalearner import MetaLearner, MetaPolicy
    from regimeshift.windows import Windows


@dataclass
class Transfer(DataOptions):
    """Hand a model to another market: other symbols, another asset class, or bars of another length.

    Nothing is trained. Windows that are about time are restated if the bars are longer or shorter, and what the model does beyond
    its base must pay on the new market's past, or the model holds its base there. The rest of the data (from --test on) then
    shows what it earns, beside its base and the model as it was trained. The saved model is used like any other: by adapt,
    backtest and register.
    """

    source: NamedSource = None
    model: str = "models/stocks-rl2"
    """Folder of a model trained by `regimeshift train`."""
    test: str | None = None
    """Start of the bars that only show what the model earns, such as 2000 or 2000-01-31; the bars before are the past that it is
    handed. By default after 55 % of the data, and after all that training has seen."""
    costs: str | None = None
    """Commission per side on the new market, such as 2bp; by default what the model was trained with."""
    evidence: float = 1.0
    """Smallest t-statistic of the gain over the base, on the new market's past, for which what was learnt is kept."""
    anew: LearnerName | None = None
    """A learner to train on the new market's past, for comparison: of the kind of the model. It takes as long as any training."""
    steps: int = 300
    """Training steps of --anew."""
    seed: int = 0
    """Seed of --anew."""
    out: str | None = None
    """Folder for the model; by default MODEL-on-DATA."""

    def run(self) -> None:
        from regimeshift import steps
        from regimeshift.console import command_line, console, step, writable
        from regimeshift.gains import show_gains
        from regimeshift.spans import time_text
        from regimeshift.windows import Windows

        source = named(self.source, f"transfer FILE.csv --model {self.model}")
        with step("loading the model"):
            from backtests import tracking, walk_forward
            from metalearner import load_meta
            from metalearner.learners.transfer import known_until
            from strategies.learned import LearnedStrategy

            meta = load_meta(self.model)
        bars = self.load(source)
        start = self._start(bars, meta)
        cut, held = bars.past + int(bars.index.searchsorted(start)), bars.past + len(bars)
        past, span = bars.rows(bars.past, cut), bars.rows(cut, held)
        windows = Windows.of(past)
        folder = writable(self.out or f"{self.model.rstrip('/')}-on-{steps.plain_name(bars.name)}")
        with step(f"testing {meta.name} on the past of {bars.name}"):
            moved = meta.transfer(past, costs=self.costs, evidence=self.evidence)
        moved.save(folder)
        before = meta.as_trained()
        if isinstance(before, LearnedStrategy) and before.seen_until is not None:
            before.seen_until = known_until(before.seen_until, meta.trained_on, span)
        rows: dict[str, Any] = {"adapted": moved, "unadapted": before, "base": moved.shrunk(0.0, "base")}
        if self.anew:
            rows["trained anew"] = self._learner(moved, windows).fit(*steps.task_cut(windows)(past))
        account: Any = moved.objective
        strategies = [_renamed(each, name) for name, each in rows.items()]
        result = walk_forward(strategies, span, costs=account.costs, execution=account.execution, every=windows.quarter)
        verdict = steps.judge(result)
        steps.show_result(result, verdict)
        show_gains(result, "adapted", [name for name in rows if name != "adapted"])
        with step("logging to MLflow"), tracking.run(f"transfer {bars.name}", command="transfer", **vars(self)):
            tracking.log_bars(span, "test")
            tracking.log_result(result, None, verdict)
        charged = () if self.costs is None else ("--costs", self.costs)
        following = command_line(
            "regimeshift", "backtest", source, "--models", str(folder), "--start", time_text(start), *charged,
            *words(self, DataOptions, leave=("start",)),
        )  # fmt: skip
        fresh = moved.seen_until is not None and start > moved.seen_until  # else backtest would refuse the span
        console.print(f"Saved {folder}." + (f" Next: {following}" if fresh else ""), markup=False)

    def _start(self, bars: Bars, meta: MetaPolicy) -> pd.Timestamp:
        """The first bar that only shows what the model earns."""
        from markets import InputError
        from markets.bars.time_spans import moment
        from metalearner.learners.transfer import known_until
        from regimeshift.spans import spans

        if self.test is not None:
            start = moment("--test", self.test, bars.index.tz)
            if not bars.index[0] < start <= bars.index[-1]:
                raise InputError(
                    f"--test {self.test}: it must be inside {bars.name}, from {bars.index[0]} to {bars.index[-1]}"
                )
            return start
        start = spans(bars, None, None).test
        if meta.seen_until is None:
            return start
        seen = known_until(meta.seen_until, meta.trained_on, bars)
        if seen >= bars.index[-1]:
            raise InputError(
                f"{meta.name} was trained on bars up to {seen}, and {bars.name} ends at {bars.index[-1]}: nothing after that is "
                "left to show what it earns; give --test, such as an earlier year, to see it in sample"
            )
        return max(start, bars.index[int(bars.index.searchsorted(seen, side="right"))])

    def _learner(self, moved: MetaPolicy, windows: Windows) -> MetaLearner:
        """The learner of --anew, with the costs and the account of the model."""
        from metalearner import Pathwise
        from regimeshift import steps

        assert self.anew is not None
        learner = steps.build_learner(
            self.anew, windows, LearningOptions(), TradingOptions(), steps=self.steps, seed=self.seed, device="auto"
        )
        account, objective = moved.objective, learner.objective
        assert isinstance(account, Pathwise)
        assert isinstance(objective, Pathwise)
        return replace(learner, objective=replace(objective, costs=account.costs, execution=account.execution))


def _renamed(strategy: Any, name: str) -> Any:
    other = copy.copy(strategy)
    other.name = name
    return other
