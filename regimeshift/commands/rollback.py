"""``regimeshift rollback``: the champion before this one again."""

from __future__ import annotations

from dataclasses import dataclass

import tyro


@dataclass
class Rollback:
    """Exchange the champion of a name and the one before it. The files of the latter are compared with their hashes first."""

    name: tyro.conf.Positional[str]
    """Name in the registry."""
    why: str = ""
    """The reason, which is recorded."""

    def run(self) -> None:
        from regimeshift.console import console, step

        with step(f"rolling back {self.name}"):
            from backtests import registry

            move = registry.rollback(self.name, why=self.why)
        console.print(
            f"models:/{self.name}/{move.version} is the champion again; {self.name}/{move.before} is now previous.",
            markup=False,
        )
