"""Trading at worse terms: costs times 0 to 3, one bar later, and the costs at which nothing is left.

The plan is the same throughout. One bar later, what was decided at bar t is executed as if it had been decided at t + 1: the
decision waits, and prices stay as they are. The break-even cost is the multiple m of the stated costs of trading at which the
account ends where it started::

    log(equity at the end / equity at the start) = 0

or where an account of equal weight at the same costs ends. Costs of holding, such as interest, are not multiplied. Where no
costs of trading are stated, multiples are of 1 bp per side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from backtests.robustness.case import Case
from backtests.robustness.drawing import figure
from backtests.section import Section
from markets import Costs
from strategies import EqualWeight, Plan

TIMES = (0.0, 1.0, 2.0, 3.0)
_CURVE = np.linspace(0, 6, 13)  # multiples of the costs that are drawn
_DEAREST, _MOST = 0.5, 2.0**12  # per side as a fraction of value, and as a multiple: no break-even is looked for beyond
_ALSO = ("CAGR", "max drawdown", "turnover", "costs")


def trade_worse(case: Case) -> Section:
    """Run the same plan at multiples of the costs and one bar later, and find the break-even costs.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Section
        A row each for ``costs × 0``, ``× 1``, ``× 2``, ``× 3`` and ``one bar later`` (at the stated costs), with the metric of
        the case and others.

    Raises
    ------
    InputError
        When the case cannot be backtested.
    """
    costs, unit = _priced(case)
    accounts = {f"costs × {times:g}": next(case.accounts([case.plan], costs.scaled(times))) for times in TIMES}
    accounts["one bar later"] = next(case.accounts([later(case.plan)]))
    columns = [case.metric, *(name for name in _ALSO if name != case.metric)]
    table = pd.DataFrame({name: account.metrics for name, account in accounts.items()}).T[columns]
    curve = [case.of(next(case.accounts([case.plan], costs.scaled(times)))) for times in _CURVE]
    thrice, late = (case.of(accounts[row]) for row in ("costs × 3", "one bar later"))
    equal = case.with_strategy(EqualWeight()).plan
    ours, theirs = (account.equity[-1] for account in case.accounts([case.plan, equal]))
    behind = break_even(case, against=equal)
    ends = [
        _in_words(break_even(case), costs, "the gain is gone"),
        "it earns more than equal weight, which trades more, and would not without costs"
        if behind == 0 and ours > theirs
        else _in_words(behind, costs, "equal weight earns more"),
    ]

    def draw() -> Any:
        plot = figure(f"costs, as a multiple of {unit}", case.metric)
        plot.add_scatter(x=_CURVE, y=curve, mode="lines", name="at once")
        mark = {"size": 10, "symbol": "diamond"}
        plot.add_scatter(
            x=[1.0 if costs == case.costs else 0.0], y=[late], mode="markers", name="one bar later", marker=mark
        )
        plot.add_hline(y=case.value, line_dash="dash", annotation_text="as it is")
        return plot

    return Section(
        "Costs and delay",
        f"{case.strategy.name}: {case.metric} {case.text(case.value)}; {case.text(thrice)} at 3 times {unit}, {case.text(late)} "
        f"one bar later" + "".join(f"; {end}" for end in ends if end) + ".",
        "How much of the result is left if trading costs more, or happens a bar later, than was thought.",
        "What trading costs: that is stated, not measured, and without a model of impact it does not rise with the account. "
        "Delays within a bar are not seen.",
        table,
        draw,
    )


def later(plan: Plan, bars: int = 1) -> Plan:
    """The plan with each decision executed `bars` bars later; until the first one the account is in cash."""
    late = plan.map(lambda part: np.concatenate([np.repeat(part[:1], bars, axis=0), part])[: len(part)])
    return replace(late, aim=np.where(np.arange(len(plan.aim))[:, None] < bars, 0.0, late.aim))


def break_even(case: Case, *, against: Plan | None = None) -> float:
    """Multiple of the costs of trading at which the account ends where it started, or where that of another plan ends.

    Parameters
    ----------
    case : Case
    against : Plan, optional
        Another plan for the same bars, which pays the same costs.

    Returns
    -------
    float
        0 if it ends lower even without costs; infinite if it ends higher at up to half of the value of each trade; NaN if costs
        make no difference.
    """
    costs, _ = _priced(case)
    dearest = max(costs.buy_side, costs.sell_side) + costs.quoted * _usual_quote(case) / 2

    def ahead(times: float) -> float:
        """Log growth over that of the other, at multiples of the costs."""
        plans = [case.plan] if against is None else [case.plan, against]
        grown = [account.equity[-1] / account.equity[0] for account in case.accounts(plans, costs.scaled(times))]
        logs = np.log(np.maximum(grown, 1e-300))  # a ruined account has equity of zero or less
        return float(logs[0] - (logs[1] if against is not None else 0.0))

    low, start = 0.0, ahead(0.0)
    if start <= 0:
        return np.nan if start == 0 and ahead(1.0) == 0 else 0.0
    high = 1.0
    while ahead(high) > 0:
        low, high = high, 2 * high
        if high > _MOST or dearest * high > _DEAREST:
            return np.inf
    return float(brentq(ahead, low, high, xtol=1e-9, rtol=1e-9))


def _priced(case: Case) -> tuple[Costs, str]:
    """The costs that are multiplied, and what they are called: those of the case, or 1 bp where these are none of trading."""
    costs = Costs.parse(case.costs)
    if costs.scaled(0) != costs:
        return costs, "the stated costs"
    return replace(costs, commission=1e-4), "1 bp per side"


def _usual_quote(case: Case) -> float:
    """Median of the spreads that the bars quote; 0 if none."""
    return 0.0 if case.bars.spread is None else float(np.nan_to_num(np.nanmedian(case.bars.spread)))


def _in_words(times: float, costs: Costs, what: str) -> str:
    """From which costs on something holds; empty where costs make no difference."""
    if np.isnan(times):
        return ""
    if times == 0:
        return f"{what} even without any"
    if np.isinf(times):
        return f"{what} at no costs up to half of each trade's value"
    proportional = not (costs.fixed or costs.impact or costs.quadratic or costs.quoted)
    per_side = (
        f" ({_rounded(times * (costs.buy_side + costs.sell_side) / 2 * 1e4)} bp per side)" if proportional else ""
    )
    return f"{what} from {_rounded(times)} times them on{per_side}"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
