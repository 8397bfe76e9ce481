"""Random weights as the null: accounts without skill, of the strategy's exposure and turnover, through the same costs.

Each takes the long and the short exposure of the strategy on every bar, divides it at random among the symbols, and changes its
weights by as much as the strategy does (`strategies.rules.RandomWeights`; random portfolios: Burns, "Random portfolios for
evaluating trading strategies", 2006). What the strategy changes are its targets, or, with a no-trade zone or a trading rate, the
weights that these lead to where prices stand still::

    c_t = c_{t−1} + rate_t · (clip(c_{t−1}, aim_t − band_t, aim_t + band_t) − c_{t−1})

The random accounts have the zone and the stops of the strategy too, and no rate.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from backtests.robustness.case import Case
from backtests.robustness.drawing import histogram
from backtests.robustness.progress import tracked
from backtests.section import Section
from markets import Bars, InputError
from strategies import Plan, Strategy
from strategies.rules import RandomWeights

ACCOUNTS = 100
_TOGETHER = 10  # accounts of one job, simulated in one call


class _Known(Strategy):
    """A plan that is known already, of the visible bars."""

    def __init__(self, name: str, plan: Plan):
        self.name, self.known = name, plan

    def plan(self, bars: Bars) -> Plan:
        return self.known


def compare_with_random(
    case: Case, *, accounts: int = ACCOUNTS, seed: int = 0, jobs: int = 1, progress: bool = True
) -> Section:
    """Compare the strategy with random weights of the same exposure and turnover.

    Parameters
    ----------
    case : Case
    accounts : int
        Random accounts.
    seed : int
    jobs : int
        Jobs to run in parallel, by joblib; the result does not depend on it.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    Section
        A row each for the strategy and for the median and the 5 % and 95 % quantiles of the random accounts: the metric, turnover
        and costs.

    Raises
    ------
    InputError
        When there is a single symbol, or a setting is out of range.
    """
    if accounts < 1 or seed < 0:
        raise InputError(f"accounts is {accounts} and seed is {seed}; accounts must be at least 1 and seed at least 0")
    if len(case.bars.symbols) < 2:
        raise InputError(
            f"{case.bars.name} has one symbol, among which nothing can be divided at random; give two or more"
        )
    value = case.value
    columns = list(dict.fromkeys([case.metric, "turnover", "costs"]))
    known = _Known(case.strategy.name, Plan(_reached(case.plan)))
    work = (
        delayed(_of_random)(case, known, case.plan, columns, range(first, min(first + _TOGETHER, accounts)), seed)
        for first in range(0, accounts, _TOGETHER)
    )
    results = Parallel(n_jobs=jobs, return_as="generator")(work)
    found = np.concatenate(list(tracked(results, -(-accounts // _TOGETHER), "random weights", progress)))
    metrics = case.account.metrics
    rows = {
        "the strategy": [metrics[name] for name in columns],
        **{
            f"random, {name}": np.nanquantile(found, q, axis=0)
            for name, q in (("5%", 0.05), ("median", 0.5), ("95%", 0.95))
        },
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    values = found[:, 0]
    turnover = float(np.nanmedian(found[:, columns.index("turnover")]))
    beaten = float(case.better(value, values).mean())

    def draw() -> Any:
        return histogram({"random weights": values}, value, case.metric)

    return Section(
        "Random weights",
        f"{case.strategy.name}: {case.metric} {case.text(value)} is better than {beaten:.0%} of {accounts:,} accounts of "
        f"random weights with its exposure (median {case.text(float(np.nanmedian(values)))}); it turned over "
        f"{metrics['turnover']:.1f}x per year, they {turnover:.1f}x.",
        "Whether the choice of symbols was worth more than chance: the exposure of each bar is the strategy's, and so is about "
        "what was traded.",
        "Whether the exposure was chosen well: when to hold and when to be in cash is the same in all of them. Nor is it a test: "
        "random weights wander through all symbols, so they differ less by chance than strategies that keep to a few.",
        table,
        draw,
    )


def _reached(plan: Plan) -> np.ndarray:
    """Weights (T, A) that a plan leads to where prices stand still."""
    if plan.band is None and plan.rate is None:
        return plan.aim
    out, weights = np.empty(plan.aim.shape), np.zeros(plan.aim.shape[1])
    for t, aim in enumerate(plan.aim):
        band = 0.0 if plan.band is None else plan.band[t]
        rate = 1.0 if plan.rate is None else plan.rate[t]
        out[t] = weights = weights + rate * (np.clip(weights, aim - band, aim + band) - weights)
    return out


def _of_random(case: Case, known: Strategy, plan: Plan, columns: list[str], numbered: range, seed: int) -> np.ndarray:
    """Metrics of some of the random accounts, shape (accounts, metrics)."""
    bars = case.bars.without_past()  # the plan is known for the visible bars
    seeds = (int(np.random.SeedSequence([seed, k]).generate_state(1)[0]) for k in numbered)
    plans = [replace(plan, aim=RandomWeights(known, s).plan(bars).aim, rate=None) for s in seeds]
    return np.array([[account.metrics[name] for name in columns] for account in case.accounts(plans)])
