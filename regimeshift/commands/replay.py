"""``regimeshift replay``: make every adaptation and decision of a watch again, and compare them to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass
class Replay:
    """Make the adaptations and decisions of a watch again from its bars, and say which come out otherwise.

    The journal's chain of hashes is checked first. Exit status 1 if something is not as it was recorded.
    """

    state: tyro.conf.Positional[str] = "watch"
    """Folder of the watch."""
    source: str | None = None
    """The bars, if they are no longer where they were."""
    model: str | None = None
    """The trained model, if it is no longer where it was."""

    def run(self) -> None:
        import sys

        from rich.progress import Progress

        from backtests.watch import Journal, replay
        from backtests.watch.journal import FILE
        from backtests.watch.shelf import Shelf
        from markets import InputError, load
        from regimeshift import steps
        from regimeshift.console import console, listing, say, step

        folder = Path(self.state)
        if not (folder / FILE).exists():
            raise InputError(f"{folder}: no journal of a watch; name the folder that regimeshift watch --state named")
        journal = Journal(folder)
        if journal.started is None or not journal.decided:
            raise InputError(f"{folder}: its watch has not decided on a bar yet")
        about = journal.started.get("about", {})
        source = self.source or about.get("source")
        if source is None:
            raise InputError(f"{folder}: its journal does not say where the bars were from; name them with --source")
        with step(f"reading {source}"):
            bars = load(source, symbols=journal.started["symbols"], resample=about.get("resample"))
        with step("loading the model"):
            model = steps.adaptive(self.model or about.get("model"), about.get("strategy"))
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("replaying", total=None)
            shown = lambda done, total: progress.update(task, completed=done, total=total)  # noqa: E731
            found = replay(journal, Shelf(folder / "strategies"), model, bars, shown)
        by_others = len(journal.decided) - found.decisions
        also = f"; {by_others} decisions were a registered version's, or left positions alone" if by_others else ""
        if found.mismatches:
            listing(
                ("bar", "what is not as it was recorded"), found.mismatches, [""] * len(found.mismatches), boxed=False
            )
            say(f"{len(found.mismatches)} of {found.adaptations + found.decisions} records came out otherwise{also}.")
            sys.exit(1)
        say(f"{found.adaptations} adaptations and {found.decisions} decisions came out as recorded, to the bit{also}.")
