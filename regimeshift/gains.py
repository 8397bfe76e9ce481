"""By how much adapting lowers the risk, in plain words: on the data with an interval, in a synthetic market beside its optimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from regimeshift.console import console, listing, step

if TYPE_CHECKING:
    from backtests import Backtest, WalkForward
    from backtests.significance import Interval
    from metalearner.evaluation.risk_share import RiskShare


def show_gains(result: WalkForward, name: str, others: Sequence[str]) -> dict[str, float]:
    """Print by how much the variance of the strategy `name` differs from that of each of the others, and its worth.

    Returns
    -------
    dict
        For each other strategy the variance ratio less one and the difference in certainty equivalent, with the ends of their
        intervals, by names for MLflow. Figures that are not known are left out.
    """
    from backtests.significance import paired

    rows, found = [], {}
    with step("measuring the gain"):
        for other in others:
            log_ratio, worth = (
                paired(result[name], result[other], what) for what in ("log variance", "certainty equivalent")
            )
            rows.append((f"than {other}", *words(result[name], result[other], log_ratio, worth)))
            slug = other.replace(", ", "_").replace(" ", "_")
            for what, interval, change in (("variance", log_ratio, np.expm1), ("certainty_equivalent", worth, float)):
                for end in ("value", "low", "high"):
                    key, figure = f"gain/{what}/{slug}/{end}", float(change(getattr(interval, end)))
                    found |= {key: figure} if np.isfinite(figure) else {}
    heads = (f"{name}: more or less", "variance [95 % interval]", "certainty equivalent a year, γ = 5")
    listing(heads, rows, ("",) * len(rows), boxed=False)
    return found


def words(backtest: Backtest, other: Backtest, log_ratio: Interval, worth: Interval) -> tuple[str, str]:
    """How the variance and the certainty equivalent differ, such as "−14 % [−20 %, −8 %]" and "+0.6 % [−0.2 %, +1.4 %]"."""
    if np.array_equal(backtest.equity, other.equity):
        return "the same account", "the same account"
    return _changed([np.expm1(x) for x in _ends(log_ratio)], 0), _changed(_ends(worth), 1)


def show_share(seed: int) -> RiskShare:
    """Train the same learner in a synthetic market whose optimum is known, and print what share of it is reached."""
    from metalearner.evaluation.risk_share import risk_share

    with step("training on 6 synthetic episodes, measuring on 20 fresh ones"):
        found = risk_share(seed=seed)
    lines = [(name, f"{variance:.3f}", _remarks.get(name, "")) for name, variance in found.variance.items()]
    listing(
        ("synthetic market: six assets, two hidden regimes", "variance", ""), lines, ("",) * len(lines), boxed=False
    )
    console.print(
        f"Adaptive risk reaches {found.share:.2f} ± {1.96 * found.error:.2f} of what the optimum gains over the best constant "
        "weights."
    )
    return found


_remarks = {
    "next regime known": "a bound that nobody can reach",
    "filter": "the optimum: knows both covariances, filters the regime",
    "adaptive risk": "knows neither",
    "static pool": "its base: nothing learnt",
    "trained control": "estimates frozen where training ended",
    "best constant weights": "knows both covariances, never looks",
}


def _ends(interval: Interval) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _changed(figures: Sequence[float], digits: int) -> str:
    """A change with its interval, in per cent."""
    value, low, high = (f"{100 * x:+.{digits}f} %".replace("-", "−") for x in figures)
    if np.isnan(figures[0]):
        return "cannot be told"
    return f"{value} [{low}, {high}]" if np.isfinite(figures[1:]).all() else f"{value}, on too few bars for an interval"
