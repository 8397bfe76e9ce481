"""`Promise`: the backtest of a model on the bars before a watch, which says what is to be expected of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backtests.engine.protocols import Adaptive, Learner
from backtests.engine.walk_forward import walk_forward
from backtests.monitoring import EdgeAlarm, FeatureDrift
from backtests.monitoring.drift import HALF_LIFE
from backtests.significance.interval import FEWEST
from backtests.significance.resampling import optimal_block, shortest_block
from markets import Bars, Costs, Execution, Features, InputError
from markets.bars.time_spans import moment
from markets.common.files import replacing
from strategies import Strategy
from strategies.learned import LearnedStrategy

LONGEST = 4  # years of the backtest, at most
BAND = (0.05, 0.5, 0.95)  # quantiles of the growth that is to be expected
RESAMPLES = 1000
SETTLED = 4  # half-lives of the gauge of features that it must have seen


@dataclass(frozen=True, eq=False)
class Promise:
    """Returns per bar of two walk-forwards on the bars before a watch, at its costs.

    Attributes
    ----------
    returns : ndarray of shape (T,)
        Of the model, adapted on the watch's schedule.
    unadapted : ndarray of shape (T,)
        Of the model without adaptation.
    """

    returns: np.ndarray
    unadapted: np.ndarray

    @classmethod
    def of(
        cls, model: Adaptive, unadapted: Strategy, bars: Bars, every: int | None, costs: Costs, execution: Execution
    ) -> Promise | None:
        """Backtest a model on the last years before the first visible bar that it has not learnt from.

        Returns
        -------
        Promise or None
            None where there are fewer than 60 such bars after the warm-up, or the account varies too little to promise anything:
            an alarm knows no interval of its Sharpe ratio.
        """
        first = unseen_from(model, unadapted.warmup, bars.with_past().rows(0, bars.past), LONGEST)
        if first is None:
            return None
        strategies: list[Adaptive | Learner] = [
            _Named(model.adapt, "adapted"),
            _Named(lambda _: unadapted, "unadapted"),
        ]
        result = walk_forward(
            strategies, bars.rows(first, bars.past), costs=costs, execution=execution, every=every or bars.past - first,
            check=False, progress=False,
        )  # fmt: skip
        adapted, other = (result[name].returns for name in ("adapted", "unadapted"))
        try:
            EdgeAlarm.promised(adapted)
        except InputError:
            return None
        return cls(adapted, other)

    def band(self, bars: np.ndarray, seed: int = 0) -> np.ndarray:
        """Growth that is to be expected after each of some numbers of bars, ascending: quantiles .05, .5 and .95, shape (3, K).

        The stationary bootstrap of the returns (`backtests.significance.resampling`), path by path: of each path the product so
        far. It says what would not surprise, if the future were like the backtest.
        """
        length = max(optimal_block(self.returns), shortest_block(len(self.returns)))
        generator = np.random.default_rng(seed)
        rows = generator.integers(len(self.returns), size=RESAMPLES)
        logs = np.log1p(np.maximum(self.returns, -1 + 1e-9))
        growth, found = np.zeros(RESAMPLES), np.zeros((len(BAND), len(bars)))
        for k, more in enumerate(np.diff(bars, prepend=0)):
            for _ in range(more):
                growth += logs[rows]
                begins = generator.random(RESAMPLES) < 1 / length
                rows = np.where(begins, generator.integers(len(logs), size=RESAMPLES), (rows + 1) % len(logs))
            found[:, k] = np.quantile(growth, BAND)
        return np.expm1(found)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        with replacing(path) as beside:
            beside.write_text(json.dumps({"returns": self.returns.tolist(), "unadapted": self.unadapted.tolist()}))

    @classmethod
    def load(cls, path: Path) -> Promise:
        """Read one written by `save`.

        Raises
        ------
        InputError
            When the file holds something else.
        """
        try:
            found = json.loads(path.read_text())
            returns, unadapted = (np.array(found[name], dtype=np.float64) for name in ("returns", "unadapted"))
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{path}: is no backtest of a watch; remove it, and it is made again") from None
        return cls(returns, unadapted)


class Drift(NamedTuple):
    """Features, and the monitor that knows how they were distributed before the watch."""

    features: Features
    monitor: FeatureDrift


def drift_before(strategy: Strategy, bars: Bars) -> Drift | None:
    """The features that a strategy reads, or the usual ones for a rule, over the last years before the first visible bar.

    None where there are too few bars on which all of them may be known, or one never is: a gauge that has seen only a few months,
    or features that still warm up, takes any others for drift.
    """
    features = Features(tuple(strategy.features)) if isinstance(strategy, LearnedStrategy) else Features()
    first = max(bars.past - _bars_in(LONGEST, bars), features.lookback)
    if bars.past - first < SETTLED * HALF_LIFE:
        return None
    try:
        return Drift(features, FeatureDrift.of(features.compute(bars.rows(first, bars.past)), features.names))
    except InputError:
        return None


def unseen_from(model: Adaptive, warmup: int, bars: Bars, years: float) -> int | None:
    """First row of the last `years` of `bars` that a model has not learnt from; None if there are fewer than 60 such rows.

    Parameters
    ----------
    model : Adaptive
    warmup : int
        Bars before the first row that a strategy needs.
    bars : Bars
        Without a history.
    years : float
    """
    seen, zone = getattr(model, "seen_until", None), bars.index.tz
    after = (
        0 if seen is None else bars.index.searchsorted(moment(f"{model.name}: seen_until", seen, zone), side="right")
    )
    first = max(int(after), warmup + 1, len(bars) - _bars_in(years, bars))
    return first if len(bars) - first >= 2 * FEWEST else None


def _bars_in(years: float, bars: Bars) -> int:
    """Bars of so many years; all of them, within a single day."""
    per_year = bars.with_past().bars_per_year
    return round(years * per_year) if np.isfinite(per_year) else len(bars) + bars.past


@dataclass
class _Named:
    """Something adaptive under a name of its own."""

    call: Callable[[Bars], Strategy]
    name: str

    def adapt(self, bars: Bars) -> Strategy:
        return self.call(bars)
