"""By how much adapting lowers the risk, in plain words: on the data with an interval, and in a market whose optimum is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from regimeshift.console import console, listing, step

if TYPE_CHECKING:
    from backtests import WalkForward
    from backtests.significance import Interval
    from metalearner.evaluation.risk_share import RiskShare


def show_gains(result: WalkForward, name: str, others: Sequence[str], *, of_variance: bool = True) -> dict[str, float]:
    """Print by how much the variance of an account and its worth differ from those of others.

    Parameters
    ----------
    result : WalkForward
    name : str
        Of the account.
    others : sequence of str
        Of those to compare it with.
    of_variance : bool
        Whether to compare variances; between accounts that do not hold the same in all they say nothing.

    Returns
    -------
    dict of str to float
        The figures and the ends of their 95 % intervals, by names for MLflow. Those that are not known are left out.
    """
    from backtests.significance import paired

    changes: dict[str, tuple[str, Callable[[float], float], int]] = {
        "log variance": ("variance [95 % interval]", lambda ratio: float(np.expm1(ratio)), 0),
        "certainty equivalent": ("certainty equivalent a year, γ = 5 [95 % interval]", float, 1),
    }
    kept = {what: how for what, how in changes.items() if of_variance or what != "log variance"}
    rows, found = [], {}
    with step("measuring the gain"):
        for other in others:
            row = [f"against {other}"]
            for what, (_, change, digits) in kept.items():
                gap = paired(result[name], result[other], what)
                same = np.array_equal(result[name].equity, result[other].equity)
                row.append("the same account" if same else worded(gap, change, digits))
                for end in ("value", "low", "high"):
                    found[f"gain/{what}/{other.replace(', ', ' ')}/{end}"] = change(getattr(gap, end))
            rows.append(row)
    listing((name, *(head for head, *_ in kept.values())), rows, ("",) * len(rows), boxed=False)
    return {key: figure for key, figure in found.items() if np.isfinite(figure)}


def worded(gap: Interval, change: Callable[[float], float], digits: int) -> str:
    """A difference and its interval in per cent, such as "−14 % [−20 %, −8 %]"; `change` makes a fraction of each figure."""
    figures = [change(end) for end in (gap.value, gap.low, gap.high)]
    value, low, high = (f"{100 * figure:+.{digits}f} %".replace("-", "−") for figure in figures)
    if not np.isfinite(figures[0]):
        return "cannot be told"
    return f"{value} [{low}, {high}]" if np.isfinite(figures).all() else f"{value}, of too few bars for an interval"


def show_share(seed: int, steps: int) -> RiskShare:
    """Train the same learner in a synthetic market whose optimum is known, and print what share of it is reached."""
    from metalearner.evaluation.risk_share import risk_share

    with step("training and measuring in a synthetic market"):
        found = risk_share(seed=seed, steps=steps)
    rows = [(name, f"{variance:.3f}", _WHO[name]) for name, variance in found.variance.items()]
    head = (f"six assets, two hidden regimes, {found.episodes} fresh episodes", "variance", "")
    listing(head, rows, ("",) * len(rows), boxed=False)
    console.print(
        f"Adaptive risk reaches {found.share:.2f} ± {1.96 * found.error:.2f} of what the optimum gains over the best constant "
        "weights."
    )
    return found


_WHO = {
    "next regime known": "a bound that nobody can reach",
    "filter": "the optimum: knows both covariances, and filters the regime",
    "adaptive risk": "knows neither, and estimates",
    "static pool": "its base: the same estimates, nothing learnt",
    "unadapted": "trained with frozen estimates, those at the end of training",
    "best constant weights": "knows both covariances, and never looks",
}
