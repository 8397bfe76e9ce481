"""``regimeshift promote``: the gates, and a new champion."""

from __future__ import annotations

from dataclasses import dataclass

import tyro


@dataclass
class Promote:
    """Make a registered version the champion, if it passes every gate; each is printed with its figure.

    The champion so far becomes `previous`, to which `regimeshift rollback` goes back. Exit status 2 if a gate is not passed.
    """

    name: tyro.conf.Positional[str]
    """Name in the registry."""
    version: tyro.conf.Positional[int]
    """Number of the version."""
    level: float = 0.95
    """Confidence at which it must not be worse than the champion, in the last backtest of both that MLflow holds."""
    floor: float = 0.5
    """Least deflated Sharpe ratio of what replaces a champion: the probability that its true ratio is above 0 after all tried."""
    latency: float = 500.0
    """Longest time of a decision in milliseconds, that 99 of 100 must keep to."""
    age: float = 10.0
    """Largest age of the last bar that the version was adapted to, in bars."""
    history: bool = False
    """Demand nothing of the age of the bars, as for data that end in the past."""
    force: bool = False
    """Promote it whatever the gates find, unless it cannot be loaded as it was registered. Who, why and which is recorded."""
    why: str = ""
    """The reason, which is recorded; --force must have one."""

    def run(self) -> None:
        from markets import InputError
        from regimeshift.champion import promoted
        from regimeshift.console import step

        if self.force and not self.why.strip():
            raise InputError("--force needs a reason, which is recorded: --why TEXT")
        with step(f"passing the gates of {self.name}/{self.version}"):
            from backtests.gates import Rules
            from backtests.registry import Version

            age = None if self.history else self.age
            rules = Rules(self.level, self.floor, self.latency / 1e3, age, unknown=False)
            found = promoted(Version(self.name, self.version), rules, force=self.force, why=self.why)
        found.show()
