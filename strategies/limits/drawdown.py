"""Limits on losses: out of the market after a drawdown, for a time (`DrawdownLimit`) or for good (`KillSwitch`).

Losses are those of a *paper account*: the strategy without the limit, traded by `markets.simulate` at given costs. It is
known at each bar's close and depends on earlier bars alone. It goes on while the limit is out of the market, so there is
always an answer to whether the strategy has recovered. Leverage is not limited in it. For a strategy that adapts it is the
paper account of the strategy as it was adapted last, over the bars before too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC

import numpy as np
import pandas as pd

from markets import Bars, Costs, Execution, InputError, Plan, simulate
from markets.bars.time_spans import moment
from strategies.limits.limit import Limit, market_rows, not_yet_traded


@dataclass(eq=False)
class DrawdownLimit(Limit):
    """In cash while the strategy is in a drawdown of more than `largest`, and for `wait` bars after that.

    The drawdown is that of the paper account below its highest value of the last `window` bars, ``E_t /
    max(E_{t−window+1..t}) − 1``. The rule of re-entry: the strategy is traded again once its paper account has been within
    the limit for `wait` bars. As the highest value is one of the last `window` bars, that comes at the latest when the
    strategy has not fallen any more for so long.

    So it does not bound the drawdown of the account: a loss can exceed the limit by what happens between the close that breaks
    it and the fill, and the losses of several re-entries add up. `KillSwitch` loses once.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    largest : float
        In (0, 1), such as 0.2.
    wait : int
        Bars, at least 1.
    window : int
        Bars, at least 2.
    costs : str
        Of the paper account, per side.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    largest: float = 0.2
    wait: int = 21
    window: int = 252
    costs: str = "10bp"
    endless = True  # the paper account buys its first positions on the first bar held

    def check(self) -> None:
        _fraction("drawdown limit", self.largest)
        Costs.parse(self.costs)
        if self.wait < 1 or self.window < 2:
            raise InputError(
                f"drawdown limit: wait is {self.wait} and window {self.window}; they must be at least 1 and 2 bars"
            )

    @property
    def label(self) -> str:
        return f"drawdown to {self.largest:.3g}"

    @property
    def memory(self) -> int:
        return self.window + self.wait

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        wanted = self.wanted(held)
        rows, last = market_rows(held)
        equity = pd.Series(_paper_account(held, wanted, self.costs)[rows])
        highest = equity.rolling(self.window, min_periods=1).max()
        beyond, count = (equity < (1 - self.largest) * highest).to_numpy(), np.arange(len(rows))
        since = count - np.maximum.accumulate(np.where(beyond, count, -self.wait - 1))
        return _out(wanted, held, np.append(since <= self.wait, False)[last])[bars.past :]


@dataclass(eq=False)
class KillSwitch(Limit):
    """In cash for good after a drawdown of more than `largest`, or a loss of more than `one_bar` within one bar.

    The paper account starts at the first bar at or after `since`: give the time from which the account is traded, so that a
    switch does not trip on what happened before, and stays where it is whenever the strategy is planned again.

    Attributes
    ----------
    strategy : Strategy, or anything with `adapt`
    since : str
        Time, such as ``"2008"`` or ``"2008-01-31"``, in the time zone of the bars.
    largest : float
        In (0, 1), such as 0.3: drawdown from the highest value since then.
    one_bar : float
        Loss within one bar, in (0, 1]; 1 for no such limit.
    costs : str
        Of the paper account, per side.

    Raises
    ------
    InputError
        When a setting is out of range, or `since` is missing or no time.
    """

    since: str = ""
    largest: float = 0.3
    one_bar: float = 1.0
    costs: str = "10bp"
    endless = True

    def check(self) -> None:
        _fraction("kill switch", self.largest)
        Costs.parse(self.costs)
        if not 0 < self.one_bar <= 1:
            raise InputError(f"kill switch: one_bar is {self.one_bar}; it must be above 0 and at most 1")
        if not self.since:
            raise InputError("kill switch: since when is the account traded? Give it, as in since='2008-01-31'")
        moment("kill switch: since", self.since, UTC)

    @property
    def label(self) -> str:
        return f"killed at {self.largest:.3g}"

    def plan(self, bars: Bars) -> Plan:
        held = bars.with_past()
        start = int(held.index.searchsorted(moment("kill switch: since", self.since, held.index.tz)))
        first = min(start, bars.past)
        seen, out = held.rows(first, len(held)), np.zeros(len(held) - first, dtype=bool)
        wanted, watched = self.wanted(seen), start - first
        if watched < len(seen):
            equity = _paper_account(seen[watched:], wanted[watched:], self.costs)
            tripped = equity < (1 - self.largest) * np.maximum.accumulate(equity)
            tripped[1:] |= equity[1:] < (1 - self.one_bar) * equity[:-1]
            out[watched:] = np.logical_or.accumulate(tripped)
        return _out(wanted, seen, out)[bars.past - first :]


def _paper_account(bars: Bars, plan: Plan, costs: str) -> np.ndarray:
    """Equity (T,) of the plan, traded from the first visible bar on."""
    execution = Execution(gross=np.inf, borrowing=True)
    return simulate(bars, plan, costs=costs, execution=execution, holdings=False).equity[0]


def _out(wanted: Plan, bars: Bars, out: np.ndarray) -> Plan:
    """The plan with nothing wanted on the rows `out`; what comes back is bought, no-trade zone or not."""
    back = np.append(False, out[:-1] & ~out[1:])
    now = out[:, None] | (not_yet_traded(back, bars.tradable) & ~out[:, None])
    band = None if wanted.band is None else np.where(now, 0.0, wanted.band)
    rate = None if wanted.rate is None else np.where(out[:, None], 1.0, wanted.rate)
    return replace(wanted, aim=np.where(out[:, None], 0.0, wanted.aim), band=band, rate=rate)


def _fraction(name: str, largest: float) -> None:
    if not 0 < largest < 1:
        raise InputError(f"{name}: largest is {largest}; it must be above 0 and below 1")
