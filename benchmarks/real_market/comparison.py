"""Figures of every contender, and differences between two: per universe and pooled, with what this much data could detect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from backtests import Backtest
from backtests.significance import STATISTICS, CertaintyEquivalent, Interval, Statistic, holm, paired, pooled
from benchmarks.real_market.contenders import Contender
from benchmarks.real_market.trial import Traded
from markets.common.statistics import years

COMPARED = ("log variance", "certainty equivalent", "sharpe", "expected shortfall", "volatility of volatility")
"""Statistics whose differences are printed. Of the first and the last two, less is better."""


COLUMNS = {
    "Sharpe": "Sharpe",
    "volatility": "volatility",
    "vol of vol": "volatility of volatility",
    "shortfall": "expected shortfall",
    "drawdown": "max drawdown",
    "cert. eq.": "certainty equivalent",
    "turnover": "turnover",
    "costs": "costs",
}
"""Columns of the tables, and the metrics of `backtests.metrics` that they hold."""


@dataclass(frozen=True)
class Difference:
    """One strategy's statistic minus another's.

    Attributes
    ----------
    by_universe : dict of Interval
    adjusted : dict of float
        Holm's p-values over the universes.
    pooled : Interval
    """

    by_universe: Mapping[str, Interval]
    adjusted: Mapping[str, float]
    pooled: Interval


def figures(account: Backtest) -> dict[str, float]:
    """The row of a strategy in the table of a universe."""
    return {head: account.metrics[metric] for head, metric in COLUMNS.items()}


class Comparison:
    """All backtests of a trial, and what is asked of them.

    Parameters
    ----------
    traded : mapping of Traded
        By universe.
    contenders : mapping of Contender
        By name.
    statistics : mapping
        As a protocol has them: ``level``, ``resamples``, ``seed``, ``risk_aversion``, and ``weights`` of universes.
    """

    def __init__(
        self, traded: Mapping[str, Traded], contenders: Mapping[str, Contender], statistics: Mapping[str, Any]
    ):
        self.traded, self.contenders, self.statistics = traded, contenders, statistics
        self.difference = cache(self._difference)

    @property
    def universes(self) -> tuple[str, ...]:
        return tuple(self.traded)

    def where(self, *names: str) -> tuple[str, ...]:
        """Universes that all of these strategies traded."""
        return tuple(u for u, t in self.traded.items() if all(name in t.backtests for name in names))

    def backtest(self, universe: str, name: str) -> Backtest:
        return self.traded[universe].backtests[name]

    def table(self, universe: str) -> pd.DataFrame:
        """Figures of all strategies on a universe, one row each."""
        return pd.DataFrame({name: figures(account) for name, account in self.traded[universe].backtests.items()}).T

    def drawdown(self, universe: str, name: str) -> float:
        return self.backtest(universe, name).metrics["max drawdown"]

    def pooled_sharpe(self, name: str) -> float:
        """Mean Sharpe ratio over the universes that it traded, by their lengths in years; NaN if it traded none."""
        accounts = [self.backtest(u, name) for u in self.where(name)]
        if not accounts:
            return np.nan
        return float(np.average([a.metrics["Sharpe"] for a in accounts], weights=[years(a.index) for a in accounts]))

    def _difference(self, name: str, other: str, statistic: str) -> Difference:
        """`statistic` of one strategy minus that of another, on the universes that both traded."""
        universes = self.where(name, other)
        pairs = {u: (self.backtest(u, name), self.backtest(u, other)) for u in universes}
        settings = {key: self.statistics[key] for key in ("level", "resamples", "seed")}
        what, weights = self.statistic(statistic), self.statistics["weights"]
        found = {u: paired(*pair, what, **settings) for u, pair in pairs.items()}
        adjusted = dict(zip(universes, holm([i.p for i in found.values()]), strict=True))
        defined = [pairs[u] for u in universes if np.isfinite(found[u].value)]  # not of a year in cash, for instance
        none = Interval(np.nan, np.nan, np.nan, np.nan)
        return Difference(found, adjusted, pooled(defined, what, weights=weights, **settings) if defined else none)

    def statistic(self, name: str) -> Statistic:
        """The statistic of this name, with the protocol's risk aversion."""
        return (
            CertaintyEquivalent(self.statistics["risk_aversion"])
            if name == "certainty equivalent"
            else STATISTICS[name]
        )
