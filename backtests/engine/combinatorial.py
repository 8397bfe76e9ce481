"""Combinatorial purged cross-validation: many paths through the same bars, each traded by models that were not trained on it.

The span is cut into N folds. For every choice of k of them as test folds, a model is trained on the others, less the bars next
to a test fold. Each fold is thus tested C(N−1, k−1) times, and as many paths can be joined, each with every fold once (López de
Prado, "Advances in financial machine learning", 2018, chapter 12). Splits and paths are skfolio's `CombinatorialPurgedCV`.

**What the past means.** Training looks at bars before and after a test fold, so a path is not what could have been earned: it
shows how far the result depends on what a model happened to be trained on. Adaptation within a test fold is as in a
walk-forward, on bars up to the decision and no later. A learner's tasks need stretches of time without holes, so the bars between
test folds are cut into tasks stretch by stretch, each with its own warm-up and its validation at its end; stretches that are too
short for that are left out. Rules without training trade all paths alike, and their paths are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from backtests.engine.folds import Split
from backtests.results import Backtest
from backtests.section import Section
from markets import Bars, InputError
from markets.common.words import count

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class CombinatorialPurged:
    """A scheme for `walk_forward`.

    Attributes
    ----------
    n_folds, n_test_folds : int
        N and k.
    purge : int
        Training bars left out on both sides of a test fold.
    embargo : int
        Further training bars left out after a test fold.
    """

    n_folds: int = 6
    n_test_folds: int = 2
    purge: int = 5
    embargo: int = 0

    def splits(self, bars: Bars) -> tuple[list[Split], np.ndarray]:
        """Splits of the visible rows, and the path that each test fold of each split belongs to.

        Returns
        -------
        list of Split
        ndarray of int, shape (n_splits, n_test_folds)

        Raises
        ------
        InputError
            When a setting is out of range, or the folds are too short for it.
        """
        from skfolio.model_selection import CombinatorialPurgedCV  # takes a second to import

        try:
            folds = CombinatorialPurgedCV(self.n_folds, self.n_test_folds, self.purge, self.embargo)
            found = list(folds.split(np.zeros((len(bars), 1))))
        except ValueError as error:
            raise InputError(f"CombinatorialPurged on {count(len(bars), 'bar')}: {error}") from None
        past = bars.past
        splits = [
            Split(
                _stretches(train + past), tuple((int(t[0]) + past, int(t[-1]) + past + 1) for t in tests), isolated=True
            )
            for train, tests in found
        ]
        return splits, folds.get_path_ids()


def _stretches(rows: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Runs of consecutive rows, as (first, last), ends excluded."""
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    return tuple((int(run[0]), int(run[-1]) + 1) for run in np.split(rows, edges) if len(run))


@dataclass(frozen=True, eq=False)
class Paths:
    """Backtests of the same strategies on several paths.

    Attributes
    ----------
    by_name : dict of str to tuple of Backtest
        The paths of each strategy; one for strategies that trade all paths alike.
    scheme : CombinatorialPurged
    """

    by_name: dict[str, tuple[Backtest, ...]]
    scheme: CombinatorialPurged

    def __getitem__(self, name: str) -> tuple[Backtest, ...]:
        return self.by_name[name]

    def values(self, metric: str = "Sharpe") -> dict[str, np.ndarray]:
        """A metric of each path, by strategy."""
        return {name: np.array([b.metrics[metric] for b in paths]) for name, paths in self.by_name.items()}

    def table(self, metric: str = "Sharpe") -> pd.DataFrame:
        """How a metric is distributed over the paths, one row per strategy."""
        rows = {}
        for name, values in self.values(metric).items():
            low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
            rows[name] = {
                "paths": len(values), "mean": values.mean(), "std": values.std(ddof=1) if len(values) > 1 else 0.0,
                "worst": values.min(), "5 %": low, "median": median, "95 %": high, "best": values.max(),
            }  # fmt: skip
        return pd.DataFrame(rows).T.astype({"paths": int})

    def section(self, metric: str = "Sharpe") -> Section:
        """The distribution as a section of a report."""
        table = self.table(metric)
        apart = table["best"] - table["worst"]
        name = str(apart.idxmax())
        finding = (
            f"Over {count(int(table['paths'].max()), 'path')}, the {metric} of {name} runs from {table['worst'][name]:.2f} to "
            f"{table['best'][name]:.2f}, with a median of {table['median'][name]:.2f}."
        )
        scheme = self.scheme
        return Section(
            f"{metric} on combinatorial paths",
            finding,
            f"How far the result depends on which bars a model was trained on: {scheme.n_test_folds} of {scheme.n_folds} folds "
            "are tested at a time, and the others are trained on.",
            "What could have been earned: most models were trained on bars after those that they trade. The paths share bars, "
            "so they are not independent, and their range is no confidence interval.",
            table,
            lambda: _figure(self.values(metric), metric),
        )


def median_path(paths: Sequence[Backtest]) -> Backtest:
    """The path whose Sharpe ratio is the median; of two in the middle, the lower."""
    if len(paths) == 1:
        return paths[0]
    order = np.argsort([b.metrics["Sharpe"] for b in paths], kind="stable")
    return paths[order[(len(paths) - 1) // 2]]


def _figure(values: dict[str, np.ndarray], metric: str) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure(layout={"template": "plotly_white", "showlegend": False, "height": 120 + 40 * len(values)})
    for name, found in reversed(values.items()):
        figure.add_box(
            x=found, name=name, boxpoints="all", pointpos=0, jitter=0.4, marker={"size": 5}, line={"width": 1}
        )
    figure.update_xaxes(title=metric)
    figure.update_layout(margin={"l": 8, "r": 12, "t": 12, "b": 40})
    figure.update_yaxes(automargin=True)
    return figure
