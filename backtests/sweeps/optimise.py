"""Walk-forward optimisation: choose a setting on the bars so far, trade it over the next ones, and choose again.

With settings s, their equity E_s, and folds that begin at the bars f_1 < f_2 < ...::

    s_k = the choice among E_s over bars a_k to f_k − purge,     a_k = the first bar (expanding), or `train` bars before (rolling)
    s_k is traded from f_k to f_{k+1}, in one account that runs through all folds

(Pardo, "The Evaluation and Optimization of Trading Strategies", 2nd edition 2008.) An account is causal, and so its equity up to
f_k is the same whatever comes later. Therefore one sweep of the whole span serves all folds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from backtests.engine.walk_forward import WalkForward, walk_forward
from backtests.results import Backtest
from backtests.section import Section
from backtests.sweeps.accounts import QUICK, Account, rules_of
from backtests.sweeps.grid import Found, Grid
from backtests.sweeps.sweep import Sweep, in_words, name_of, sign, sweep
from markets import Bars, Costs, Execution, InputError
from markets.common.statistics import years
from markets.common.words import count
from strategies import Plan, Strategy

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Metrics that equity alone tells, over any stretch of it.
_OF_EQUITY = tuple(name for name in QUICK if name not in ("turnover", "costs"))
Choose = str | Callable[[Sweep], Found | Mapping[str, Any]]


class Optimised(Strategy):
    """A strategy whose setting is chosen anew, by a stated rule, whenever it adapts.

    It is a strategy like others, so `walk_forward` runs it beside them. Each setting is followed in an account of its own, with
    these costs, from the first bar on which the slowest one is warm.

    Parameters
    ----------
    strategy : class, or callable that returns a Strategy
        Called with the parameters of the grid by name; strategies that adapt themselves are not for this.
    grid : dict of str to iterable
        Values of each parameter.
    train : int
        Bars to choose on: at least (expanding), or exactly (rolling).
    choose : str or callable
        A metric, whose best setting is chosen; ``"plateau"``, the setting whose worst neighbour has the best Sharpe ratio; or a
        function of the training span's `Sweep`, such as ``lambda sweep: sweep.plateau("Calmar")``.
    scheme : {"expanding", "rolling"}
        Whether to choose on all bars so far or on the last `train` of them.
    purge : int
        Bars left out between those that are chosen on and those that are traded.
    where : callable, optional
        Which combinations to try.
    costs : Costs or str
    execution : Execution, optional
    name : str, optional

    Raises
    ------
    InputError
        When a setting is out of range, a metric is not one of equity alone, or the strategy adapts.
    """

    adapts = True

    def __init__(
        self,
        strategy: Callable[..., Strategy],
        grid: Mapping[str, Iterable[Hashable]] | Grid,
        *,
        train: int,
        choose: Choose = "Sharpe",
        scheme: Literal["expanding", "rolling"] = "expanding",
        purge: int = 0,
        where: Callable[..., bool] | None = None,
        costs: Costs | str = "10bp",
        execution: Execution | None = None,
        name: str | None = None,
    ):
        if train < 3 or purge < 0:
            raise InputError(f"train is {train} and purge is {purge}; they must be at least 3 and 0 bars")
        if scheme not in ("expanding", "rolling"):
            raise InputError(f"scheme is {scheme!r}; use expanding or rolling")
        if isinstance(choose, str) and choose not in (*_OF_EQUITY, "plateau"):
            raise InputError(f"choose is {choose!r}; use plateau, {', '.join(_OF_EQUITY)}, or a function of a Sweep")
        self.strategy, self.grid = strategy, Grid.of(grid, where)
        self.train, self.choose, self.scheme, self.purge = train, choose, scheme, purge
        self.costs, self.execution = Costs.parse(costs), execution or Execution()
        self.name = name or f"optimised {name_of(strategy)}"
        rules = [self.strategy(**setting) for setting in self.grid.settings]
        if any(rule.adapts for rule in rules):
            raise InputError(
                f"{self.name}: {name_of(strategy)} adapts, and would be followed adapted but traded as it is built; optimise one "
                "that does not, or compare its settings with `sweep`"
            )
        self._warm = max(rule.warmup for rule in rules)
        self.warmup = self._warm + train + purge
        self._chosen: dict[str, dict[str, Any]] = {}  # by the hash of the bars so far

    @property
    def trials(self) -> int:
        """Number of settings that are tried, for the deflated Sharpe ratio."""
        return len(self.grid)

    @property
    def metric(self) -> str:
        """The metric that is compared in and out of sample: the one that is chosen by, or else the Sharpe ratio."""
        return self.choose if isinstance(self.choose, str) and self.choose != "plateau" else "Sharpe"

    def plan(self, bars: Bars) -> Plan:
        raise InputError(
            f"{self.name} has no setting yet; adapt it to bars first, which returns the strategy with the best one"
        )

    def adapt(self, bars: Bars) -> Strategy:
        """The strategy with the setting that is chosen on all of `bars`, including their history, less the purge.

        Raises
        ------
        InputError
            When there are too few bars to choose on.
        """
        if bars.hash not in self._chosen:
            followed = self.follow(bars, progress=False)
            self._chosen[bars.hash] = self.chosen(self.training(followed, bars.past + len(bars)))
        return self.strategy(**self._chosen[bars.hash])

    def first_fold(self, bars: Bars) -> int:
        """First row of ``bars.with_past()`` at which there are enough bars to choose on."""
        return bars.warm_from(self._warm) + self.train + self.purge - 1

    def follow(self, bars: Bars, jobs: int | None = None, progress: bool = True) -> Sweep:
        """An account for each setting, over all of ``bars.with_past()`` from where all are warm.

        Raises
        ------
        InputError
            When there are too few bars.
        """
        whole = bars.with_past()
        if self.first_fold(bars) >= len(whole):
            raise InputError(
                f"{self.name} needs {self.first_fold(bars) + 1:,} bars to choose on ({self.train:,} to train on, the others to "
                f"warm up and purge), but {bars.name} has {count(len(whole), 'bar')} so far; use more bars or less of either"
            )
        span = whole.rows(whole.warm_from(self._warm), len(whole))
        return sweep(
            self.strategy, self.grid, span, metrics=(), equity=True, costs=self.costs, execution=self.execution,
            jobs=jobs, progress=progress,
        )  # fmt: skip

    def training(self, followed: Sweep, stop: int) -> Sweep:
        """The part of the accounts that is chosen on when the first `stop` bars are known, with its metrics."""
        begin = followed.bars.past
        last = stop - self.purge
        first = begin if self.scheme == "expanding" else last - self.train
        names = (self.metric,) if isinstance(self.choose, str) else _OF_EQUITY
        return part(followed, first, last, names)

    def chosen(self, training: Sweep) -> dict[str, Any]:
        """The setting that the rule chooses.

        Raises
        ------
        InputError
            When no setting has the metric, or a function returns something that is not in the grid.
        """
        if self.choose == "plateau":
            return training.plateau("Sharpe").setting
        if isinstance(self.choose, str):
            return training.best(self.choose).setting
        found = self.choose(training)
        setting = dict(found.setting if isinstance(found, Found) else found)
        if setting not in self.grid.settings:
            raise InputError(f"{self.name}: `choose` returned {setting}; return a setting of the grid")
        return setting

    def remember(self, bars: Bars, setting: dict[str, Any]) -> None:
        """Keep the choice for these bars, so that `adapt` need not sweep."""
        self._chosen[bars.hash] = setting


@dataclass(frozen=True, eq=False)
class Optimisation:
    """What walk-forward optimisation gave, and how stable its choices were.

    Attributes
    ----------
    strategy : Optimised
        Stands in `walk_forward` beside others; its choices on these bars are remembered.
    result : WalkForward
        The one account that traded each fold with the setting chosen before it.
    folds : DataFrame
        One row per fold, indexed by the bar at which it was chosen: the parameters; ``in sample`` and ``out of sample``, the
        metric of the chosen setting's account over the bars it was chosen on and over the fold; ``rank``, the share of the
        other settings that did worse than it out of sample, where equal ones count as half; ``correlation``, the rank
        correlation over all settings of the metric in and out of sample; ``changed``, whether the setting is another than in
        the fold before.
    metric : str
    trials : int
        Number of settings tried, for the deflated Sharpe ratio.
    """

    strategy: Optimised
    result: WalkForward
    folds: pd.DataFrame
    metric: str
    trials: int

    @property
    def backtest(self) -> Backtest:
        """The account."""
        return self.result[0]

    @property
    def changes(self) -> int:
        """How often another setting was chosen than in the fold before."""
        return int(self.folds["changed"].sum())

    def section(self) -> Section:
        """How stable the choice was, as a section of a report."""
        folds, metric = self.folds, self.metric
        inside, outside = in_words(metric, folds["in sample"].mean()), in_words(metric, self.backtest.metrics[metric])
        rank = folds["rank"].mean()
        ahead = "" if np.isnan(rank) else f", and out of sample it was ahead of {rank:.0%} of the others"
        return Section(
            title=f"Walk-forward optimisation of {name_of(self.strategy.strategy)}",
            finding=(
                f"{metric} of the chosen setting was {inside} in sample, in the mean of {count(len(folds), 'fold')}, and that of "
                f"the account that traded them {outside}; another setting was chosen {count(self.changes, 'time')}{ahead}."
            ),
            shows="What choosing by this rule would have earned: each choice was made from the bars before it alone.",
            does_not_show=(
                f"That the strategy has an edge: all {count(self.trials, 'setting')} may owe theirs to the same luck, and the "
                "rule of choice, the grid and the lengths were themselves chosen by someone who knew these bars."
            ),
            table=folds,
            draw=self.draw,
        )

    def draw(self) -> go.Figure:
        """Plot the chosen parameters over time, and the metric in and out of sample."""
        from backtests.sweeps.picture import choices  # plotly takes a second to import

        return choices(self.folds, list(self.strategy.grid.values), self.metric, self.backtest.index[-1])


def optimise(
    strategy: Callable[..., Strategy],
    grid: Mapping[str, Iterable[Hashable]] | Grid,
    bars: Bars,
    *,
    train: int = 2520,
    every: int = 252,
    choose: Choose = "Sharpe",
    scheme: Literal["expanding", "rolling"] = "expanding",
    purge: int = 0,
    where: Callable[..., bool] | None = None,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    name: str | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Optimisation:
    """Choose a setting every `every` bars on those before, and trade the next ones with it, in one account.

    Parameters
    ----------
    strategy, grid, train, choose, scheme, purge, where, costs, execution, name
        See `Optimised`.
    bars : Bars of shape (T, A)
        The visible rows are traded, from the first that has enough bars before it; history counts (``bars["2000":]``).
    every : int
        Bars of a fold.
    jobs : int, optional
        See `sweep`.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Optimisation

    Raises
    ------
    InputError
        When a setting is out of range, or there are too few bars.
    """
    if every < 1:
        raise InputError(f"every is {every}; it must be at least 1 bar")
    rule = Optimised(
        strategy, grid, train=train, choose=choose, scheme=scheme, purge=purge, where=where, costs=costs,
        execution=execution, name=name,
    )  # fmt: skip
    rules_of(strategy, rule.grid.settings, bars)
    followed = rule.follow(bars, jobs, progress)
    whole, begin = bars.with_past(), max(bars.past, rule.first_fold(bars))
    if len(whole) - begin < 3:
        raise InputError(f"{bars.name}: {count(len(whole) - begin, 'bar')} are left to trade; use less to train on")
    rows, starts = [], range(begin, len(whole), every)
    for start in starts:
        training = rule.training(followed, start + 1)
        setting = rule.chosen(training)
        rule.remember(whole.rows(start, start + 1), setting)
        rows.append(_fold(rule, followed, training, setting, start, min(start + every, len(whole) - 1)))
    folds = pd.DataFrame(
        rows, index=pd.DatetimeIndex([whole.index[s] for s in range(begin, len(whole), every)], name="chosen at")
    )
    names = list(rule.grid.values)
    folds["changed"] = (folds[names] != folds[names].shift()).any(axis=1) & (np.arange(len(folds)) > 0)
    result = walk_forward(
        [rule],
        whole.rows(begin, len(whole)),
        costs=rule.costs,
        execution=rule.execution,
        every=every,
        progress=progress,
    )
    return Optimisation(rule, result, folds, rule.metric, rule.trials)


def _fold(
    rule: Optimised, followed: Sweep, training: Sweep, setting: dict[str, Any], start: int, last: int
) -> dict[str, Any]:
    """A row of `Optimisation.folds`: what was chosen, and how it did from bar `start` to bar `last`."""
    at = rule.grid.settings.index(setting)
    inside = training.table[rule.metric]
    outside = part(followed, start, last + 1, (rule.metric,)).table[rule.metric]
    ahead = sign(rule.metric) * (outside.iloc[at] - np.delete(outside.to_numpy(), at))
    known = ahead[np.isfinite(ahead)]
    return {
        **setting,
        "in sample": inside.iloc[at],
        "out of sample": outside.iloc[at],
        "rank": float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else np.nan,
        "correlation": inside.rank().corr(outside.rank()) if len(inside) > 2 else np.nan,
    }


def part(followed: Sweep, first: int, last: int, names: Iterable[str]) -> Sweep:
    """Metrics of each setting over the rows `first` to `last` (excluded) of ``bars.with_past()``, of the same accounts."""
    assert followed.equity is not None
    begin = followed.bars.past
    equity, bars = followed.equity[:, first - begin : last - begin], followed.bars.rows(first, last)
    span, none = years(bars.index), np.zeros(0)
    figures = [[QUICK[name](Account(curve, none, none, span)) for name in names] for curve in equity]
    table = pd.DataFrame(figures, index=followed.table.index, columns=list(names))
    return Sweep(followed.name, followed.grid, table, equity, bars, followed.costs, followed.execution)
