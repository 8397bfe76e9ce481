"""Differences of two accounts in any smooth statistic, on one universe (`paired`) or pooled over several (`pooled`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from backtests.results import Backtest
from backtests.significance.interval import FEWEST, RESAMPLES, Interval, Sample, interval
from backtests.significance.statistic import Statistic, find_statistic
from markets import InputError
from markets.common.statistics import bars_per_year, returns_of


def paired(
    backtest: Backtest,
    other: Backtest,
    statistic: str | Statistic = "sharpe",
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A statistic of `backtest` minus that of `other`, with its confidence interval; annualised as in `backtests.metrics`.

    Parameters
    ----------
    backtest, other : Backtest
        On the same bars.
    statistic : str or Statistic
        Of `backtests.significance.STATISTICS`: ``sharpe``, ``log variance``, ``certainty equivalent`` (risk aversion 5),
        ``expected shortfall`` (the worst 5 % of bars; positive, so that a negative difference is the better), ``mean``,
        ``volatility`` or ``volatility of volatility``; or one of other settings, such as ``CertaintyEquivalent(10)``.
    level : float
        Confidence level, between 0 and 1.
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        When the backtests are not on the same bars, the statistic is unknown, or a setting is out of range.
    """
    sample = _sample(backtest, other, find_statistic(statistic))
    return interval([sample], level=level, resamples=resamples, seed=seed)


def pooled(
    pairs: Sequence[tuple[Backtest, Backtest]],
    statistic: str | Statistic = "sharpe",
    *,
    weights: Literal["precision", "equal"] | Sequence[float] = "precision",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Weighted mean over universes of `paired`, with an interval that stays valid if they are correlated.

    Calendar time is resampled for all universes at once (`backtests.significance.interval`), so that one crisis that all of
    them lived through counts as one.

    Parameters
    ----------
    pairs : sequence of (Backtest, Backtest)
        A strategy and what it is compared with, on each universe. Their times may overlap or not.
    statistic, level, resamples, seed
        See `paired`.
    weights : {"precision", "equal"} or sequence of float
        ``precision`` weighs by one over the squared standard error. The weights are then taken as fixed although they come
        from the same data: where an error and its difference go together, as they do where the account that is wilder is
        also worse, the mean leans a little towards the calm, and the interval does not say so. A universe on which the two
        accounts do not differ has the mean weight of the others: its 0 counts, but its certainty does not. Other numbers
        are divided by their sum.

    Returns
    -------
    Interval
        Annualised; its ``block`` is in times of the union.

    Raises
    ------
    InputError
        When there are no pairs, a pair is not on the same bars, or a setting is out of range.
    """
    kind = find_statistic(statistic)
    samples = [_sample(backtest, other, kind) for backtest, other in pairs]
    if not samples:
        raise InputError("there are no pairs to pool; give (backtest, other) of each universe")
    return interval(samples, _weights(samples, weights), level=level, resamples=resamples, seed=seed)


def _sample(backtest: Backtest, other: Backtest, statistic: Statistic) -> Sample:
    if not backtest.index.equals(other.index):
        raise InputError(
            f"{backtest.name} and {other.name} were not run on the same bars; compare accounts of one walk-forward"
        )
    (times, one), (_, two) = (statistic.observed(returns_of(b.equity), b.index[1:]) for b in (backtest, other))
    return Sample((one, two), times, statistic, bars_per_year(backtest.index) ** statistic.annual)


def _weights(samples: list[Sample], weights: str | Sequence[float]) -> list[float]:
    """Weights that add up to 1."""
    if isinstance(weights, str):
        if weights not in ("precision", "equal"):
            raise InputError(f'weights are {weights!r}; use "precision", "equal", or one number for each pair')
        found = np.ones(len(samples)) if weights == "equal" else _precisions(samples)
    else:
        found = np.asarray(weights, dtype=np.float64)
        if found.shape != (len(samples),) or not (found >= 0).all() or not found.sum() > 0:
            raise InputError(f"weights are {weights}; give {len(samples)}, one for each pair, none below 0")
    return (found / found.sum()).tolist()


def _precisions(samples: list[Sample]) -> np.ndarray:
    """One over the squared standard error of each, and their mean for those that have none."""
    clear = [s.differs and len(s.times) >= FEWEST for s in samples]
    precisions = np.array([s.error**-2.0 if known else np.nan for s, known in zip(samples, clear, strict=True)])
    known = np.isfinite(precisions)
    return np.where(known, precisions, precisions[known].mean()) if known.any() else np.ones(len(samples))
