"""`Journal`: what a watch has decided and adapted, in a hash-chained log. It is the whole state of the watch.

Everything else follows from the journal and the bars: the account, the alarms, the page, and where to go on after a kill. A
record counts once it is in the log, whole and on the disk (`backtests.audit`); what was done for it before, as saving an adapted
strategy, can be done again. The kinds of record, by ``kind``:

===========  =====================================================================================================================
``started``  the first: the model, the symbols, and the settings, which cannot change later
``rebased``  all closes that were seen of some symbols have changed by one factor each, as after a split or a dividend
``adapted``  the flight recorder: from which bars, why, by what belief, and what it changed; see `Adapted`
``offered``  what became of the strategy that was adapted at that bar: it trades, or it is a challenger in the registry
``decided``  once per bar: the closes that were seen, who decided, and the row of the plan; see `Decided`
===========  =====================================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests import audit
from markets import InputError, Plan

FILE = "journal.jsonl"


@dataclass(frozen=True)
class Adapted:
    """One adaptation. What is needed to make it again is here or in the model: it is replayed by `backtests.watch.recorder`.

    Attributes
    ----------
    bar : str
        ISO 8601 time of the last bar that it was made from.
    why : str
        ``first``, ``schedule``, or the change of regime.
    bars : str
        SHA-256 of all bars up to that one.
    model : str or None
        Fingerprint of the model that adapted.
    before, after : str or None
        Fingerprints of the strategies that it adapted before, and then.
    aim_before, aim_after : list of float, length A, or None
        What either wants at that bar, as fractions of equity.
    belief : dict of str to float
        Probability of each regime at that bar; empty without a detector.
    growth, unadapted : float or None
        What the account has gained since the adaptation before, as a fraction, and what the unadapted model would have.
    """

    bar: str
    why: str
    bars: str
    model: str | None
    before: str | None
    after: str
    aim_before: list[float] | None
    aim_after: list[float]
    belief: dict[str, float]
    growth: float | None = None
    unadapted: float | None = None


@dataclass(frozen=True)
class Decided:
    """The decision at one bar.

    Attributes
    ----------
    bar : str
        ISO 8601 time of the bar.
    close : list of float or None, length A
        As they were seen then; None where a symbol has none.
    by : str
        Fingerprint of the strategy that decided, or the URI of a registered version.
    plan : dict of str to list of float or None, length A
        The row of the plan: ``aim``, and ``band``, ``rate`` and stops as far as it has them. None is no end.
    belief : dict of str to float
        Probability of each regime; empty without a detector.
    note : str
        Why nothing could be decided: there are too few bars yet, or they were refused and positions are left alone; else empty.
    """

    bar: str
    close: list[float | None]
    by: str
    plan: dict[str, list[float | None]]
    belief: dict[str, float]
    note: str = ""

    @property
    def regime(self) -> str:
        """The most probable regime; empty without a detector."""
        return max(self.belief, key=self.belief.__getitem__) if self.belief else ""


class Journal:
    """The records of one watch, read when it is opened and appended to from then on.

    Parameters
    ----------
    folder : Path
        Of the watch; created if need be.

    Attributes
    ----------
    started : dict or None
        The first record; None before there is one.
    adapted : list of Adapted
    offered : dict of str to str
        What became of the adaptation at a bar, by the bar.
    decided : list of Decided
    closes : list of ndarray of shape (A,)
        Closes at each of these bars as the source had them when it was last read; NaN where there was none.

    Raises
    ------
    InputError
        When the log was changed by other means, or is that of something else.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.started: dict[str, Any] | None = None
        self.adapted: list[Adapted] = []
        self.offered: dict[str, str] = {}
        self.decided: list[Decided] = []
        self.closes: list[np.ndarray] = []
        for number, record in enumerate(audit.read(self.path), 1):
            try:
                self._take({key: value for key, value in record.items() if key not in ("previous", "at")})
            except (KeyError, TypeError, ValueError):
                raise InputError(
                    f"{self.path}: line {number} is no record of a watch; name the folder of one"
                ) from None

    def append(self, kind: str, record: Adapted | Decided | Mapping[str, Any], at: str | None = None) -> None:
        """Write one record; when this returns, it is on the disk. `at` is when that was, and None in a replay."""
        content = asdict(record) if isinstance(record, (Adapted, Decided)) else dict(record)
        audit.append(self.path, {"kind": kind} | ({"at": at} if at else {}) | content)
        self._take({"kind": kind, **content})

    def _take(self, record: dict[str, Any]) -> None:
        kind = record.pop("kind")
        if kind == "started":
            self.started = record
        elif kind == "adapted":
            self.adapted.append(Adapted(**record))
        elif kind == "offered":
            self.offered[record["bar"]] = record["outcome"]
        elif kind == "decided":
            self.decided.append(Decided(**record))
            self.closes.append(np.array([math.nan if c is None else c for c in record["close"]], dtype=np.float64))
        elif kind == "rebased":
            self.closes = list(np.array(self.closes) * record["factor"])
        else:
            raise ValueError(kind)

    @property
    def led(self) -> bool:
        """Whether a registered champion decides, and what is adapted is its challenger."""
        return self.started is not None and self.started["decides_first"] == "the champion"

    @property
    def plan(self) -> Plan:
        """All decisions, of shape (T, A)."""
        return Plan.join([from_row(record.plan) for record in self.decided])

    @property
    def index(self) -> pd.DatetimeIndex:
        """Times of all decisions, shape (T,), in UTC where they have a zone."""
        aware = bool(self.decided) and pd.Timestamp(self.decided[0].bar).tz is not None
        return pd.DatetimeIndex(pd.to_datetime([r.bar for r in self.decided], format="ISO8601", utc=aware))


def to_row(plan: Plan) -> dict[str, list[float | None]]:
    """The last row of a plan, as JSON holds it."""
    return {name: [_finite(value) for value in part[-1].tolist()] for name, part in plan.parts.items()}


def from_row(row: Mapping[str, Sequence[float | None]]) -> Plan:
    """A plan of one row, from what `to_row` returned."""
    parts = {name: [[math.inf if value is None else value for value in values]] for name, values in row.items()}
    return Plan(**{name: np.array(part, dtype=np.float64) for name, part in parts.items()})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


__all__ = ["FILE", "Adapted", "Decided", "Journal", "from_row", "to_row"]
