"""The ladder: five claims about adaptation, from the weakest to the strongest, each reached or not, per universe and pooled.

1. No harm: the Sharpe ratio is not below the base's by more than .1, by the lower end of the pooled interval, and the largest
   drawdown, averaged over universes, is not deeper. (A universe: its own interval, and its own drawdown.)
2. Risk: the variance is below the trained control's on every universe, with Holm's correction over universes, and the certainty
   equivalent is above its control's, by a pooled interval above 0. (A universe: its variance, corrected, and a higher certainty
   equivalent.)
3. Beyond the textbook: better than *each* classical baseline and than the static pool, by variance or by certainty equivalent,
   with a pooled interval that excludes 0 for every one of them. To be better than each is to be better than the best, without
   choosing the best by looking. Variances are compared among books that are always fully invested: one that is partly in cash
   has less of it without being better.
4. Returns: on the universe that the protocol names, the net Sharpe ratio is above that of each momentum rule it names, and above
   the policy's that was trained without a memory, by intervals above 0, with at least five seeds.
5. The best mean net Sharpe ratio of an adapted strategy that traded every universe, weighted by years, is above 1.0.

What was not measured was not reached: a rung that is pooled needs every universe of the trial, with a difference that is defined.

A protocol names who is judged for what, so variance and certainty equivalent may be those of two contenders, each trained for its
half. Then the two halves of rung 2 are two claims, and nobody climbed both; so the ladder of each alone is printed beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

TITLES = {
    1: "no harm: Sharpe and drawdown not worse than the base",
    2: "risk: less variance than unadapted, more certainty equivalent",
    3: "beyond the textbook: better than every baseline and the pool",
    4: "returns: above momentum and above the memoryless policy",
    5: "best pooled net Sharpe ratio above 1.0",
}


@dataclass(frozen=True)
class Rung:
    """A claim, and whether it was reached.

    Attributes
    ----------
    number : int
    reached : bool
        Pooled.
    by_universe : dict of bool
        Empty where the claim is not about single universes.
    why : str
        The figures that decided.
    """

    number: int
    reached: bool
    by_universe: Mapping[str, bool] = field(default_factory=dict)
    why: str = ""

    @property
    def title(self) -> str:
        return TITLES[self.number]


class Bounds(Protocol):
    """What a rung reads of an interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Compared(Protocol):
    """What a rung reads of a difference; see `benchmarks.real_market.comparison.Difference`."""

    @property
    def by_universe(self) -> Mapping[str, Bounds]: ...
    @property
    def adjusted(self) -> Mapping[str, float]: ...
    @property
    def pooled(self) -> Bounds: ...


Differences = Callable[[str, str, str], Compared]
"""Of a strategy, another one, and a statistic."""


def no_harm(
    difference: Differences,
    name: str,
    base: str,
    drawdowns: Mapping[str, tuple[float, float]],
    margin: float,
    universes: Sequence[str],
) -> Rung:
    """Rung 1.

    Parameters
    ----------
    difference : callable
    name, base : str
    drawdowns : dict
        By universe, the largest drawdown of the strategy and of its base.
    margin : float
        Sharpe ratio per year that may be lost.
    universes : sequence of str
        All of the trial.
    """
    sharpe = difference(name, base, "sharpe")
    if not _everywhere(sharpe, universes):
        return Rung(1, False, {}, _unmeasured(name, base))
    deeper = sum(after - before for after, before in drawdowns.values()) / len(drawdowns)
    per = {
        u: i.low >= -margin and drawdowns[u][0] <= drawdowns[u][1] + _ROUNDING for u, i in sharpe.by_universe.items()
    }
    reached = sharpe.pooled.low >= -margin and deeper <= _ROUNDING
    return Rung(
        1, reached, per, f"{name}: Sharpe {interval(sharpe.pooled)} to {base}; drawdown {deeper:+z.1%} of equity"
    )


def risk(
    difference: Differences,
    variance: tuple[str, str],
    certainty: tuple[str, str],
    family_error: float,
    universes: Sequence[str],
) -> Rung:
    """Rung 2.

    Parameters
    ----------
    difference : callable
    variance, certainty : (str, str)
        Who is judged by its variance, and its control; and by its certainty equivalent. The two may be one.
    family_error : float
        Probability with which chance alone may pass on any universe.
    universes : sequence of str
        All of the trial.
    """
    less, more = difference(*variance, "log variance"), difference(*certainty, "certainty equivalent")
    for found, pair in ((less, variance), (more, certainty)):
        if not _everywhere(found, universes):
            return Rung(2, False, {}, _unmeasured(*pair))
    below = {u: i.value < 0 and less.adjusted[u] < family_error for u, i in less.by_universe.items()}
    per = {u: below[u] and more.by_universe[u].value > 0 for u in below}
    why = (
        f"{variance[0]}: log variance {interval(less.pooled, 3)}, largest Holm p {max(less.adjusted.values()):.3f}, to "
        f"{variance[1]}; {certainty[0]}: certainty equivalent {interval(more.pooled, 4)} per year, to {certainty[1]}"
    )
    return Rung(2, all(below.values()) and more.pooled.low > 0, per, why)


def beyond(
    difference: Differences,
    variance: tuple[str, Sequence[str]],
    certainty: tuple[str, Sequence[str]],
    universes: Sequence[str],
) -> Rung:
    """Rung 3.

    Parameters
    ----------
    difference : callable
    variance, certainty : (str, sequence of str)
        Who is judged by its variance, and the classical baselines and pools that it is compared with; and by its certainty
        equivalent. The two may be one. With nobody to compare with, it is not judged so.
    universes : sequence of str
        All of the trial.
    """
    ways: list[tuple[bool, dict[str, bool], str]] = []
    for (name, others), statistic, sign in ((variance, "log variance", -1), (certainty, "certainty equivalent", 1)):
        found = {other: difference(name, other, statistic) for other in others}
        absent = [other for other in others if not _everywhere(found[other], universes)]
        if not others or absent:
            ways.append((False, {}, _unmeasured(name, absent[0]) if absent else f"{name}: not judged by {statistic}"))
            continue
        per = {u: all(_above(d.by_universe[u], sign) for d in found.values()) for u in universes}
        hardest = min(found, key=lambda other: _nearest(found[other].pooled, sign))
        why = f"{name}: {statistic} {interval(found[hardest].pooled, 4)} to {hardest}, the hardest"
        ways.append((all(_above(d.pooled, sign) for d in found.values()), per, why))
    per = {u: any(way[1].get(u, False) for way in ways) for u in universes if any(way[1] for way in ways)}
    return Rung(3, any(way[0] for way in ways), per, "; ".join(way[2] for way in ways))


def returns(difference: Differences, name: str, others: Sequence[str], universe: str, seeds: int, fewest: int) -> Rung:
    """Rung 4.

    Parameters
    ----------
    difference : callable
    name : str
    others : sequence of str
        Momentum rules, and the control.
    universe : str
    seeds, fewest : int
        Trainings that were averaged, and how many it takes.
    """
    found = {other: difference(name, other, "sharpe").by_universe.get(universe) for other in others}
    absent = [other for other, one in found.items() if one is None]
    if absent:
        return Rung(4, False, {}, f"not measured on {universe}: {name} against {absent[0]}")
    known = {other: one for other, one in found.items() if one is not None}
    reached = all(one.low > 0 for one in known.values()) and seeds >= fewest
    why = ", ".join(f"{interval(one)} to {other}" for other, one in known.items())
    return Rung(4, reached, {universe: reached}, f"{name}: Sharpe {why}; {seeds} of {fewest} seeds")


def best(sharpes: Mapping[str, float], wanted: float) -> Rung:
    """Rung 5.

    Parameters
    ----------
    sharpes : dict
        Pooled net Sharpe ratio of each adapted strategy that traded every universe.
    wanted : float
    """
    if not sharpes:
        return Rung(5, False, {}, "no adapted strategy traded every universe")
    name = max(sharpes, key=lambda n: sharpes[n])
    return Rung(5, sharpes[name] > wanted, {}, f"{sharpes[name]:.2f}, {name}")


def interval(found: Any, digits: int = 2) -> str:
    """A difference and its interval, as text."""
    return f"{found.value:+z.{digits}f} [{found.low:+z.{digits}f}, {found.high:+z.{digits}f}]"


_ROUNDING = 1e-12


def _everywhere(found: Compared, universes: Sequence[str]) -> bool:
    """Whether a difference is known on every universe of a trial; of none, nothing is."""
    return bool(universes) and all(u in found.by_universe and isfinite(found.by_universe[u].value) for u in universes)


def _unmeasured(name: str, other: str) -> str:
    return f"not measured on every universe: {name} against {other}"


def _nearest(found: Bounds, sign: int) -> float:
    """The end of an interval that is nearest to "no better"."""
    return found.low if sign > 0 else -found.high


def _above(found: Bounds, sign: int) -> bool:
    """Whether an interval excludes "no better": above 0 where more is better (`sign` 1), below where less is."""
    return _nearest(found, sign) > 0
