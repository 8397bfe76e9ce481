"""`sweep`: backtest a strategy with every setting of a grid.

The best of many settings is partly the luckiest one. So beside the *peak*, the setting with the best figure, stands the
*plateau*: the setting whose worst neighbour is best. Where the figure comes from an effect rather than from luck, settings
nearby should have it too (Pardo, "The Evaluation and Optimization of Trading Strategies", 2nd edition 2008, calls a peak
without such surroundings a spike). The number of settings goes on to the deflated Sharpe ratio as the number of trials.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtests.metrics import LESS_IS_BETTER, METRICS, formatted
from backtests.section import Section
from backtests.sweeps.accounts import Job, rules_of, run
from backtests.sweeps.grid import Found, Grid, label
from markets import Bars, Costs, Execution, InputError
from markets.common.words import count
from strategies import Strategy

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHOWN = 20  # settings in the table of a report


@dataclass(frozen=True, eq=False)
class Sweep:
    """Backtests of one strategy with many settings, on the same bars.

    Attributes
    ----------
    name : str
        Of the strategy.
    grid : Grid
        The settings, and which are neighbours.
    table : DataFrame of shape (S, M)
        One row per setting, indexed by its parameters; the metrics of `backtests.metrics.METRICS` that were asked for.
    equity : ndarray of shape (S, T), or None
        Equity of each setting, if it was kept.
    bars : Bars of shape (T, A)
    costs : Costs
    execution : Execution
    """

    name: str
    grid: Grid
    table: pd.DataFrame
    equity: np.ndarray | None
    bars: Bars
    costs: Costs
    execution: Execution

    @property
    def trials(self) -> int:
        """Number of settings that were tried, for the deflated Sharpe ratio."""
        return len(self.grid)

    def best(self, metric: str = "Sharpe") -> Found:
        """The peak: the setting with the best value of a metric.

        Raises
        ------
        InputError
            When the metric is not in the table, or no setting has one.
        """
        scores, _ = self._scores(metric)
        return self._found(metric, int(np.argmax(np.where(np.isnan(scores), -np.inf, scores))))

    def plateau(self, metric: str = "Sharpe") -> Found:
        """The setting whose worst neighbour is best; of several such, the one that is itself best.

        At the border of the grid a setting has fewer neighbours.

        Raises
        ------
        InputError
            As for `best`.
        """
        scores, worst = self._scores(metric)
        return self._found(metric, int(np.lexsort((np.where(np.isnan(scores), -np.inf, scores), worst))[-1]))

    def neighbours(self, metric: str = "Sharpe") -> pd.Series:
        """For each setting the worst value of a metric among it and its neighbours; NaN if one of them has none.

        Raises
        ------
        InputError
            As for `best`.
        """
        _, worst = self._scores(metric)
        worst = np.where(np.isinf(worst), np.nan, worst)
        return pd.Series(sign(metric) * worst, self.table.index, name=f"{metric}, worst neighbour")

    def heat_map(self, metric: str = "Sharpe", x: str | None = None, y: str | None = None) -> go.Figure:
        """Plot a metric over two parameters, or a curve over one; peak and plateau are marked.

        Parameters
        ----------
        metric : str
        x, y : str, optional
            Parameters; by default the last two that have several values. Over the others, the median is drawn.

        Raises
        ------
        InputError
            When the metric or a parameter is unknown.
        """
        from backtests.sweeps.picture import heat_map  # plotly takes a second to import

        marks = {"peak": self.best(metric), "plateau": self.plateau(metric)}
        return heat_map(self.table[metric], self.grid, marks, f"{metric} of {self.name}", x, y)

    def section(self, metric: str = "Sharpe") -> Section:
        """What the sweep says, as a section of a report."""
        peak, plateau = self.best(metric), self.plateau(metric)
        values, text = self.table[metric], partial(in_words, metric)
        rows = (sign(metric) * values).sort_values(ascending=False, kind="stable").index[:_SHOWN]
        table = self.table.assign(**{f"{metric}, worst neighbour": self.neighbours(metric)}).loc[rows]

        return Section(
            title=f"{count(len(self.grid), 'setting')} of {self.name}",
            finding=(
                f"{metric} peaks at {text(peak.value)} ({label(peak.setting)}), whose worst neighbour has {text(peak.worst)}; "
                f"the plateau is {label(plateau.setting)}, with {text(plateau.value)} and {text(plateau.worst)}; "
                f"the median of all settings is {text(values.median())}."
            ),
            shows="How much the result depends on the choice of parameters, and whether settings beside the best one share it.",
            does_not_show=(
                f"That the best setting stays the best: it is the luckiest of {count(self.trials, 'trial')} on these bars. "
                "Walk-forward optimisation and the deflated Sharpe ratio ask that."
            ),
            table=table,
            draw=lambda: self.heat_map(metric),
        )

    def _scores(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Values of a metric, and those of the worst neighbours, both with the sign by which more is better."""
        if metric not in self.table:
            raise InputError(f"the sweep has no metric {metric!r}; it has {', '.join(map(str, self.table))}")
        scores = sign(metric) * self.table[metric].to_numpy(dtype=np.float64)
        if np.isnan(scores).all():
            raise InputError(f"{metric} is not defined for any setting of {self.name} on {self.bars.name}")
        return scores, self.grid.worst_neighbour(scores)

    def _found(self, metric: str, row: int) -> Found:
        value = float(self.table[metric].iloc[row])
        return Found(dict(self.grid.settings[row]), value, float(self.neighbours(metric).iloc[row]))


def sweep(
    strategy: Callable[..., Strategy],
    grid: Mapping[str, Iterable[Hashable]] | Grid,
    bars: Bars,
    *,
    where: Callable[..., bool] | None = None,
    metrics: Sequence[str] | None = None,
    equity: bool = False,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    every: int = 63,
    jobs: int | None = None,
    progress: bool = True,
) -> Sweep:
    """Backtest a strategy with every setting of a grid, on the visible rows of `bars`.

    Each setting is an account of its own. Memory does not grow with the number of settings, other than by what is kept.

    Parameters
    ----------
    strategy : class, or callable that returns a Strategy
        Called with the parameters of the grid by name. A class that has work to share between settings overrides
        `Strategy.plans`, as `MovingAverageCross` does.
    grid : dict of str to iterable
        Values of each parameter, such as ``{"fast": range(5, 50), "slow": range(50, 300, 10)}``.
    bars : Bars of shape (T, A)
    where : callable, optional
        Which combinations to try, such as ``lambda fast, slow: fast < slow``.
    metrics : sequence of str, optional
        Names of `backtests.metrics.METRICS`; all by default. A sweep for those of `backtests.sweeps.accounts.QUICK` alone,
        such as ``("Sharpe", "CAGR")``, is faster, since the others take as long as the account.
    equity : bool
        Whether to keep the equity of each setting, (S, T) float64.
    costs : Costs or str
        Costs per side.
    execution : Execution, optional
    every : int
        Bars between adaptations, of strategies that adapt.
    jobs : int, optional
        Processes, by joblib; by default one, or what ``joblib.parallel_config`` says. Within each, accounts are simulated in
        ``NUMBA_NUM_THREADS`` threads, so more than one only pays where planning takes longer than the account.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Sweep

    Raises
    ------
    InputError
        When the grid is empty, a metric is unknown, there are fewer than 3 bars, or a setting is refused by the strategy.
    """
    lattice, names = Grid.of(grid, where), tuple(METRICS if metrics is None else metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise InputError(f"metric {unknown[0]!r} is unknown; use {', '.join(METRICS)}")
    if len(bars) < 3:
        raise InputError(f"{bars.name}: {count(len(bars), 'bar')}; a sweep needs at least 3, which make two returns")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}; it must be at least 1")
    costs, execution = Costs.parse(costs), execution or Execution()
    rules_of(strategy, lattice.settings, bars)
    job = Job(strategy, bars, costs, execution, every, names, equity)
    figures, curves = run(job, lattice.settings, jobs, progress)
    table = pd.DataFrame(figures, index=lattice.index, columns=list(names))
    return Sweep(name_of(strategy), lattice, table, curves if equity else None, bars, costs, execution)


def name_of(strategy: Callable[..., Strategy]) -> str:
    """Name of a class, or of a function that builds strategies."""
    return getattr(strategy, "__name__", type(strategy).__name__)


def in_words(metric: str, value: float) -> str:
    """A value of a metric as tables show it."""
    return str(formatted(pd.DataFrame({metric: [value]})).iloc[0, 0])


def sign(metric: str) -> float:
    """1 where more of a metric is better, −1 where less is."""
    return -1.0 if metric in LESS_IS_BETTER else 1.0
