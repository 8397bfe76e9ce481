"""`run`: an account for each setting, of which only the figures asked for are kept."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from numba import config
from rich.progress import Progress

from backtests.engine.accounts import accounts, batches, stacked
from backtests.engine.walk_forward import walk_forward
from backtests.sweeps.grid import label
from markets import Bars, Costs, Execution, InputError, simulate
from markets.common.progress import visible
from markets.common.statistics import (
    certainty_equivalent,
    deviation,
    growth_per_year,
    max_drawdown,
    ratio,
    sharpe,
    sortino,
    years,
)
from markets.common.words import count
from strategies import Plan, Strategy
from strategies.strategy import planned

_PART = 256  # settings of one job: those of a job share work, and the progress bar advances by it
_LEAST_WORK = 100_000  # weights of one simulation: below it, the call takes as long as the account


@dataclass(frozen=True)
class Account:
    """What the metrics of `QUICK` are computed from.

    Attributes
    ----------
    equity, cost, traded : ndarray of shape (T,)
        As in `Backtest`; the last two may be of size 0, where nothing that needs them is asked for.
    years : float
        Length of the span.
    """

    equity: np.ndarray
    cost: np.ndarray
    traded: np.ndarray
    years: float

    @property
    def per_year(self) -> float:
        """Bars per year."""
        return (len(self.equity) - 1) / self.years

    @cached_property
    def returns(self) -> np.ndarray:
        """Simple returns, shape (T − 1,); 0 after ruin."""
        return self.of_equity(np.diff(self.equity))

    def of_equity(self, money: np.ndarray) -> np.ndarray:
        """Money of each bar, shape (T − 1,), as a fraction of equity before it; 0 after ruin."""
        before = self.equity[:-1]
        return np.divide(money, before, out=np.zeros(len(before)), where=before > 0)

    @property
    def cagr(self) -> float:
        """Compound annual growth rate."""
        return growth_per_year(self.equity[-1] / self.equity[0], self.years)


# Metrics that need no weights. They are those of `backtests.metrics`, without the ones that take longer than the account itself.
QUICK: dict[str, Callable[[Account], float]] = {
    "total return": lambda a: a.equity[-1] / a.equity[0] - 1,
    "CAGR": lambda a: a.cagr,
    "volatility": lambda a: deviation(a.returns) * np.sqrt(a.per_year),
    "certainty equivalent": lambda a: certainty_equivalent(a.returns, per_year=a.per_year),
    "Sharpe": lambda a: sharpe(a.returns, a.per_year),
    "Sortino": lambda a: sortino(a.returns, a.per_year),
    "max drawdown": lambda a: max_drawdown(a.equity),
    "Calmar": lambda a: ratio(a.cagr, max_drawdown(a.equity)),
    "turnover": lambda a: float(a.of_equity(a.traded[1:]).sum() / a.years),
    "costs": lambda a: float(a.of_equity(a.cost[1:]).sum() / a.years),
}


class Job(NamedTuple):
    """What all settings of a sweep have in common."""

    strategy: Callable[..., Strategy]
    bars: Bars
    costs: Costs
    execution: Execution
    every: int
    metrics: tuple[str, ...]
    equity: bool  # whether to keep it


def require_parameters(strategy: Callable[..., Strategy], names: Iterable[str]) -> None:
    """Check that the strategy takes the parameters of a grid.

    Raises
    ------
    InputError
        When it does not, or wants others too.
    """
    signature = inspect.signature(strategy)
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        name = getattr(strategy, "__name__", strategy)
        raise InputError(f"grid: {name} takes {', '.join(signature.parameters)}: {error}") from None


def rules_of(strategy: Callable[..., Strategy], settings: Sequence[Mapping[str, Any]], bars: Bars) -> list[Strategy]:
    """The strategy with each setting.

    Raises
    ------
    InputError
        When the strategy has no such parameters, a setting is refused, or needs more bars to warm up than there are; the message
        names the setting.
    """
    rules = []
    require_parameters(strategy, settings[0])
    for setting in settings:
        try:
            rule = strategy(**setting)
        except InputError as error:
            raise InputError(f"{label(setting)}: {error}; leave such settings out with `where`") from None
        if len(bars) + bars.past <= rule.warmup:
            raise InputError(
                f"{label(setting)}: {rule.name} needs {rule.warmup} bars to warm up, but {bars.name} has "
                f"{len(bars) + bars.past}; use more bars, or leave such settings out with `where`"
            )
        rules.append(rule)
    return rules


def run(
    job: Job, settings: Sequence[Mapping[str, Any]], jobs: int | None = None, progress: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Backtest each setting.

    Parts of the settings are pure jobs of joblib. Within one, plans are made one after another, as `Strategy.plans` yields them,
    and threads simulate those that are ready, so that a few plans at a time are in memory.

    Parameters
    ----------
    job : Job
    settings : sequence of mappings, length S
    jobs : int, optional
        Processes; by default one, or what ``joblib.parallel_config`` says.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    figures : ndarray of shape (S, M)
        The metrics of the job.
    equity : ndarray of shape (S, T)
        Of shape (S, 0) if it is not kept.
    """
    size = max(min(_PART, -(-len(settings) // effective_n_jobs(jobs))), 1)
    parts = [settings[first : first + size] for first in range(0, len(settings), size)]
    figures = np.empty((len(settings), len(job.metrics)))
    equity = np.empty((len(settings), len(job.bars) if job.equity else 0))
    first, results = 0, "generator" if get_active_backend()[0].supports_return_generator else "list"  # Ray's does not
    with Progress(transient=True, disable=not visible(progress)) as bar:
        row = bar.add_task("sweeping", total=len(settings))
        for rows, curves in Parallel(n_jobs=jobs, return_as=results)(delayed(_part)(job, part) for part in parts):
            figures[first : first + len(rows)], equity[first : first + len(rows)] = rows, curves
            first += len(rows)
            bar.advance(row, len(rows))
    return figures, equity


def _part(job: Job, settings: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    figures = np.empty((len(settings), len(job.metrics)))
    equity = np.empty((len(settings), len(job.bars) if job.equity else 0))
    span, done = years(job.bars.index), 0
    waiting: deque[Future] = deque()

    def one(first: int, plans: Sequence[Plan]) -> None:
        for i, (found, curve) in enumerate(_accounts(job, plans, span), start=first):
            figures[i], equity[i] = found, curve if job.equity else 0.0

    with ThreadPoolExecutor(config.NUMBA_NUM_THREADS) as pool:
        for plans in batches(_plans(job, settings), _LEAST_WORK // job.bars.close.size):
            waiting.append(pool.submit(one, done, plans))
            done += len(plans)
            if len(waiting) > 2 * config.NUMBA_NUM_THREADS:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    if done != len(settings):
        raise InputError(
            f"{job.strategy} made {count(done, 'plan')} of {count(len(settings), 'setting')}; make one for each"
        )
    return figures, equity


def _plans(job: Job, settings: Sequence[Mapping[str, Any]]) -> Iterator[Plan]:
    rules = [job.strategy(**setting) for setting in settings]
    if isinstance(job.strategy, type) and not any(rule.adapts for rule in rules):
        yield from job.strategy.plans(job.bars, settings)  # type: ignore[attr-defined]
        return
    for rule in rules:
        if rule.adapts:
            alone = walk_forward(
                [rule], job.bars, costs=job.costs, execution=job.execution, every=job.every, progress=False
            )
            yield alone[0].plan
        else:
            yield planned(rule, job.bars)


def _accounts(job: Job, plans: Sequence[Plan], span: float) -> Iterator[tuple[list[float], np.ndarray]]:
    """Metrics and equity of each of some plans of the same parts."""
    if not set(job.metrics) <= QUICK.keys():
        for found in accounts(job.bars, plans, costs=job.costs, execution=job.execution):
            figures = found.metrics
            yield [figures[name] for name in job.metrics], found.equity
        return
    paths = simulate(job.bars, stacked(plans), costs=job.costs, execution=job.execution, holdings=False)
    for equity, cost, traded in zip(paths.equity, paths.cost, paths.traded, strict=True):
        account = Account(equity, cost, traded, span)
        yield [float(QUICK[name](account)) for name in job.metrics], equity
