"""``regimeshift watch``: follow a growing source, decide once per bar, adapt, and keep a paper account."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from regimeshift.options import DataOptions, NamedSource, TradingOptions, named

if TYPE_CHECKING:
    from backtests.watch import Adoption, Schedule, Standing
    from backtests.watch import Watch as Loop
    from markets import Bars, Costs, Execution

LATER = "the same command goes on where it was"


@dataclass
class Watch(TradingOptions, DataOptions):
    """Follow data that grow: decide once per bar, adapt when it is time, keep a paper account and a status page.

    All that is decided stands in STATE/journal.jsonl, once per bar, whatever is killed when; the same command goes on from there.
    """

    source: NamedSource = None
    start: Annotated[str | None, tyro.conf.arg(aliases=("--from",))] = None
    """First bar to decide on, such as 2019; bars before it are history. By default the last bar that there is."""
    model: str | None = None
    """Folder of a model trained by `regimeshift train`, which adapts."""
    strategy: str | None = None
    """Instead of a model: a rule (minimum_variance:252), or your own file (my_strategy.py:MyStrategy)."""
    name: str | None = None
    """A registered model: its champion decides, and what is adapted is registered as its challenger."""
    adopt: Literal["ask", "gates"] = "ask"
    """With --name: ask leaves the champion as it is and says what the gates find; gates promotes a challenger that passes them.
    Without it, what was adapted decides at once."""
    state: str = "watch"
    """Folder of the journal, the adapted strategies and the page, status.html."""
    every: int | None = None
    """Bars between adaptations; by default a quarter of daily or longer bars, or 63 shorter ones."""
    on_change: bool = False
    """Adapt when the regime has changed, too: when another one is the most probable on --confirm bars in a row."""
    confirm: int = 5
    """Bars after which a change of regime is believed."""
    compare: list[str] = field(default_factory=lambda: ["equal_weight", "inverse_volatility", "momentum"])
    """Rules that the account is compared with on the page."""
    replay: str | None = None
    """Run a span of history through the same code, such as 2019:2022, and stop."""
    once: bool = False
    """Decide on the bars that are new, and stop, as for cron."""
    poll: float = 60.0
    """Seconds between looks at the source."""

    def run(self) -> None:
        from backtests.watch import Following, Journal
        from backtests.watch import Watch as Loop
        from markets import InputError
        from regimeshift.console import kept, say, step, writable

        what = f"--strategy {self.strategy}" if self.strategy else f"--model {self.model or 'MODEL'}"
        source = named(self.source, f"watch FILE.csv {what}")
        if (self.model is None) == (self.strategy is None):
            raise InputError("watch takes --model FOLDER or --strategy RULE: what decides, and adapts")
        if not 0 < self.poll < float("inf"):
            raise InputError(f"--poll {self.poll:g}: give seconds above 0")
        if self.replay is not None:
            self._replayed(self.replay)
        costs, execution = self.charged(), self.limits()
        folder = writable(self.state)
        following, begun = Following(source, self.held), Journal(folder).started
        bars = following.bars()
        if begun is None:  # the first visible bar is the first to decide on
            bars = bars[self.start :] if self.start else bars[-1:]
        with step("loading the model"):
            model = self._model()
        schedule = self._schedule(bars, folder, begun)
        adoption = self._adoption(model, schedule, costs, execution)
        loop = Loop(
            folder, model, schedule, adoption, costs=costs, execution=execution, clock=self._clock, about=self._about
        )
        with loop as watch, kept(LATER):
            beside = _Beside.of(self, watch, bars)
            self._catch_up(watch, bars)
            follows = not self.once and self.replay is None
            beside.write(bars, live=follows)
            if not follows:
                return
            say(f"Watching {source}; the page is {folder / 'status.html'}. Ctrl-C stops it.")
            self._follow(watch, following, beside)

    # ------------------------------------------------------------------ what is watched

    def _replayed(self, span: str) -> None:
        from markets import InputError

        first, colon, last = span.partition(":")
        if not (first and colon and last):
            raise InputError(f"--replay {span}: write a span, such as 2019:2022")
        if self.start or self.end:
            raise InputError("--replay names the span; leave out --start and --end")
        self.start, self.end = first, last

    def _model(self) -> Any:
        from regimeshift import steps

        return steps.adaptive(self.model, self.strategy)

    def _schedule(self, bars: Bars, folder: Path, begun: dict[str, Any] | None) -> Schedule:
        """When to adapt: as often as the watch that has `begun`, by its regimes, or else by those of the bars before it."""
        from backtests.watch import Schedule
        from backtests.watch.watch import kept_detector
        from regimeshift import steps
        from regimeshift.windows import Windows

        usual = Windows.of(bars).quarter if begun is None else begun["settings"]["every"]
        every = usual if self.every is None else self.every
        detector = steps.detector_before(bars) if begun is None else kept_detector(folder)
        return Schedule(every, detector, self.on_change, self.confirm)

    def _adoption(self, model: Any, schedule: Schedule, costs: Costs, execution: Execution) -> Adoption:
        from backtests.gates import Rules
        from backtests.watch import Champion, InPlace

        if self.name is None:
            return InPlace()
        rules = Rules(age=None if self.replay else 10, unknown=False)
        return Champion(self.name, model, self.adopt, schedule.every or 63, costs, execution, rules)

    @property
    def _about(self) -> dict[str, str]:
        """Where bars and model come from, so that `regimeshift replay` finds them from anywhere."""
        from markets.data.loading import NAMES

        assert self.source is not None
        places = {"source": self.source, "model": self.model or "", "strategy": self.strategy or ""}
        found = {name: text if text in NAMES else _resolved(text) for name, text in places.items() if text}
        return found | ({"resample": self.resample} if self.resample else {})

    @property
    def _clock(self) -> Any:
        """None in a replay, whose journal is the same whenever it is run."""
        from datetime import UTC, datetime

        return None if self.replay is not None else lambda: datetime.now(UTC).isoformat(timespec="milliseconds")

    # ------------------------------------------------------------------ the loop

    def _catch_up(self, watch: Loop, bars: Bars) -> int:
        """Decide on what is new, with a progress bar on a terminal."""
        from rich.progress import Progress

        from regimeshift.console import console

        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("deciding", total=None)
            return watch.see(bars, lambda done, total: progress.update(task, completed=done, total=total))

    def _follow(self, watch: Loop, following: Any, beside: _Beside) -> None:
        """Look at the source until stopped. What it says that cannot be used is printed, and looked at again."""
        import sys
        import time

        from markets import InputError
        from regimeshift.console import say

        printed = ""
        while True:
            time.sleep(self.poll)
            try:
                bars = following.look()
                new = bars is not None and watch.see(bars)
                if bars is not None and new:
                    say(f"{bars.index[-1]}: decided.")
                beside.keep_up(bars if new else None)
                printed = ""
            except InputError as error:
                if str(error) != printed:
                    print(f"regimeshift: {error}", file=sys.stderr, flush=True)
                printed = str(error)


def _resolved(text: str) -> str:
    """A file or folder by its whole path, also where a name in the file follows; anything else as it is."""
    file, colon, name = text.rpartition(":")
    if colon and Path(file).is_file():
        return f"{Path(file).resolve()}:{name}"
    return str(Path(text).resolve()) if Path(text).exists() else text


@dataclass
class _Beside:
    """What is shown beside the decisions: the page, and sentences on the terminal."""

    watch: Loop
    rules: list[Any]
    title: str
    behind: Bars | None = None  # bars that the page does not show yet
    rests: float = 0.0  # until then, in seconds of the monotonic clock, no page is written

    @classmethod
    def of(cls, command: Watch, watch: Loop, bars: Bars) -> _Beside:
        from regimeshift import steps
        from regimeshift.windows import Windows

        rules = steps.rules_from_names(command.compare, bars, Windows.of(bars), started=True, required=False)
        return cls(watch, rules, f"{watch.model.name} on {bars.name}")

    def keep_up(self, bars: Bars | None) -> None:
        """Show what was decided on `bars`, if any, or before. Most of the time is for decisions: a page takes a tenth at most."""
        from time import monotonic

        self.behind = self.behind if bars is None else bars
        began = monotonic()
        if self.behind is None or began < self.rests:
            return
        self.write(self.behind, live=True)
        self.behind, now = None, monotonic()
        self.rests = now + 9 * (now - began)

    def write(self, bars: Bars, *, live: bool) -> None:
        from backtests.watch.page import lines, write_status
        from regimeshift.console import say, step

        if not self.watch.journal.decided:
            say("No bar is new.")
            return
        with step("writing the page"):
            found: Standing = self.watch.standing(bars, self.rules)
            write_status(found, self.watch.folder / "status.html", self.title, live=live)
        for line in lines(found):
            say(line)
