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

from collections.abc import Mapping
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
        Where each decision is written before it is answered; see `backtests.audit`.

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

    def answer(self, row: Mapping[Any, Any], name: str = "the request") -> dict[str, Any]:
        """The answer to one row of a request as it was sent; `name` is what to call it in messages.

        Raises
        ------
        Undecided
            When the model cannot decide safely, and there is no fallback.
        InputError
            When the row is malformed.
        """
        contract, state = self.model.contract, part_of(row, "state")
        bars = rows_of(row, contract.columns, name)
        carried = Carried.read(self.model, state, name) if state else None
        bars = joined([bars]) if carried is None else bars
        position = part_of(row, "position")
        held = None if position is None else _weights(position, contract.aligned(bars).symbols, name)
        answer, decision = self.respond(bars, part_of(row, "series"), carried, held)
        if state is not None and decision is not None:
            answer["state"] = decision.carried.to_json()
        return answer

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
        if self.log is not None:
            audit.append(self.log, record(self.model, self.name, bars, answer))
        return answer, decision

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


def record(model: Deployed, name: str, bars: Bars, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What the log holds of a decision.

    Parameters
    ----------
    model : Deployed
    name : str
        Name and number of its version.
    bars : Bars
        As they were sent.
    answer : mapping
        Its ``state`` is left out, since the bars are elsewhere.
    """
    return {
        "time": pd.Timestamp.now("UTC").isoformat(),
        "model": name,
        "fingerprint": model.fingerprint,
        "bars": bars.hash,
        "after": str(bars.index[-1]),
        "answer": {key: value for key, value in answer.items() if key != "state"},
    }


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
