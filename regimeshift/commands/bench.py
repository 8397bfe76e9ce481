"""``regimeshift bench``: how good can it get?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ceilings:
    """Print the ladder of every synthetic family: hindsight, who knows what is hidden, the optimum, rules that do not learn.

    Rewards are a bar, in the family's units; the error is the standard error over episodes. See docs/ceilings.md.
    """

    episodes: int = 1000
    """Episodes of each family."""
    seed: int = 0
    """Of the episodes."""
    skip: int = 50
    """First bars of each episode that are left out, for everyone alike."""

    def run(self) -> None:
        from rich.progress import track

        from markets import InputError
        from markets.synthetic import FAMILIES
        from regimeshift.console import console, show
        from strategies.ladder import ladder

        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must be at least 0")
        if self.episodes < 2 or not 0 <= self.skip < min(family.length for family in FAMILIES):
            raise InputError("bench ceilings: give at least 2 episodes, and skip fewer bars than an episode has")
        tables = [
            (family, ladder(family, self.episodes, self.seed, self.skip))
            for family in track(FAMILIES, "simulating", transient=True, console=console)
        ]
        for family, table in tables:
            text = table.astype(object)
            text["reward"] = [f"{v:.5f}" for v in table["reward"]]
            text["error"] = [f"{v:.5f}" for v in table["error"]]
            text["of ceiling"] = [f"{v:.2f}" for v in table["of ceiling"]]
            show(text, str(family), "")
        console.print(f"{self.episodes:,} episodes each; the first {self.skip} bars of each are left out.")
