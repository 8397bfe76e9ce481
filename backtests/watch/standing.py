"""Where a watch stands: its account, those that it is compared with, and the alarms. All of it follows from journal and bars."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from backtests.engine.accounts import accounts
from backtests.monitoring import ComparisonAlarm, EdgeAlarm
from backtests.results import Backtest
from backtests.watch.journal import Journal
from backtests.watch.promise import Drift, Promise
from markets import Bars, Costs, Execution, InputError
from markets.bars.time_spans import moment
from strategies import Plan, Strategy
from strategies.strategy import planned

LEVEL = 0.05  # probability that one of the alarms is ever given falsely, at most
REVISED = 1e-3  # largest change of a past return that is rounding, as of prices that were adjusted by a factor


def followed(journal: Journal, bars: Bars) -> Bars:
    """The bars of a watch: visible are those that were decided on, then those that are new.

    One that came late, between two that were decided on, is left out: nobody could have decided on it.

    Raises
    ------
    InputError
        When one that was decided on is missing, or its returns are not those that were seen then.
    """
    held = bars.with_past()
    assert journal.started is not None
    if not journal.decided:
        begins = moment("the first bar of the watch", journal.started["first"], held.index.tz)
        return held.rows(int(held.index.searchsorted(begins)), len(held))
    index = journal.index
    if (index.tz is None) != (held.index.tz is None):
        raise InputError(
            f"{bars.name}: its times have {'no ' if held.index.tz is None else 'a '}time zone, unlike before"
        )
    rows = held.index.get_indexer(index)
    if (rows < 0).any():
        raise InputError(
            f"{bars.name} is without the bar of {index[int(np.argmax(rows < 0))]}, which was decided on; restore it, or begin "
            "a new watch in another folder"
        )
    _check_revised(journal, held, rows)
    mask = np.ones(len(held), dtype=bool)
    mask[rows[0] : rows[-1]] = False
    mask[rows] = True
    return held.only(mask).rows(int(rows[0]), int(mask.sum()))


def decided_bars(journal: Journal, bars: Bars) -> Bars:
    """The bars that were decided on, visible, with the history before them.

    Raises
    ------
    InputError
        As for `followed`.
    """
    return followed(journal, bars)[: len(journal.decided)]


def rebasing(journal: Journal, span: Bars) -> np.ndarray:
    """By what factor all closes of a symbol that were seen are others now, as after a split or a dividend; shape (A,).

    Parameters
    ----------
    journal : Journal
    span : Bars
        As `followed` returns them.
    """
    return _usual(_factors(journal, span.close[: len(journal.decided)]))


def _factors(journal: Journal, now: np.ndarray) -> np.ndarray:
    """What closes are now as a multiple of what was seen, shape (T, A); NaN where one of the two is missing."""
    seen = np.array(journal.closes)
    return np.divide(now, seen, out=np.full(seen.shape, np.nan), where=seen != 0)


def _usual(factors: np.ndarray) -> np.ndarray:
    """The median of each symbol's factors; 1 where it has none."""
    return np.nanmedian(np.where(np.isfinite(factors).any(axis=0), factors, 1.0), axis=0)


def _check_revised(journal: Journal, held: Bars, rows: np.ndarray) -> None:
    """Raise `InputError` unless closes are those that were seen, up to one factor a symbol."""
    seen, now = np.array(journal.closes), held.close[rows]
    factors = _factors(journal, now)
    changed = (np.isfinite(seen) & ~np.isfinite(now)) | (np.abs(factors / _usual(factors) - 1) > REVISED)
    if changed.any():
        row, column = (int(i) for i in np.argwhere(changed)[0])
        raise InputError(
            f"{held.name}: {held.symbols[column]} closed at {seen[row, column]:g} on {held.index[rows[row]]} when that was "
            f"decided on, and the source now says {now[row, column]:g}; correct the source, or begin a new watch elsewhere"
        )


def account(bars: Bars, plan: Plan, costs: Costs, execution: Execution, name: str) -> Backtest:
    """The account of a plan for the visible rows, by the simulator of all backtests."""
    (found,) = accounts(bars, [plan], costs=costs, execution=execution, name=name)
    return found


def grown(
    journal: Journal, bars: Bars, since: str, control: Strategy, costs: Costs, execution: Execution
) -> tuple[float, float]:
    """What the account has gained from a bar to the last of `bars`, as a fraction, and what `control` would have.

    The last of `bars` need not be decided on yet, since that decision is filled after it.
    """
    plans = [journal.plan] if len(journal.decided) == len(bars) else [journal.plan, journal.plan[-1:]]
    row = int(bars.index.searchsorted(pd.Timestamp(since)))
    both = [Plan.join(plans), planned(control, bars)]
    equity = [account(bars, plan, costs, execution, "").equity for plan in both]
    gained, other = (float(e[-1] / e[row] - 1) if e[row] > 0 else 0.0 for e in equity)
    return gained, other


@dataclass(frozen=True)
class Alarm:
    """What one monitor says.

    Attributes
    ----------
    name : str
    value : float
        Evidence, or how far features have drifted.
    limit : float
        Value at which the alarm is given.
    since : Timestamp or None
        When the alarm was given.
    sentence : str
    """

    name: str
    value: float
    limit: float
    since: pd.Timestamp | None
    sentence: str


class Challenger(NamedTuple):
    """A strategy that could take the champion's place, and the bar at which it was adapted."""

    strategy: Strategy
    since: pd.Timestamp


@dataclass(frozen=True, eq=False)
class Standing:
    """Where a watch stands after its last bar.

    Attributes
    ----------
    journal : Journal
    bars : Bars
        Those that were decided on.
    account : Backtest
        The paper account.
    others : tuple of Backtest
        The unadapted model, then rules.
    alarms : tuple of Alarm
    promise : Promise or None
    """

    journal: Journal
    bars: Bars
    account: Backtest
    others: tuple[Backtest, ...]
    alarms: tuple[Alarm, ...]
    promise: Promise | None

    @property
    def unadapted(self) -> Backtest:
        """The account of the model without adaptation."""
        return self.others[0]

    @property
    def best(self) -> Backtest:
        """The rule, or the unadapted model, that has gained most so far."""
        return max(self.others, key=lambda other: other.equity[-1])

    def regret(self, other: Backtest) -> float:
        """What `other` has gained more than the account since the start, as a fraction of the initial equity."""
        return float((other.equity[-1] - self.account.equity[-1]) / self.account.equity[0])


def standing(
    journal: Journal,
    bars: Bars,
    unadapted: Strategy,
    rules: Sequence[Strategy] = (),
    *,
    costs: Costs,
    execution: Execution,
    promise: Promise | None = None,
    drift: Drift | None = None,
    challenger: Challenger | None = None,
) -> Standing:
    """Where a watch stands.

    Parameters
    ----------
    journal : Journal
        With one decision or more.
    bars : Bars
        The source; what was not decided on is left out.
    unadapted : Strategy
        The model without adaptation.
    rules : sequence of Strategy
        To compare with.
    costs, execution
        Of all accounts.
    promise : Promise, optional
        The backtest before the watch, with which its returns are compared.
    drift : Drift, optional
        The features before the watch; it is not changed.
    challenger : Challenger, optional
        What was adapted last, and waits; where a champion decides, `unadapted` is the first one.

    Raises
    ------
    InputError
        When bars that were decided on are missing or were revised.
    """
    span = decided_bars(journal, bars)
    adapted = account(span, journal.plan, costs, execution, "adapted")
    strategies = [("unadapted", unadapted), *((rule.name, rule) for rule in rules)]
    others = tuple(account(span, planned(s, span), costs, execution, name) for name, s in strategies)
    level = LEVEL / (3 if journal.led else 2)  # so that all on returns together keep it however often one looks
    alarms = [] if promise is None else _alarms(adapted, others[0], promise, level)
    if challenger is not None:
        found = account(span, planned(challenger.strategy, span), costs, execution, "challenger")
        size = _apart_before(challenger, unadapted, span, costs, execution)
        first = int(span.index.searchsorted(challenger.since))
        if size > 0 and first < len(span) - 1:
            winners = {
                "challenger": "the challenger is better",
                "champion": "the champion is better than its challenger",
            }
            alarms.append(
                _duel("challenger", adapted, found, first, size, level, winners, "no evidence of which is better")
            )
    if drift is not None:
        alarms.append(_drifted(drift, span))
    return Standing(journal, span, adapted, others, tuple(alarms), promise)


def _alarms(adapted: Backtest, unadapted: Backtest, promise: Promise, level: float) -> list[Alarm]:
    """Alarms over all bars so far: on the edge, and on what adapting is worth."""
    edge = EdgeAlarm.promised(promise.returns, level=level)
    for time, one in zip(adapted.index[1:], adapted.returns, strict=True):
        edge.update(time, float(one))
    sentence = (
        "the account earns less than the backtest promised" if edge.alarm else "no evidence that the edge is gone"
    )
    found = [Alarm("edge", edge.value, 1 / level, edge.since, sentence)]
    size = float(np.std(promise.returns - promise.unadapted))
    if size > 0:
        winners = {"champion": "adapting pays", "challenger": "adapting costs: the unadapted model is better"}
        none = "no evidence that adapting pays or costs"
        found.append(_duel("adaptation", adapted, unadapted, 0, size, level, winners, none))
    return found


def _duel(
    name: str, one: Backtest, other: Backtest, first: int, size: float, level: float, winners: dict[str, str], none: str
) -> Alarm:
    """The returns of two accounts compared from a bar on; `size` is what their difference was before."""
    duel = ComparisonAlarm(volatility=size, level=level)
    for row in range(first, len(one.returns)):
        duel.update(one.index[row + 1], champion=float(one.returns[row]), challenger=float(other.returns[row]))
    return Alarm(name, duel.value, 1 / level, duel.since, winners.get(duel.winner, none))


def _apart_before(challenger: Challenger, champion: Strategy, span: Bars, costs: Costs, execution: Execution) -> float:
    """Standard deviation of the difference of two strategies' returns over the year before the challenger was adapted."""
    held = span.with_past()
    end = int(held.index.searchsorted(challenger.since, side="right"))
    per_year = held.bars_per_year
    before = held.rows(max(end - round(per_year if np.isfinite(per_year) else end), 0), end)
    one, other = (account(before, planned(s, before), costs, execution, "") for s in (challenger.strategy, champion))
    return float(np.std(one.returns - other.returns)) if len(before) > 1 else 0.0


def _drifted(drift: Drift, bars: Bars) -> Alarm:
    monitor = copy.deepcopy(drift.monitor)
    for time, row in zip(bars.index, drift.features.compute(bars), strict=True):
        monitor.update(time, row)
    names = ", ".join(monitor.drifted)
    sentence = f"not distributed as before: {names}" if names else "features are distributed as before"
    return Alarm("features", monitor.value, 1.0, monitor.since, sentence)
