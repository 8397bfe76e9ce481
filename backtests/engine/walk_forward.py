"""Walk-forward backtests: train and adapt on the bars so far, trade the next bars, repeat; one account runs through it all."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backtests.engine.accounts import accounts
from backtests.engine.cache import Cache
from backtests.engine.combinatorial import CombinatorialPurged, Paths, median_path
from backtests.engine.folds import Split, walk_forward_splits
from backtests.engine.guard import Guard
from backtests.engine.jobs import Job, Piece, Tasks, changed, run
from backtests.engine.parallel import run_all
from backtests.engine.protocols import Adaptive, Learner, learns
from backtests.engine.task_cuts import WindowTasks
from backtests.results import Backtest, Backtests, Event, Fold
from markets import Bars, Costs, Execution, InputError, RegimePath
from markets.accounting.market import resolve_fill
from markets.accounting.quotes import last_quotes
from markets.bars.time_spans import moment
from markets.common.words import count
from strategies import Plan

Scheme = Literal["expanding", "rolling"] | CombinatorialPurged


@dataclass(frozen=True, eq=False)
class WalkForward(Backtests):
    """What `walk_forward` returns: backtests of several strategies on the same bars.

    Attributes
    ----------
    paths : Paths or None
        All paths of a combinatorial scheme; the backtest of each strategy is then its median path by Sharpe ratio.
    """

    paths: Paths | None = None

    def report(self, path: str | Path, title: str | None = None, notes: Iterable[str] = (), **options: Any) -> Path:
        """Write a self-contained HTML page; see `backtests.report.page.write_report`."""
        from backtests.report.page import write_report  # plotly takes a second to import

        return write_report(self, path, title, notes, **options)


def walk_forward(
    strategies: Iterable[Adaptive | Learner],
    bars: Bars,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    every: int = 63,
    train: int | str | None = None,
    retrain_every: int | str | None = "1Y",
    scheme: Scheme = "expanding",
    purge: int = 0,
    embargo: int = 0,
    tasks: Tasks | None = None,
    controls: bool = False,
    seeds: Sequence[int] | None = None,
    regimes: RegimePath | None = None,
    check: bool | Literal["strict"] = True,
    jobs: int | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> WalkForward:
    """Backtest strategies on the visible rows of `bars`.

    Every `every` bars a strategy adapts to all bars so far, including the history (``bars["2008":]`` still holds the bars before
    2008), and plans the next `every` bars. Strategies that do not adapt plan once. A learner is trained anew at the start of each
    fold, on the bars before it, and adapts within it. One account then executes the joined plan, through all folds.

    Parameters
    ----------
    strategies : iterable of Strategy, MetaPolicy or learner
        A learner, such as ``RL2(...)``, has `fit` and is trained here; a `MetaPolicy` was trained before.
    bars : Bars of shape (T, A)
    costs : Costs or str
        Costs per side.
    execution : Execution, optional
    every : int
        Bars between adaptations.
    train : int or str, optional
        Bars or time that learners are trained on, such as ``"10Y"``: at least (expanding), or exactly (rolling).
    retrain_every : int, str or None
        Bars or calendar periods between trainings: 252, ``"1Y"``, ``"6M"``. None trains once.
    scheme : {"expanding", "rolling"} or CombinatorialPurged
        Whether a fold is trained on all bars before it, on the last of them, or on the folds around it.
    purge : int
        Bars left out between training and the fold that is traded.
    embargo : int
        For `CombinatorialPurged`, which has its own; in a walk-forward no training follows a test, and it must be 0.
    tasks : callable, optional
        From the bars known at a fold to (training, validation) tasks; by default ``WindowTasks()``.
    controls : bool
        Whether each learner is also run without adaptation, as "NAME, unadapted", and as what other controls it has, such as
        "NAME, memory cleared".
    seeds : sequence of int, optional
        Train each learner once per seed, as "NAME, seed 1"; by default with the seed that it has.
    regimes : RegimePath, optional
        Shown in the report.
    check : bool or "strict"
        Whether rows of each plan are planned again without the bars after them, and a strategy whose plan changes is refused:
        a sample of rows, or all of them.
    jobs : int, optional
        Jobs (a strategy, or a learner in one fold with one seed) to run in parallel, by joblib; by default one at a time, or
        what ``joblib.parallel_config`` says.
    cache : path, optional
        Folder in which finished jobs are kept, and found again; see `backtests.engine.cache`.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    WalkForward

    Raises
    ------
    InputError
        When there are no strategies, fewer than 3 bars or too few for a strategy's warm-up or training, two strategies of the
        same name, a setting is out of range, or a strategy looks ahead.
    KeyboardInterrupt
        On Ctrl-C, with a message that says what is kept.

    Warns
    -----
    UserWarning
        When a model was trained on bars of the span, so that part of its result is in sample.
    """
    strategies = _seeded(list(strategies), seeds)
    _check(strategies, bars, every)
    costs, execution = Costs.parse(costs), execution or Execution()
    if costs.quoted:
        last_quotes(bars)  # bars without quotes are refused before anything is trained
    combinatorial = scheme if isinstance(scheme, CombinatorialPurged) else None
    if not combinatorial and scheme not in ("expanding", "rolling"):
        raise InputError(f'scheme is {scheme!r}; use "expanding", "rolling" or CombinatorialPurged(...)')
    if combinatorial and (purge or embargo or train):
        raise InputError(
            "purge, embargo and train are not for a combinatorial scheme, which trains on all other folds; write "
            "CombinatorialPurged(purge=..., embargo=...)"
        )
    if embargo:
        raise InputError(
            f"embargo is {embargo}: in a walk-forward no training follows a test, so there is nothing to embargo; use purge"
        )
    path_ids = np.zeros((0, 1), dtype=int)
    splits = [Split((), ((bars.past, bars.past + len(bars)),))]
    if any(learns(s) for s in strategies):
        if combinatorial:
            splits, path_ids = combinatorial.splits(bars)
        else:
            splits = walk_forward_splits(bars, retrain_every, train, scheme == "rolling", purge)
    guard = Guard(None) if check == "strict" else Guard() if check else None
    whole = Split((), ((bars.past, bars.past + len(bars)),))
    tasks = tasks or WindowTasks()
    work = [
        [Job(s, split, every, tasks, controls, guard) for split in (splits if learns(s) else [whole])]
        for s in strategies
    ]
    pieces = _finished([job for each in work for job in each], bars, jobs, cache, progress)
    backtests: list[Backtest] = []
    by_name: dict[str, tuple[Backtest, ...]] = {}
    for each in work:
        results = [pieces.pop(0) for _ in each]
        for variant in range(len(results[0])):
            split_pieces = [result[variant] for result in results]
            paths = _paths(
                split_pieces, [job.split for job in each], path_ids if learns(each[0].strategy) else path_ids[:0]
            )
            found = tuple(_account(path, bars, costs, execution) for path in paths)
            by_name[found[0].name] = found
            backtests.append(median_path(found))
    return WalkForward(
        tuple(backtests),
        bars,
        costs,
        execution,
        every,
        regimes,
        paths=Paths(by_name, combinatorial) if combinatorial else None,
    )


def _seeded(strategies: list[Any], seeds: Sequence[int] | None) -> list[Any]:
    """Each learner once per seed."""
    if seeds is None:
        return strategies
    found: list[Any] = []
    for strategy in strategies:
        if not learns(strategy):
            found.append(strategy)
            continue
        if not hasattr(strategy, "with_seed"):
            raise InputError(f"{strategy.name} has no with_seed(seed), so it cannot be trained with other seeds")
        found += [_Seed(strategy.with_seed(seed), f"{strategy.name}, seed {seed}") for seed in seeds]
    return found


@dataclass(frozen=True)
class _Seed:
    """A learner with one of several seeds, under a name that says so."""

    learner: Any
    name: str

    def fit(self, *tasks: Any, **options: Any) -> Any:
        return self.learner.fit(*tasks, **options)


def _check(strategies: Sequence[Adaptive | Learner], bars: Bars, every: int) -> None:
    """Raise `InputError`, or warn, of what `walk_forward` says."""
    if not strategies:
        raise InputError("there is nothing to backtest; name a model or a rule")
    for strategy in strategies:
        seen = getattr(strategy, "seen_until", None)
        if seen is not None and moment(f"{strategy.name}: seen_until", seen, bars.index.tz) >= bars.index[0]:
            warnings.warn(
                f"{strategy.name} has learnt from bars up to {seen}; its result up to then is in sample", stacklevel=3
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


def _finished(
    work: list[Job], bars: Bars, jobs: int | None, cache: str | Path | None, progress: bool
) -> list[list[list[Piece]]]:
    """The results of all jobs, of which those in the cache are not run."""
    kept = None if cache is None else Cache.at(cache)
    files = [None if kept is None else kept.path(job, bars) for job in work]
    found = [Cache.read(file) for file in files]
    left = [i for i, result in enumerate(found) if result is None]

    def finished(number: int, result: list[list[Piece]]) -> None:
        found[left[number]] = result
        Cache.keep(files[left[number]], result)

    try:
        arguments = [(work[i], bars) for i in left]
        run_all(run, arguments, finished, jobs=jobs, done=len(work) - len(left), progress=progress)
    except KeyboardInterrupt:
        done = sum(result is not None for result in found)
        where = (
            f"kept in {kept.folder}; the same call goes on from there" if kept else "lost; with a cache they are kept"
        )
        raise KeyboardInterrupt(f"{done} of {count(len(work), 'job')} were finished, and are {where}") from None
    return [result for result in found if result is not None]


def _paths(
    results: list[list[Piece]], splits: list[Split], path_ids: np.ndarray
) -> list[list[tuple[tuple[int, int], Piece]]]:
    """The stretches and pieces of each path, in order of time."""
    stretches = [
        [(span, piece) for span, piece in zip(split.tests, pieces, strict=True)]
        for split, pieces in zip(splits, results, strict=True)
    ]
    if not len(path_ids):
        return [[item for each in stretches for item in each]]
    paths: list[list[tuple[tuple[int, int], Piece]]] = [[] for _ in range(path_ids.max() + 1)]
    for each, ids in zip(stretches, path_ids, strict=True):
        for item, path in zip(each, ids, strict=True):
            paths[path].append(item)
    return [sorted(path, key=lambda item: item[0]) for path in paths]


def _account(path: list[tuple[tuple[int, int], Piece]], bars: Bars, costs: Costs, execution: Execution) -> Backtest:
    """One account that executes the joined plan of a path."""
    pieces = [piece for _, piece in path]
    plan = Plan.join([piece.plan for piece in pieces])
    last = pieces[-1]
    fingerprint = last.fingerprint
    if fingerprint is not None and len(pieces) > 1:
        fingerprint = hashlib.sha256("".join(str(piece.fingerprint) for piece in pieces).encode()).hexdigest()
    remark = (
        f"{count(len(pieces), 'fold')}, in the last: {last.remark}" if last.remark and len(pieces) > 1 else last.remark
    )
    index = bars.with_past().index
    folds = tuple(
        Fold((index[first], index[end - 1]), piece.trained_until, piece.adapted_until) for (first, end), piece in path
    )
    (account,) = accounts(bars, [plan], costs=costs, execution=execution, name=last.name)
    return replace(
        account, fingerprint=fingerprint, remark=remark, known=_known(bars, execution), folds=folds,
        events=_events(path, bars),
    )  # fmt: skip


def _known(bars: Bars, execution: Execution) -> np.ndarray:
    """Latest bar behind the positions at each mark, datetime64 of shape (T,): orders are filled on the bar after the decision."""
    index = bars.index if bars.index.tz is None else bars.index.tz_convert(None)
    times = index.to_numpy(dtype="datetime64[ns]")
    if resolve_fill(bars, execution) == "same_close":
        return times
    return np.concatenate([[np.datetime64("NaT", "ns")], times[:-1]])


def _events(path: list[tuple[tuple[int, int], Piece]], bars: Bars) -> tuple[Event, ...]:
    """The events of all folds; the first of a fold after another is the change of model, from one bar to the next."""
    events: list[Event] = []
    former: Piece | None = None
    for _, piece in path:
        first, *rest = piece.events or (None,)
        if first is not None and former is not None:
            first = changed(first.time, "trained", bars.symbols, former.plan.aim[-1], piece.plan.aim[0])
        elif first is not None and piece.trained_until is not None and len(path) > 1:
            first = replace(first, kind="trained")
        events += [event for event in (first, *rest) if event is not None]
        former = piece
    return tuple(events)
