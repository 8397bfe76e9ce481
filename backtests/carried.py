"""What a decision reads of the past, carried to the next one, so that a request brings the newest bars alone.

It is the window of bars that the decision read, and what external series have become. A decision that carries it is the decision
on these bars and the new ones, checked as any other, so it cannot be another one. As JSON it is self-contained, with its hash,
and says of which version it is. The memory of a policy follows from the bars: it is carried within a process, where it saves
most of the time, and is no part of the JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from backtests.contract import SILENCE, DataContract
from backtests.deployment import checked, continued, decided_on
from backtests.request import joined
from markets import Bars, InputError, Plan
from markets.bars.time_spans import duration
from strategies import Strategy, needs, stored
from strategies.memory import PolicyMemory
from strategies.strategy import planned

FORMAT = 1
_SAME = 1e-9  # largest relative difference of a price that is sent again
_FIRST, _LAST = pd.Timestamp("1700-01-01"), pd.Timestamp("2200-01-01")  # between which times can be
_ANEW = "begin anew, with all bars and an empty state"


class Undecided(InputError):
    """Bars after which a model cannot decide safely: they are not such as it was made for, or out of date."""


@dataclass(frozen=True, eq=False)
class Deployed:
    """A strategy as it was registered, with the bars that it was made for."""

    strategy: Strategy
    contract: DataContract

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 that tells versions apart; see `strategies.stored.fingerprint`."""
        return stored.fingerprint(self.strategy)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a decision reads of bars."""
        return ("close", *self.contract.columns)

    def decide(self, bars: Bars, series: Any = None, carried: Carried | None = None) -> Decision:
        """The decision after the last of `bars`: the same with all bars as with the new ones and what was carried.

        Parameters
        ----------
        bars : Bars
        series : mapping, optional
            As of `backtests.deployment.decide`.
        carried : Carried, optional
            What an earlier decision read; then `bars` are those since. There may be a single one.

        Raises
        ------
        Undecided
            When the bars are not such as the model was made for, an external series is out of date, or the strategy has no plan.
        InputError
            When symbols are others, the series are malformed, or the bars do not go on from those carried.
        """
        strategy = continued(self.strategy if carried is None else carried.strategy, series)
        whole = self.contract.ordered(bars) if carried is None else carried.joined(bars)
        try:
            window, memory = checked(strategy, self.contract, whole), None
            if carried is not None and carried.memory is not None:
                memory = carried.memory
                for row in range(len(carried.bars), len(whole)):
                    memory = memory.after(strategy, whole.rows(0, row + 1))
            plan = planned(strategy, decided_on(self.contract, window)) if memory is None else memory.plan
        except InputError as error:
            raise Undecided(str(error)) from None
        return Decision(plan[-1:], Carried(self, strategy, window, memory))


class Decision(NamedTuple):
    """A plan of one row, in the contract's order, and what the next decision may carry."""

    plan: Plan
    carried: Carried


@dataclass(frozen=True, eq=False)
class Carried:
    """What a decision read.

    Attributes
    ----------
    model : Deployed
        Whose decision it was.
    strategy : Strategy
        The model's, with external series as they have become.
    bars : Bars
        In the contract's order.
    memory : PolicyMemory or None
        After the last of them; None if it is not carried.
    """

    model: Deployed
    strategy: Strategy
    bars: Bars
    memory: PolicyMemory | None = None

    def joined(self, bars: Bars) -> Bars:
        """The carried bars and the new ones, in the contract's order.

        Parameters
        ----------
        bars : Bars
            At least one bar after the carried ones. Earlier ones may be sent again, and are compared.

        Raises
        ------
        InputError
            When none is new, one that was sent again is another one, since prices were adjusted, or bars are missing in between.
        """
        name, held, given = bars.name, self.bars, self.model.contract.aligned(bars)
        if (given.index.tz is None) != (held.index.tz is None) or given.index.hasnans:
            raise InputError(f"{name}: its times and those of its state must all have a time zone, or none")
        lacking = [column for column in self.model.columns if getattr(given, column) is None]
        if lacking:
            raise InputError(f"{name} is without {lacking[0]}; the model reads {', '.join(self.model.columns)}")
        last, later = held.index[-1], np.asarray(given.index > held.index[-1])
        new = int(np.argmax(later))
        if not later.any():
            raise InputError(f"{name} has no bar after {last}, which is the last one of its state; send the new ones")
        if new:
            self._check_again(given.rows(0, new), name)
        silent, usual = (given.index[new] - last).total_seconds(), max(self.model.contract.silence)
        if silent > SILENCE * usual:
            raise InputError(
                f"{name}: its first bar after those of its state is {duration(silent)} later, and until registration none was "
                f"more than {duration(usual)} after the one before; send those in between, or {_ANEW}"
            )
        return self.model.contract.ordered(joined([held, given.rows(new, len(given))]))

    def _check_again(self, given: Bars, name: str) -> None:
        """Refuse bars that were sent again and are other ones; those before the carried ones are no matter."""
        places = self.bars.index.get_indexer(given.index)
        for row in np.flatnonzero(np.asarray(given.index >= self.bars.index[0])).tolist():
            if places[row] < 0:
                raise InputError(f"{name}: its bar of {given.index[row]} is not among those of its state; {_ANEW}")
            for column in self.model.columns:
                now, before = getattr(given, column)[row], getattr(self.bars, column)[places[row]]
                if not (same := np.isclose(now, before, rtol=_SAME, atol=0, equal_nan=True)).all():
                    what = f"the {column} of {self.bars.symbols[int(np.argmin(same))]} at {given.index[row]}"
                    raise InputError(f"{name}: {what} is not that of its state; if prices were adjusted, {_ANEW}")

    def remembering(self) -> Self:
        """The same with the memory of the policy, if it has one: further decisions in this process cost one step of it."""
        return replace(self, memory=PolicyMemory.of(self.strategy, self.bars))

    # ------------------------------------------------------------------ as JSON

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it.

        Its ``arrays`` are in base 64, by rows, with the least significant byte first: ``times`` are int64, microseconds since
        1970, the others float64.
        """
        index = self.bars.index
        arrays = {"times": index.as_unit("us").asi8.astype("<i8")} | {
            column: np.ascontiguousarray(getattr(self.bars, column), dtype="<f8") for column in self.model.columns
        }
        found = {
            "format": FORMAT,
            "model": self.model.fingerprint,
            "symbols": list(self.bars.symbols),
            "after": str(index[-1]),
            "arrays": {name: base64.b64encode(array.tobytes()).decode() for name, array in arrays.items()},
            "series": self._series(),
        }
        return found | {"hash": _hash(found)}

    def _series(self) -> dict[str, Any]:
        """What has come to external series since registration, as a request holds it."""
        found = {}
        pairs = zip(*(needs.external_series(s) for s in (self.model.strategy, self.strategy)), strict=True)
        for before, now in pairs:
            first, zone = len(before.frame.known), "UTC" if now.frame.aware else None
            times = [pd.Timestamp(time, unit="us", tz=zone).isoformat() for time in now.frame.known[first:]]
            for column, name in enumerate(now.frame.columns):
                found[name] = {"times": times, "values": [row[column] for row in now.frame.rows[first:]]}
        return found if any(part["times"] for part in found.values()) else {}

    @classmethod
    def read(cls, model: Deployed, state: Any, name: str = "the request") -> Self:
        """What `to_json` returned, after JSON.

        Parameters
        ----------
        model : Deployed
        state : mapping
        name : str
            What to call the request in messages.

        Raises
        ------
        InputError
            When it is none, or of another version, or was changed.
        """
        if (
            not isinstance(state, Mapping)
            or not {"format", "model", "symbols", "arrays", "series", "hash"} <= state.keys()
        ):
            raise InputError(f"{name}: its state is none that was answered; send back just what was, or {_ANEW}")
        if state["format"] != FORMAT or state["model"] != model.fingerprint:
            versions = f"{str(state['model'])[:12]}, and this is {model.fingerprint[:12]}"
            raise InputError(f"{name}: its state is one of another version ({versions}); {_ANEW}")
        try:
            intact = state["hash"] == _hash({key: value for key, value in state.items() if key != "hash"})
            bars = _bars(model, state["arrays"]) if intact else None
            strategy = continued(model.strategy, state["series"] or None)
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise InputError(f"{name}: its state cannot be read ({type(error).__name__}); {_ANEW}") from None
        if bars is None or tuple(state["symbols"]) != model.contract.symbols:
            raise InputError(f"{name}: its state was changed after it was answered; {_ANEW}")
        return cls(model, strategy, bars)


def _bars(model: Deployed, arrays: Mapping[str, str]) -> Bars:
    """The bars of a state.

    Raises
    ------
    ValueError, KeyError, TypeError
        When these are none.
    """
    zone = model.contract.bars.index.tz
    raw = {name: base64.b64decode(arrays[name], validate=True) for name in ("times", *model.columns)}
    index = pd.DatetimeIndex(np.frombuffer(raw["times"], "<i8").view("<M8[us]"))
    if index.hasnans or not (_FIRST <= index.min() <= index.max() <= _LAST):
        raise ValueError("times that cannot be")
    index = index if zone is None else index.tz_localize("UTC").tz_convert(zone)
    shape = (len(index), len(model.contract.symbols))
    fields: dict[str, Any] = {name: np.frombuffer(raw[name], "<f8").reshape(shape) for name in model.columns}
    return Bars.make(index, model.contract.symbols, **fields, name="the state")


def _hash(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
