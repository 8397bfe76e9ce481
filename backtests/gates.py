"""The gates before promotion: what a version must show before it becomes the champion, each with its figure and threshold.

Gates are computed from what `backtests.registry` gathers of a version. One that cannot be computed, such as a comparison of
which no backtest is on record, is not known: it says how to find out, and `Rules.unknown` says whether that stops a promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backtests.certificate import Certificate
from backtests.side_by_side import SideBySide
from markets import InputError
from markets.bars.time_spans import age as seconds_since
from markets.bars.time_spans import duration

TOLERANCE = 1e-6  # of a reproduced weight
FILES, RELOAD, CERTIFICATE, CHAMPION, DEFLATED, LATENCY, FRESHNESS = (
    "files", "reload", "certificate", "champion", "deflated Sharpe", "latency", "freshness",
)  # fmt: skip
BINDING = (FILES, RELOAD)  # not even force makes a champion of what cannot be loaded as it was registered


@dataclass(frozen=True)
class Rules:
    """What the gates demand.

    Attributes
    ----------
    level : float
        Confidence at which the challenger must not be worse than the champion: the two-sided interval of the paired difference
        of Sharpe ratios must not lie below 0 as a whole.
    deflated : float
        Least deflated Sharpe ratio of what is to replace a champion: the probability that its true ratio is above 0, after all
        that was tried. A first champion has nothing to beat, and its figure is printed only.
    latency : float
        Longest time of a decision, in seconds, that 99 of 100 must keep to.
    age : float or None
        Largest age of the last bar that the version was adapted to, in multiples of its bars' spacing; None demands nothing, as
        for history.
    unknown : bool
        Whether a gate that cannot be computed lets pass.

    Raises
    ------
    InputError
        When one of them is out of range.
    """

    level: float = 0.95
    deflated: float = 0.5
    latency: float = 0.5
    age: float | None = None
    unknown: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not 0 <= self.deflated < 1:
            raise InputError(
                f"level is {self.level} and deflated {self.deflated}; give a confidence between 0 and 1, such as 0.95, and a "
                "floor from 0 to below 1"
            )
        if not self.latency > 0 or (self.age is not None and not self.age > 0):
            raise InputError(f"latency is {self.latency} s and age {self.age} bars; both must be above 0")


STRICT = Rules(age=10, unknown=False)  # of the command `regimeshift promote`


@dataclass(frozen=True)
class Gate:
    """One gate, and what it found.

    Attributes
    ----------
    name : str
    passed : bool or None
        None if it is not known.
    figure, threshold : float
        What was measured, and what it is compared with; NaN where there is none.
    sentence : str
        Both in words, without a full stop.
    """

    name: str
    passed: bool | None
    figure: float
    threshold: float
    sentence: str

    @property
    def mark(self) -> str:
        """``passed``, ``failed`` or ``not known``."""
        return {True: "passed", False: "failed", None: "not known"}[self.passed]

    def stops(self, rules: Rules) -> bool:
        """Whether it stops a promotion."""
        return self.passed is False or (self.passed is None and not rules.unknown)


def refused(name: str, reason: str) -> Gate:
    """A gate that was not passed for a reason without a figure."""
    return Gate(name, False, np.nan, np.nan, reason)


def files(number: int) -> Gate:
    """All of the version's files have the hashes recorded at registration."""
    return Gate(FILES, True, number, number, f"all {number} files are as they were registered")


def reload(difference: float) -> Gate:
    """A new process reproduces the recorded weights."""
    passed = difference <= TOLERANCE
    words = "reproduces its weights" if passed else "does not reproduce its weights"
    return Gate(
        RELOAD, passed, difference, TOLERANCE,
        f"a new process {words}: reloaded weights differ by {difference:.3g} (allowed {TOLERANCE})",
    )  # fmt: skip


def certificate(found: Certificate | None, fingerprint: str, data_hash: str, code_hash: str) -> Gate:
    """The certificate was given to this model, on these data, by this code, and all of its checks passed.

    Parameters
    ----------
    found : Certificate or None
    fingerprint, data_hash : str
        Of the version.
    code_hash : str
        Of the code that would decide now.
    """
    if found is None:
        return Gate(CERTIFICATE, None, np.nan, np.nan, "it was registered without one: register it again")
    failed = [check for check in found.checks if check.passed is False]
    figure, whole = float(sum(check.passed is True for check in found.checks)), float(len(found.checks))
    reasons = [check.sentence for check in failed]
    if found.fingerprint != fingerprint:
        reasons.append("it is that of another model")
    if found.data_hash != data_hash:
        reasons.append("it was made on other data")
    if found.code_hash != code_hash:
        reasons.append(
            f"it was made by other code ({found.code_hash[:12]}, and this is {code_hash[:12]}): register the model again"
        )
    if reasons:
        return Gate(CERTIFICATE, False, figure, whole, "the certificate does not hold: " + "; ".join(reasons))
    words = "; ".join(check.sentence for check in found.checks)
    return Gate(CERTIFICATE, True if figure == whole else None, figure, whole, words)


def comparison(found: SideBySide | None, names: tuple[str, str | None], rules: Rules, way: str) -> list[Gate]:
    """Not worse than the champion on the same bars, and a deflated Sharpe ratio above the floor.

    Parameters
    ----------
    found : SideBySide or None
        None if there is no backtest of the challenger.
    names : pair of str
        Of the challenger and of the champion; None if there is no champion.
    rules : Rules
    way : str
        How to get a backtest of both.
    """
    challenger, champion = names
    if champion is None:
        first = Gate(CHAMPION, True, np.nan, np.nan, "the first champion has nothing to beat")
    elif found is None or found.champion is None:
        first = Gate(CHAMPION, None, np.nan, 0.0, f"no backtest of both is on record; get one with: {way}")
    else:
        first = _not_worse(found, challenger, champion, rules.level)
    same = found is not None and found.champion is not None and np.array_equal(found.equity, found.champion)
    return [first, _deflated(found, rules.deflated, champion is None or same, way)]


def _not_worse(found: SideBySide, challenger: str, champion: str, level: float) -> Gate:
    assert found.champion is not None
    if np.array_equal(found.equity, found.champion):
        return Gate(CHAMPION, True, 0.0, 0.0, f"the same account as {champion}, {found.span}")
    gap = found.difference(level) if found.long_enough else None
    if gap is None or not np.isfinite(gap.high):
        return Gate(CHAMPION, None, np.nan, 0.0, f"{found.span} is too short to compare {challenger} with {champion}")
    words = f"Sharpe {gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] against {champion}, {found.span}"
    passed = gap.high >= 0
    judged = "not worse" if passed else "worse"
    return Gate(CHAMPION, passed, gap.high, 0.0, f"{words}: {judged} with {level:.0%} confidence")


def _deflated(found: SideBySide | None, floor: float, free: bool, way: str) -> Gate:
    """The deflated Sharpe ratio; `free` of the floor if there is no other champion that it would replace."""
    value = found.deflated if found is not None and found.long_enough else np.nan
    if found is None:
        return Gate(DEFLATED, True if free else None, np.nan, floor, f"no backtest is on record; get one with: {way}")
    if not np.isfinite(value):
        return Gate(DEFLATED, True if free else None, np.nan, floor, f"{found.span} is too short to tell")
    words = f"{value:.2f} after {found.trials.count} trials, {found.span}"
    if free:
        return Gate(DEFLATED, True, value, np.nan, f"{words}; no floor, since it replaces no other account")
    passed = value >= floor
    return Gate(DEFLATED, passed, value, floor, f"{words} ({'at least' if passed else 'below'} {floor:g})")


def latency(seconds: Sequence[float], limit: float) -> Gate:
    """The time of one decision.

    Parameters
    ----------
    seconds : sequence of float
        Of several decisions.
    limit : float
        In seconds.
    """
    median, tail = (float(q) for q in np.quantile(seconds, (0.5, 0.99)))
    words = f"a decision takes {median * 1e3:.1f} ms (p50), {tail * 1e3:.1f} ms (p99)"
    return Gate(LATENCY, tail <= limit, tail, limit, f"{words}, and may take {limit * 1e3:g} ms")


def freshness(last: pd.Timestamp, spacing: float, now: pd.Timestamp, age: float | None) -> Gate:
    """The bars that the version was adapted to end recently.

    Parameters
    ----------
    last : Timestamp
        Last of them; without a zone it is taken for UTC.
    spacing : float
        Of the bars, in seconds.
    now : Timestamp
    age : float or None
        Largest age, in bars; None demands nothing.
    """
    passed = seconds_since(last, spacing, now)
    found = passed / spacing
    words = f"its bars end at {str(last).removesuffix(' 00:00:00')}, {duration(passed)} ago"
    if age is None:
        return Gate(FRESHNESS, True, found, np.nan, f"{words}; no demand is made")
    allowed = f"{age:g} bars ({duration(age * spacing)})"
    if found <= age:
        return Gate(FRESHNESS, True, found, age, f"{words}, within {allowed}")
    return Gate(
        FRESHNESS, False, found, age, f"{words}, and {allowed} are allowed: register it on newer bars, or say --history"
    )
