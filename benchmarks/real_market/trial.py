"""The walk-forwards: every contender on one universe, net of its costs, from trained models that are kept."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backtests import Backtest, walk_forward
from backtests.engine.accounts import accounts
from backtests.engine.protocols import learns
from benchmarks.real_market.contenders import Contender, Setting
from benchmarks.real_market.models import Kept
from benchmarks.real_market.universes import Universe
from benchmarks.real_market.variants import Variant
from strategies.blend import mean_plan


@dataclass(frozen=True, eq=False)
class Traded:
    """All backtests on one universe.

    Attributes
    ----------
    universe : Universe
    backtests : dict
        By contender; of several seeds, the account of their averaged plans.
    seeds : dict
        By contender with several seeds, the account of each.
    """

    universe: Universe
    backtests: dict[str, Backtest]
    seeds: dict[str, tuple[Backtest, ...]]


@dataclass(frozen=True)
class Running:
    """How a trial is run.

    Attributes
    ----------
    every : int
        Bars between adaptations.
    models : Path
        Folder of trained models.
    plans : Path or None
        Folder of finished walk-forward jobs; see `backtests.engine.cache`.
    jobs : int or None
    seed : int
    quick : bool
    """

    every: int
    models: Path
    plans: Path | None = None
    jobs: int | None = None
    seed: int = 0
    quick: bool = False


def trade(universe: Universe, contenders: Sequence[Contender], running: Running, across: Any = None) -> Traded:
    """Walk all contenders forward on one universe.

    Parameters
    ----------
    universe : Universe
    contenders : sequence of Contender
        Those that trade it.
    running : Running
    across : callable, optional
        Tasks of all universes known at a fold's start, for the contenders that are trained on them.

    Raises
    ------
    InputError
        When there are too few bars for a contender.
    KeyboardInterrupt
        On Ctrl-C; models and jobs that were finished are kept.
    """
    built: dict[str, list[Any]] = {}
    for c in contenders:
        built[c.name] = _variants(c, built[c.of]) if c.of else _members(c, universe, running)
    found: dict[str, Backtest] = {}
    groups = dict.fromkeys((bool(c.of), c.across, c.tasks) for c in contenders)
    for group in sorted(groups, key=lambda g: g[0]):  # variants of a model after it, so that no two jobs train it
        strategies = [one for c in contenders if (bool(c.of), c.across, c.tasks) == group for one in built[c.name]]
        _, wide, cut = group
        tasks = cut or universe.tasks
        found |= _walked(strategies, universe, running, replace(across, cut=tasks) if wide else tasks)
    each_account = {name: tuple(found[one.name] for one in each) for name, each in built.items()}
    backtests = {name: together(name, each, universe) for name, each in each_account.items()}
    return Traded(universe, backtests, {name: each for name, each in each_account.items() if len(each) > 1})


def _walked(strategies: Sequence[Any], universe: Universe, running: Running, tasks: Any) -> dict[str, Backtest]:
    """Backtests by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # solvers on singular matrices; the tables show what came of it
        result = walk_forward(
            strategies, universe.bars, costs=universe.costs, execution=universe.execution, every=running.every,
            retrain_every=universe.retrain_every, tasks=tasks, jobs=running.jobs, cache=running.plans,
        )  # fmt: skip
    return {account.name: account for account in result}


def _members(contender: Contender, universe: Universe, running: Running) -> list[Any]:
    """The strategy, or the learner once per seed."""
    assert contender.build is not None
    strategy = contender.build(Setting(universe.costs, universe.execution, running.seed, running.quick))
    if not learns(strategy):
        named = copy.copy(strategy)
        named.name = contender.name
        return [named]
    kept = Kept(strategy, contender.name, running.models)
    if contender.seeds == 1:
        return [kept]
    return [kept.with_seed(running.seed + k) for k in range(2 if running.quick else contender.seeds)]


def _variants(contender: Contender, kept: Sequence[Kept]) -> list[Variant]:
    """The models of another contender, once per seed."""
    return [Variant(k, contender.way, f"{contender.name} of {k.name}") for k in kept]


def together(name: str, backtests: Sequence[Backtest], universe: Universe) -> Backtest:
    """One account of the mean of several plans, as `strategies.Blend` has it; a single backtest as it is, renamed."""
    if len(backtests) == 1:
        return replace(backtests[0], name=name)
    plan = mean_plan([b.plan for b in backtests])
    (account,) = accounts(universe.bars, [plan], costs=universe.costs, execution=universe.execution, name=name)
    first = backtests[0]
    return replace(account, known=first.known, folds=first.folds, events=first.events, remark=first.remark)
