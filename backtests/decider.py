"""What a server answers to a row of a request: the decision, and what was asked for beside it.

==============  =============================================================================================================
``state``       what the next request may send back with the new bars alone (`backtests.carried`); if the request has one, ``{}``
                at first
``trade_to``    the weights to trade to now: ``rate`` of the way from the request's ``position`` to the nearest edge of
                ``target_weight ± band``
``regimes``     of strategies with a fitted regime detector: the probability of each regime
``limits``      of strategies with limits: what each changed, in words
``flag``        ``hold`` or ``flat`` where the model cannot decide safely, and answers the stated fallback, with the ``reason``
==============  =============================================================================================================

A malformed request is refused whatever the fallback is, and so is everything without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from backtests import audit, reasons
from backtests.carried import Carried, Decision, Deployed, Undecided
from backtests.deployment import answered, as_array, decided_on, in_order, part_of, rows_of
from backtests.request import joined
from markets import Bars, InputError
from markets.bars.time_spans import age, duration

_LARGEST = 1e6  # weight that a position can have
Fallback = Literal["refuse", "hold", "flat"]


@dataclass
class Decider:
    """Answers requests with the decisions of one model.

    Attributes
    ----------
    model : Deployed
    name : str
        Name and number of the version, for the log.
    fallback : {"refuse", "hold", "flat"}
        What is answered where the model cannot decide safely: an error, to leave all positions alone, or to close them.
    max_age : float, optional
        Largest age of the last bar, in multiples of the bars' spacing; by default it is not looked at, as for history.
    log : path, optional
        Where decisions are written before they are answered; see `backtests.audit`.

    Raises
    ------
    InputError
        When a setting is out of range.
    """

    model: Deployed
    name: str = ""
    fallback: Fallback = "refuse"
    max_age: float | None = None
    log: str | Path | None = None

    def __post_init__(self) -> None:
        if self.fallback not in get_args(Fallback):
            raise InputError(f"fallback {self.fallback!r} is unknown; use {', '.join(get_args(Fallback))}")
        if self.max_age is not None and not self.max_age > 0:
            raise InputError(f"the largest age is {self.max_age}; it must be above 0 bars")

    def answers(self, rows: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
        """The answers to the rows of a request as they were sent; they are in the log if all of them can be answered.

        Raises
        ------
        Undecided
            When the model cannot decide safely on one of them, and there is no fallback.
        InputError
            When one is malformed.
        """
        found = [self._answer(row, f"row {i} of the request" if i else "the request") for i, row in enumerate(rows)]
        for bars, answer in found:
            self.write(bars, answer)
        return [answer for _, answer in found]

    def _answer(self, row: Mapping[Any, Any], name: str) -> tuple[Bars, dict[str, Any]]:
        """The bars of one row, and the answer to it; `name` is what to call it in messages."""
        contract, state = self.model.contract, part_of(row, "state")
        bars = rows_of(row, contract.columns, name)
        carried = None if state is None or state == {} else Carried.read(self.model, state, name)
        bars = joined([bars]) if carried is None else bars
        position = part_of(row, "position")
        held = None if position is None else _weights(position, contract.aligned(bars).symbols, name)
        answer, decision = self.respond(bars, part_of(row, "series"), carried, held)
        if state is not None and decision is not None:
            answer["state"] = decision.carried.to_json()
        return bars, answer

    def respond(
        self,
        bars: Bars,
        series: Any = None,
        carried: Carried | None = None,
        held: np.ndarray | None = None,
        doubt: str = "",
    ) -> tuple[dict[str, Any], Decision | None]:
        """The answer to a request that was read, and the decision; None if it was the fallback.

        Parameters
        ----------
        bars, series, carried
            As of `backtests.carried.Deployed.decide`.
        held : ndarray of shape (A,), optional
            Weights that are held, in the contract's order.
        doubt : str
            Why not to decide on these bars, whatever the model says; empty if there is no reason.

        Raises
        ------
        Undecided
            When the model cannot decide safely, and there is no fallback.
        InputError
            As `Deployed.decide` does.
        """
        decision = None
        try:
            decided = self.model.decide(bars, series, carried)
            self._check_age(bars)
            if doubt:
                raise Undecided(doubt)
        except Undecided as reason:
            if self.fallback == "refuse":
                raise
            answer = self._instead(bars, held, str(reason))
        else:
            decision, answer = decided, self._decided(decided, bars, held)
        return answer, decision

    def write(self, bars: Bars, answer: Mapping[str, Any]) -> None:
        """Append a decision to the log, if there is one.

        Parameters
        ----------
        bars : Bars
            As they were sent.
        answer : mapping
            Its ``state`` is left out, since the bars are elsewhere.
        """
        if self.log is None:
            return
        about = {
            "time": pd.Timestamp.now("UTC").isoformat(),
            "model": self.name,
            "fingerprint": self.model.fingerprint,
            "bars": bars.hash,
            "after": str(bars.index[-1]),
        }
        audit.append(self.log, about | {"answer": {key: value for key, value in answer.items() if key != "state"}})

    def _check_age(self, bars: Bars) -> None:
        spacing = self.model.contract.spacing
        passed = age(bars.index[-1], spacing, pd.Timestamp.now("UTC"))
        if self.max_age is not None and passed > self.max_age * spacing:
            raise Undecided(
                f"{bars.name} ends at {bars.index[-1]}, {duration(passed)} ago, and {self.max_age:g} bars "
                f"({duration(self.max_age * spacing)}) are allowed"
            )

    def _decided(self, decision: Decision, bars: Bars, held: np.ndarray | None) -> dict[str, Any]:
        plan: dict[str, list] = {**answered(decision.plan)}
        if held is not None:
            plan["trade_to"] = _traded(plan, held)
        answer = in_order(plan, self.model.contract, bars.symbols)
        strategy, rows = decision.carried.strategy, decided_on(self.model.contract, decision.carried.bars)
        if found := reasons.regimes(strategy, rows):
            answer["regimes"] = found
        if (sentences := reasons.limits(strategy, rows)) is not None:
            answer["limits"] = sentences
        return answer

    def _instead(self, bars: Bars, held: np.ndarray | None, reason: str) -> dict[str, Any]:
        """The fallback: no end of the no-trade band and a rate of 0 leave all positions alone, whatever they are."""
        symbols = self.model.contract.symbols
        n, flat = len(symbols), self.fallback == "flat"
        weights = [0.0] * n if flat else [None] * n if held is None else held.tolist()
        parts = {"target_weight": weights, "band": [0.0 if flat else None] * n, "rate": [float(flat)] * n}
        if held is not None:
            parts["trade_to"] = weights
        return in_order(parts, self.model.contract, bars.symbols) | {"flag": self.fallback, "reason": reason}


def _weights(position: Any, symbols: tuple[str, ...], name: str) -> np.ndarray:
    """The position of a request in the contract's order, shape (A,), 0 where it names none.

    Raises
    ------
    InputError
        When it names another symbol, or a weight is no number.
    """
    if not isinstance(position, Mapping):
        raise InputError(
            f"{name}: position must be weights by symbol, as in {{{symbols[0]!r}: 0.1}}; one that is left out is 0"
        )
    for symbol, weight in position.items():
        if symbol not in symbols:
            raise InputError(f"{name}: position holds {symbol}, of which the model knows nothing; leave it out")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not abs(weight) <= _LARGEST:
            raise InputError(f"{name}: position of {symbol} must be a weight, a number such as 0.1")
    return np.array([float(position.get(symbol, 0.0)) for symbol in symbols])


def _traded(plan: Mapping[str, list], held: np.ndarray) -> list[float]:
    """Weights after moving `rate` of the way from those held to the nearest edge of the no-trade zone; see docs/execution.md."""
    aim, band, rate = (as_array(plan[part]) for part in ("target_weight", "band", "rate"))
    return (held + rate * (np.clip(held, aim - band, aim + band) - held)).tolist()
