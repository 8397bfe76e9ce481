"""`robustness`: all sections of one strategy, in one call."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from backtests.engine.protocols import Adaptive
from backtests.robustness.case import Case
from backtests.robustness.drawing import figure
from backtests.robustness.null import compare_with_random
from backtests.robustness.parameters import perturb_parameters
from backtests.robustness.resampled import resample_markets
from backtests.robustness.shuffled import shuffle_trades
from backtests.robustness.trading import trade_worse
from backtests.robustness.warm_up import check_warm_up
from backtests.section import Section
from markets import Bars, Costs, Execution, InputError


def robustness(
    strategy: Adaptive,
    bars: Bars,
    *,
    costs: Costs | str = "10bp",
    execution: Execution | None = None,
    every: int = 63,
    metric: str = "Sharpe",
    resamples: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = True,
) -> list[Section]:
    """Ask of one strategy what a sceptic would: other parameters, costs, markets, orders of trades, weights and first bars.

    Parameters
    ----------
    strategy : Strategy or MetaPolicy
        What adapts is walked forward each time, on few resampled markets.
    bars : Bars
        The visible rows are the span; earlier ones are history.
    costs : Costs or str
        Costs per side.
    execution : Execution, optional
    every : int
        Bars between adaptations.
    metric : str
        The metric of `backtests.metrics.METRICS` that is compared.
    resamples : int, optional
        Resampled markets of each kind; by default 200, or 10 for what adapts.
    seed : int
        Results are the same for the same seed, whatever `jobs` is.
    jobs : int
        Variants and markets to run in parallel, by joblib.
    progress : bool
        Whether to show a progress bar for each section, on a terminal.

    Returns
    -------
    list of Section
        One per question. A question that cannot be answered, such as that of the parameters of a strategy without any, is a
        section that says why.

    Raises
    ------
    InputError
        When the strategy cannot be backtested on these bars, or a setting is out of range.
    """
    case = Case(strategy, bars, costs, execution, every, metric)
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be at least 0")
    _ = case.account  # what cannot be backtested at all is refused here
    questions: dict[str, Callable[[], Section]] = {
        "Parameters perturbed": lambda: perturb_parameters(case, jobs=jobs, progress=progress),
        "Costs and delay": lambda: trade_worse(case),
        "Resampled markets": lambda: resample_markets(
            case, resamples=resamples, seed=seed, jobs=jobs, progress=progress
        ),
        "Trades in random order": lambda: shuffle_trades(case, seed=seed),
        "Random weights": lambda: compare_with_random(case, seed=seed, jobs=jobs, progress=progress),
        "Warm-up invariance": lambda: check_warm_up(case),
    }
    return [_answered(title, ask) for title, ask in questions.items()]


def _answered(title: str, ask: Callable[[], Section]) -> Section:
    try:
        return ask()
    except InputError as error:
        return Section(
            title, f"not answered: {error}.", "Nothing.", "Anything.", pd.DataFrame(), lambda: figure("", "")
        )
