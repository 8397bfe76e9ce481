"""Resampled markets: the strategy is run on other markets that are put together from the bars of this one.

==========  ============================================================================================================
`blocks`    blocks of bars from anywhere in the span (stationary bootstrap: Politis and Romano, Journal of the American
            Statistical Association 1994)
`regimes`   a path of regimes from the transition matrix of a hidden Markov model of these bars, and along it blocks of bars
            of each regime
==========  ============================================================================================================

Both draw whole bars, all symbols together (`markets.synthetic.augment`). Each market has the strategy's warm-up before its first
bar, and equal weight is run beside the strategy on each: a market that is kinder to all says nothing for the strategy.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from backtests.robustness.case import Case
from backtests.robustness.drawing import histogram
from backtests.robustness.progress import tracked
from backtests.section import Section
from markets import Bars, HiddenMarkovRegimes, InputError, RegimePath
from markets.common.words import count
from markets.synthetic import augment
from strategies import EqualWeight

RESAMPLES, FEW = 200, 10  # markets of each kind: for rules, and for what adapts, which takes longer
LEVEL = 0.9  # of the interval


def resample_markets(
    case: Case,
    *,
    resamples: int | None = None,
    block: float = 20,
    regimes: int = 3,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = True,
) -> Section:
    """Run the strategy on block-bootstrapped and on regime-resampled markets.

    Parameters
    ----------
    case : Case
    resamples : int, optional
        Markets of each kind; by default 200, or 10 for what adapts.
    block : float
        Mean length of a block, in bars.
    regimes : int
        Largest number of regimes of the hidden Markov model; fewer if some hardly differ or have too few bars. It is fitted on
        all visible bars: it makes markets, and decides nothing.
    seed : int
    jobs : int
        Markets to run in parallel, by joblib; the result does not depend on it.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Section
        A row per kind: the metric on the real market, its median and 90 % interval over the markets, the fraction of them that
        are below the real one, and the fraction in which it is better than that of equal weight.

    Raises
    ------
    InputError
        When there are too few bars to resample or to fit regimes on, or a setting is out of range.
    """
    markets = (FEW if case.adapts else RESAMPLES) if resamples is None else resamples
    if markets < 1 or seed < 0:
        raise InputError(f"resamples is {markets} and seed is {seed}; resamples must be at least 1 and seed at least 0")
    bars = case.bars.without_empty()
    kinds = {"blocks": _one_regime(bars), "regimes": _regimes(bars, regimes, seed)}
    case = case.with_bars(bars)
    real, equal = case.value, case.with_strategy(EqualWeight()).value
    # a rule needs its warm-up; to adapt may need more, as much as it has here
    before = max(case.warmup, bars.past) if case.adapts else case.warmup
    seeds = np.random.SeedSequence(seed).spawn(markets * len(kinds))
    work = (
        delayed(_on_another)(case, path, transition, before, block, seeds[i * markets + k])
        for i, (path, transition) in enumerate(kinds.values())
        for k in range(markets)
    )
    results = Parallel(n_jobs=jobs, return_as="generator")(work)
    pairs = np.array(list(tracked(results, len(seeds), "resampling markets", progress)))
    samples = dict(zip(kinds, pairs.reshape(len(kinds), markets, 2), strict=True))
    rows = {kind: _summary(case, real, equal, found) for kind, found in samples.items()}
    table, first = pd.DataFrame(rows).T, rows["blocks"]
    beside = ""
    if not np.array_equal(pairs[:, 0], pairs[:, 1]):  # equal weight is not compared with itself
        beside = (
            f"; better than equal weight on {first['better']:.0%} of them, and on {rows['regimes']['better']:.0%} of those "
            "with resampled regimes"
        )
    enough = "" if markets >= 100 else " These are few: the interval is rough."

    def draw() -> Any:
        return histogram({kind: found[:, 0] for kind, found in samples.items()}, real, case.metric)

    return Section(
        "Resampled markets",
        f"{case.strategy.name}: {case.metric} {case.text(real)} on the real market; median {case.text(first['median'])} on "
        f"{count(markets, 'market')} of resampled blocks, 90% within {case.text(first['low'])} and {case.text(first['high'])}, "
        f"{first['below']:.0%} of them below the real one{beside}.{enough}",
        f"How much of the result is the order in which bars happened to come. Blocks of about {block:g} bars keep the "
        "cross-section of each bar, gaps and short memory; resampled regimes also keep how long regimes last.",
        f"Memory beyond {block:g} bars, which resampling destroys: a rule that lives on long trends should do worse here than on "
        "the real market. Nor what never happened: no bar is worse than the worst of this span.",
        table,
        draw,
    )


def _regimes(bars: Bars, most: int, seed: int) -> tuple[RegimePath, np.ndarray]:
    """Regimes of the bars and their transition matrix: as many as differ, and have enough bars each to draw from.

    Blocks of regimes that are there by chance alone, sorted by what they earned, would make markets wilder than any.
    """
    for regimes in range(most, 1, -1):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # that regimes hardly differ, or are outliers
            try:
                detector = HiddenMarkovRegimes(regimes, seed=seed).fit(bars)
            except (InputError, UserWarning):
                continue
        path = detector.filter(bars)
        if np.bincount(path.labels, minlength=regimes).min() > augment.FEWEST:
            return path, detector.transition
    return _one_regime(bars)


def _one_regime(bars: Bars) -> tuple[RegimePath, np.ndarray]:
    return RegimePath(bars.index, np.ones((len(bars), 1)), ("all",)), np.ones((1, 1))


def _on_another(
    case: Case, path: RegimePath, transition: np.ndarray, before: int, block: float, seed: np.random.SeedSequence
) -> tuple[float, float]:
    """The metric of the strategy, and of equal weight, on another market of as many bars, with `before` bars before them."""
    rng, length = np.random.default_rng(seed), len(case.bars) + before
    market = augment.switching(case.bars, path, transition, length=length, block=block, seed=rng)
    other = case.with_bars(market[before:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a model has seen these dates: they are not these bars
        equal = other.with_strategy(EqualWeight())
        return other.of(other.account), equal.of(equal.account)


def _summary(case: Case, real: float, equal: float, found: np.ndarray) -> dict[str, float]:
    values, beside = found.T
    known = values[np.isfinite(values)]
    low, middle, high = np.quantile(known, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]) if len(known) else [np.nan] * 3
    return {
        "real": real,
        "mean": float(known.mean()) if len(known) else np.nan,
        "median": float(middle),
        "low": float(low),
        "high": float(high),
        "below": float((known < real).mean()) if len(known) else np.nan,
        "better": float(case.better(values, beside).mean()),
        "equal weight": equal,
        "markets": float(len(known)),
    }
