"""Promotions as the command line shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regimeshift.console import console, listing

if TYPE_CHECKING:
    from backtests.gates import Gate
    from backtests.moves import Move
    from backtests.registry import NotPromoted, Promotion, Version

STYLES = {"passed": "", "failed": "red", "not known": "yellow"}


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt to promote: a promotion, or why there is none."""

    promotion: Promotion | None
    refusal: NotPromoted | None

    def show(self) -> None:
        """Print the gates and what follows from them.

        Raises
        ------
        NotPromoted
            If it was refused.
        """
        if self.refusal is not None:
            show_gates(self.refusal.gates)
            raise self.refusal
        assert self.promotion is not None
        version, move = self.promotion.version, self.promotion.move
        show_gates(self.promotion.gates)
        if move is None:
            console.print(f"{version.uri} is the champion already.", markup=False)
            return
        if move.forced:
            console.print(f"Forced by {move.who} ({move.why}): {', '.join(move.forced)}.", markup=False)
        was = f"; {version.name}/{move.before} is now previous" if move.before else ""
        console.print(f"{version.uri} is now the champion{was}.", markup=False)


def promoted(version: Version, rules: Any = None, **options: Any) -> Outcome:
    """Try to promote a version; see `backtests.registry.promote`."""
    from backtests import registry

    try:
        return Outcome(registry.promote(version, rules, **options), None)
    except registry.NotPromoted as refusal:
        return Outcome(None, refusal)


def show_gates(gates: Iterable[Gate]) -> None:
    """Print each gate with its figure."""
    found = list(gates)
    if found:
        rows = [(gate.name, gate.mark, gate.sentence) for gate in found]
        listing(("gate", "", "figure"), rows, [STYLES[gate.mark] for gate in found], boxed=False)


def show_moves(moves: Iterable[Move]) -> None:
    """Print each move of a champion."""
    found = list(moves)
    rows = [
        (
            move.time[:19].replace("T", " "), move.kind, str(move.before or "none"), str(move.version), move.who,
            "; ".join([*([f"forced past {', '.join(move.forced)}"] if move.forced else []), *([move.why] if move.why else [])]),
        )
        for move in found
    ]  # fmt: skip
    listing(
        ("time (UTC)", "move", "from", "to", "who", "why"),
        rows,
        ["red" if m.forced else "" for m in found],
        boxed=False,
    )
