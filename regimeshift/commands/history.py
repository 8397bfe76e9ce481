"""``regimeshift history``: every move of a champion."""

from __future__ import annotations

from dataclasses import dataclass

import tyro


@dataclass
class History:
    """Show every move of the champion of a name: when, from which version to which, by whom, and why."""

    name: tyro.conf.Positional[str]
    """Name in the registry."""
    gates: bool = False
    """Print what each gate found, too."""
    json: bool = False
    """Print one JSON object a move instead of a table, with the gates."""

    def run(self) -> None:
        from regimeshift.champion import show_moves
        from regimeshift.console import console, step

        with step(f"reading the moves of {self.name}"):
            from backtests import registry

            moves = registry.history(self.name)
        if self.json:
            for move in moves:
                print(move.text)
            return
        if not moves:
            console.print(f"{self.name} has never had a champion by promotion.", markup=False)
            return
        show_moves(moves)
        for move in moves if self.gates else ():
            console.print(f"\n{move.time[:19].replace('T', ' ')} {move.kind} {self.name}/{move.version}", markup=False)
            for gate, found in (move.gates or {}).items():
                console.print(f"  {gate}: {found}", markup=False)
