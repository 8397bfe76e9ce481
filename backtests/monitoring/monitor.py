"""`Monitor`: what all monitors share. Each time counts once, an alarm has a time, and the state is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from backtests.monitoring.state import from_state, to_state
from markets import InputError
from markets.common.formats import FORMAT, check_format
from markets.common.kinds import find, register

KINDS: dict[str, type[Monitor]] = {}
Kind = TypeVar("Kind", bound="Monitor")


@dataclass(kw_only=True)
class Monitor:
    """Base class. A monitor is fed by its ``update(time, ...)``, and its size does not grow.

    Attributes
    ----------
    last : Timestamp or None
        Time of the last bar that it has seen.
    since : Timestamp or None
        Time of the bar at which the alarm was given; None while there is none.
    """

    last: pd.Timestamp | None = None
    since: pd.Timestamp | None = None

    def __init_subclass__(cls) -> None:
        if hasattr(cls, "update"):  # what has none is a base of others
            register(KINDS, cls.__name__, cls, "monitors")

    @property
    def value(self) -> float:
        """What the alarm goes by."""
        raise NotImplementedError

    @property
    def alarm(self) -> bool:
        """Whether there is an alarm."""
        return self.since is not None

    def admit(self, time: object) -> pd.Timestamp | None:
        """The time of a bar that is to be learnt from; None if it is the last bar again.

        Raises
        ------
        InputError
            When the time is none, is before the last one, or only one of the two has a time zone.
        """
        name = type(self).__name__
        try:
            stamp = pd.Timestamp(time)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise InputError(f"{name}: the time of the bar is {time!r}; give a time such as 2026-01-02") from None
        if not isinstance(stamp, pd.Timestamp):  # NaT
            raise InputError(f"{name}: the time of the bar is missing; give each bar its time")
        if self.last is None:
            return stamp
        if (stamp.tz is None) != (self.last.tz is None):
            raise InputError(
                f"{name}: bar {stamp} follows {self.last}; give all times with a time zone, or all without"
            )
        if stamp < self.last:
            raise InputError(f"{name}: bar {stamp} comes after {self.last} was seen; give bars in order of time")
        return stamp if stamp != self.last else None

    def finish(self, stamp: pd.Timestamp, level: float) -> None:
        """Note that the bar is learnt, and the alarm if the value has reached ``1 / level``: it stays."""
        self.last = stamp
        if self.since is None and self.value >= 1 / level:
            self.since = stamp

    def to_dict(self) -> dict[str, Any]:
        """The settings and the state, as values that JSON holds exactly."""
        return {"format": FORMAT, "kind": type(self).__name__, **to_state(self)}

    @classmethod
    def from_dict(cls: type[Kind], state: Mapping[str, Any]) -> Kind:
        """The monitor that wrote `state`; it goes on to the bit. ``Monitor.from_dict`` reads any kind.

        Raises
        ------
        InputError
            When the state is damaged, of another format, or of another kind of monitor.
        """
        if not isinstance(state, Mapping):
            raise InputError("the state of a monitor must be a dictionary, as to_dict gives it")
        check_format(state, "the state of a monitor", "start the monitor anew")
        kind = find(KINDS, str(state.get("kind")), "monitor")
        if not issubclass(kind, cls):
            raise InputError(
                f"the state is that of a {kind.__name__}, not of a {cls.__name__}; read it with that or with Monitor"
            )
        content = {name: value for name, value in state.items() if name not in ("format", "kind")}
        return from_state(kind, content, kind.__name__)


def check_positive(monitor: Monitor, **settings: float) -> None:
    """Raise `InputError` unless all settings are finite and above 0."""
    for name, value in settings.items():
        if not 0 < value < float("inf"):
            raise InputError(f"{type(monitor).__name__}: {name} is {value}; give a positive number")


def check_level(monitor: Monitor, level: float) -> None:
    """Raise `InputError` unless the level of false alarms is between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"{type(monitor).__name__}: level is {level}; give a probability such as 0.05")
