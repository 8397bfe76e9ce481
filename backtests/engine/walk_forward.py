"""Walk-forward backtests: adapt on the bars so far, trade the next bars, repeat; one account runs through the whole span."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from joblib import Parallel, delayed
from rich.progress import Progress

from backtests.results import Backtest, Backtests
from markets import Bars, Costs, Execution, InputError, RegimePath, simulate
from markets.bars.time_spans import moment
from markets.common.progress import visible
from markets.common.words import count
from strategies import Plan, Strategy
from strategies.strategy import planned


class Adaptive(Protocol):
    """Anything with `adapt`: a `Strategy`, or a meta-policy returned by a meta-learner."""

    name: str

    def adapt(self, bars: Bars) -> Strategy: ...


class WalkForward(Backtests):
    """What `walk_forward` returns: backtests of several strategies on the same bars."""

    def report(self, path: str | Path, title: str | None = None, notes: Iterable[str] = (), **options: Any) -> Path:
        """Write a self-contained HTML page; see `backtests.report.page.write_report`."""
        from backtests.report.page import write_report  # plotly takes a second to import

        return write_report(self, path, title, notes, **options)


def walk_forward(
    strategies: Iterable[Adaptive],
    bars: Bars,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    every: int = 63,
    regimes: RegimePath | None = None,
    jobs: int = 1,
    progress: bool = True,
) -> WalkForward:
    """Backtest strategies on the visible rows of `bars`.

    Every `every` bars a strategy adapts to all bars so far, including the history (``bars["2008":]`` still holds the bars before
    2008), and plans the next `every` bars. One account then executes the joined plan. Strategies that do not adapt plan once.

    Parameters
    ----------
    strategies : iterable of Strategy or MetaPolicy
    bars : Bars of shape (T, A)
    costs : Costs or str
        Costs per side.
    execution : Execution, optional
    every : int
        Bars between adaptations.
    regimes : RegimePath, optional
        Shown in the report.
    jobs : int
        Strategies to run in parallel, by joblib.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    WalkForward

    Raises
    ------
    InputError
        When there are no strategies, fewer than 3 bars or too few for a strategy's warm-up, two strategies of the same name, or
        `every` is below 1.

    Warns
    -----
    UserWarning
        When a model was trained on bars of the span, so that part of its result is in sample.
    """
    strategies = list(strategies)
    if not strategies:
        raise InputError("there is nothing to backtest; name a model or a rule")
    for strategy in strategies:
        seen = getattr(strategy, "seen_until", None)
        if seen is not None and moment(f"{strategy.name}: seen_until", seen, bars.index.tz) >= bars.index[0]:
            warnings.warn(
                f"{strategy.name} has learnt from bars up to {seen}; its result up to then is in sample", stacklevel=2
            )
    names = [s.name for s in strategies]
    if len(set(names)) < len(names):
        raise InputError(f"two strategies are called {max(names, key=names.count)!r}; give each its own name")
    if len(bars) < 3:
        span = f"{bars.index[0]} to {bars.index[-1]}"
        raise InputError(
            f"{bars.name}: {count(len(bars), 'bar')} from {span}; a backtest needs at least 3, which make two returns"
        )
    if every < 1:
        raise InputError(f"every is {every}; it must be at least 1 bar")
    costs, execution = Costs.parse(costs), execution or Execution()
    work = [delayed(_run)(s, bars, costs, execution, every) for s in strategies]
    done = []
    with Progress(transient=True, disable=not visible(progress)) as bar:
        row = bar.add_task("backtesting", total=len(work))
        for backtest in Parallel(n_jobs=jobs, return_as="generator")(work):
            done.append(backtest)
            bar.advance(row)
    return WalkForward(tuple(done), bars, costs, execution, every, regimes)


def _run(strategy: Adaptive, bars: Bars, costs: Costs, execution: Execution, every: int) -> Backtest:
    plan = _joined_plan(strategy, bars, every)
    paths = simulate(bars, plan, costs=costs, execution=execution)
    equity = paths.equity[0]
    weights = paths.shares[0]
    weights *= bars.marks  # in place: panels may be large
    weights /= np.where(equity > 0, equity, np.inf)[:, None]
    np.nan_to_num(weights, copy=False)  # symbols that are not listed yet have no mark
    fingerprint = getattr(strategy, "fingerprint", None)
    cost, traded = paths.cost[0], paths.traded[0]
    return Backtest(
        strategy.name, bars.index, bars.symbols, equity, cost, traded, weights, plan, fingerprint,
        paths.scaled[0], paths.afforded[0], getattr(strategy, "remark", ""),
    )  # fmt: skip


def _joined_plan(strategy: Adaptive, bars: Bars, every: int) -> Plan:
    plans = []
    for first in range(0, len(bars), every):
        last = min(first + every, len(bars))
        adapted = strategy.adapt(bars[: first + 1])
        if len(bars) + bars.past <= adapted.warmup:
            raise InputError(
                f"{adapted.name} needs {adapted.warmup} bars to warm up, but {bars.name} has {len(bars) + bars.past}; "
                "use more bars or a shorter window"
            )
        if isinstance(strategy, Strategy) and not strategy.adapts:
            return planned(adapted, bars)
        plans.append(planned(adapted, bars[first:last]))
    return Plan.join(plans)
