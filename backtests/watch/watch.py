"""`Watch`: follows bars as they come, decides once per bar, adapts when it is time, and goes on after a kill where it was.

For each new bar, in this order: what regime is it; is it time to adapt; what does the model want. Each answer is a record of the
journal, and nothing else is kept, so that a restart goes on after the last record as if nothing had happened::

    kill before a record    its work is done again, on the same bars, with the same result
    kill within the write   the torn line is cut off, and that is the case above
    kill after a record     it is not done again

A replay of history is the same code on bars that are there already. With `InPlace` it is a walk-forward backtest, bar by bar: it
sees the same bars, adapts at the same ones, and its account is the same one (`backtests.watch.standing`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from backtests.engine.protocols import Adaptive
from backtests.watch.adoption import Adoption, InPlace, row_of
from backtests.watch.journal import Adapted, Decided, Journal, to_row
from backtests.watch.promise import Drift, Promise, drift_before
from backtests.watch.schedule import FIRST, Schedule
from backtests.watch.shelf import Shelf
from backtests.watch.standing import Challenger, Standing, decided_bars, followed, grown, rebasing, standing
from markets import Bars, Costs, Execution, InputError, RegimeDetector, load_detector
from strategies import Strategy
from strategies.stored import fingerprint

REGIMES, PROMISE = "regimes.json", "promise.json"
REBASED = 1e-6  # change of all closes of a symbol that is more than rounding


class Watch:
    """A model that is followed along a growing source of bars. Use it in a ``with`` block, which holds the folder.

    Parameters
    ----------
    folder : path
        Of its journal and strategies; created if need be.
    model : Adaptive
        What adapts: a meta-policy, or a strategy with `adapt`.
    schedule : Schedule
        When it adapts. Its detector is kept in the folder, and a restart takes that one.
    adoption : Adoption, optional
        What becomes of adapted strategies; by default they trade at once.
    costs : Costs or str
        Of the paper account.
    execution : Execution, optional
        Of the paper account.
    clock : callable, optional
        What time it is, as ISO 8601, for the journal; without it, as in a replay, the journal does not say when it was written.
    about : mapping of str to str, optional
        Where bars and model came from, for the journal.

    Raises
    ------
    InputError
        When another process watches there, the folder is that of a watch with other settings, or its files were changed.
    """

    def __init__(
        self,
        folder: str | Path,
        model: Adaptive,
        schedule: Schedule,
        adoption: Adoption | None = None,
        *,
        costs: Costs | str = "10bp",
        execution: Execution | None = None,
        clock: Callable[[], str] | None = None,
        about: Mapping[str, str] | None = None,
    ):
        self.folder, self.model = Path(folder), model
        self.fingerprint = fingerprint(model) if isinstance(model, Strategy) else getattr(model, "fingerprint", None)
        self.adoption = adoption or InPlace()
        self.costs, self.execution, self.clock = Costs.parse(costs), execution or Execution(), clock
        self.about = dict(about or {})
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / "lock")
        self.shelf = Shelf(self.folder / "strategies")
        self.schedule = schedule
        self._drift: Drift | None = None

    def __enter__(self) -> Watch:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder}: another process watches there; stop it, or name another folder") from None
        try:
            self.journal = Journal(self.folder)
            if self.journal.started is not None:
                if detector_hash(self.folder) != self.journal.started["detector"]:
                    raise InputError(
                        f"{self.folder / REGIMES}: it is not the detector that the watch began with; restore it"
                    )
                self.schedule = replace(self.schedule, detector=kept_detector(self.folder))
                self._check_same(self.journal.started)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    # ------------------------------------------------------------------ the loop

    def see(self, bars: Bars, on_bar: Callable[[int, int], None] | None = None) -> int:
        """Decide on all bars that are new.

        Parameters
        ----------
        bars : Bars
            The source as it is now. At the first call the watch begins at the first visible bar; later calls need bars that go
            back as far, and what is visible does not matter.
        on_bar : callable, optional
            Called after each bar with the number of bars done, and of all that are new.

        Returns
        -------
        int
            Number of bars that were decided on.

        Raises
        ------
        InputError
            When symbols differ, the bars that were decided on are no longer as they were, or the model cannot decide.
        """
        if self.journal.started is None:
            self._start(bars)
        assert self.journal.started is not None
        symbols = tuple(self.journal.started["symbols"])
        if bars.symbols != symbols:
            if lost := [symbol for symbol in symbols if symbol not in bars.symbols]:
                raise InputError(f"{bars.name} is without {', '.join(lost)}; the watch began with {', '.join(symbols)}")
            bars = bars.select(symbols)
        span, done = followed(self.journal, bars), len(self.journal.decided)
        new = span.rows(span.past + done, span.past + len(span))
        if len(new):  # so that the last line of the journal is a decision
            self._rebase(span)
        for count, belief in enumerate(self.schedule.beliefs(new) if len(new) else [], 1):
            self._bar(span.rows(span.past, new.past + count), belief)
            if on_bar:
                on_bar(count, len(new))
        return len(new)

    def _rebase(self, span: Bars) -> None:
        """Take note of closes that have all changed by one factor, so that later ones are not held against them."""
        if self.journal.decided and (np.abs((factor := rebasing(self.journal, span)) - 1) > REBASED).any():
            record = {"bar": self.journal.decided[-1].bar, "factor": factor.tolist()}
            self.journal.append("rebased", record, self._now())

    def _bar(self, known: Bars, belief: dict[str, float]) -> None:
        """Decide at the last of `known`, after adapting if it is time."""
        journal = self.journal
        if why := self._due(belief):
            if not (journal.adapted and journal.adapted[-1].bar == _time(known)):  # a kill came after that record
                self._adapt(known, why, belief)
            self._offer(known)
        plan, by, note = self.adoption.decide(known, journal, self.shelf)
        close = [None if np.isnan(c) else c for c in known.close[-1].tolist()]
        journal.append("decided", Decided(_time(known), close, by, to_row(plan), belief, note), self._now())

    def _due(self, belief: dict[str, float]) -> str:
        """Why to adapt at this bar; empty if there is no reason."""
        journal = self.journal
        if not journal.decided:
            return "" if journal.led else FIRST
        return self.schedule.due(journal.decided, belief, self._regime) if self._adapts else ""

    @property
    def _adapts(self) -> bool:
        """Whether adapting may change the model; a rule that does not adapt trades on as it began."""
        return not isinstance(self.model, Strategy) or self.model.adapts

    @property
    def _regime(self) -> str:
        """The most probable regime at the last adaptation."""
        records = self.journal.adapted or self.journal.decided
        belief = records[-1 if self.journal.adapted else 0].belief if records else {}
        return max(belief, key=belief.__getitem__) if belief else ""

    def _adapt(self, known: Bars, why: str, belief: dict[str, float]) -> None:
        """Adapt the model to the bars so far, keep the strategy, and record what it changed."""
        former = self.journal.adapted[-1] if self.journal.adapted else None
        after = self.shelf.put(self.model.adapt(known))
        growth = unadapted = None
        if former is not None and self.journal.decided:
            control = self.shelf.get(self.unadapted)
            growth, unadapted = grown(self.journal, known, former.bar, control, self.costs, self.execution)
        record = Adapted(
            bar=_time(known),
            why=why,
            bars=known.hash,
            model=self.fingerprint,
            before=None if former is None else former.after,
            after=after,
            aim_before=None if former is None else self._wanted(former.after, known),
            aim_after=self._wanted(after, known),
            belief=belief,
            growth=growth,
            unadapted=unadapted,
        )
        self.journal.append("adapted", record, self._now())

    def _offer(self, known: Bars) -> None:
        """Offer the strategy that was adapted at this bar, unless that was done."""
        record = self.journal.adapted[-1]
        if record.bar not in self.journal.offered:
            outcome = self.adoption.offer(record, self.shelf.get(record.after), known)
            self.journal.append("offered", {"bar": record.bar, "outcome": outcome}, self._now())

    def _wanted(self, mark: str, known: Bars) -> list[float]:
        """Target weights of a strategy at the last bar, as if it began to trade there."""
        return row_of(self.shelf.get(mark), known, known.index[-1]).aim[0].tolist()

    # ------------------------------------------------------------------ where it stands

    def standing(self, bars: Bars, rules: Sequence[Strategy] = ()) -> Standing:
        """Its account, what it is compared with, and the alarms, after the last bar that was decided on.

        Parameters
        ----------
        bars : Bars
            The source.
        rules : sequence of Strategy
            To compare with.

        Raises
        ------
        InputError
            When bars that were decided on are missing or were revised.
        """
        span = decided_bars(self.journal, bars)
        unadapted = self.shelf.get(self.unadapted)
        path = self.folder / PROMISE  # it can be made again, and takes a walk-forward
        promise = Promise.load(path) if path.exists() else None
        if promise is None:
            promise = Promise.of(self.model, unadapted, span, self.schedule.every, self.costs, self.execution)
            if promise is not None:
                promise.save(path)
        if self._drift is None and span.past:
            self._drift = drift_before(unadapted, span)
        return standing(
            self.journal, span, unadapted, rules, costs=self.costs, execution=self.execution, promise=promise,
            drift=self._drift, challenger=self._challenger,
        )  # fmt: skip

    @property
    def _challenger(self) -> Challenger | None:
        """What was adapted last, where a champion decides."""
        if not self.journal.led or not self.journal.adapted:
            return None
        last = self.journal.adapted[-1]
        return Challenger(self.shelf.get(last.after), pd.Timestamp(last.bar))

    # ------------------------------------------------------------------ what it began with

    @property
    def unadapted(self) -> str:
        """Fingerprint of the model without adaptation, or else of what was adapted first."""
        assert self.journal.started is not None
        return self.journal.started["unadapted"] or self.journal.adapted[0].after

    def _start(self, bars: Bars) -> None:
        for file in (REGIMES, PROMISE):  # of a watch whose journal was taken away
            (self.folder / file).unlink(missing_ok=True)
        if self.schedule.detector is not None:
            self.schedule.detector.save(self.folder / REGIMES)
            self.schedule = replace(self.schedule, detector=kept_detector(self.folder))
        initial = self.adoption.initial()
        control = self.model.unadapted() if hasattr(self.model, "unadapted") else initial
        record = {
            "model": self.model.name,
            "fingerprint": self.fingerprint,
            "unadapted": None if control is None else self.shelf.put(control),
            "data": bars.name,
            "symbols": list(bars.symbols),
            "first": bars.index[0].isoformat(),
            "decides_first": "the model" if initial is None else "the champion",
            "detector": detector_hash(self.folder),
            "settings": self.settings,
            "about": self.about,
        }
        self.journal.append("started", record, self._now())

    @property
    def settings(self) -> dict[str, Any]:
        """What cannot change during a watch, as JSON holds it."""
        found = {"costs": repr(self.costs), "execution": repr(self.execution)}
        return found | self.schedule.settings | self.adoption.settings

    def _check_same(self, started: dict[str, Any]) -> None:
        given = self.settings | {"model": self.model.name}
        before = started["settings"] | {"model": started["model"]}
        if self.fingerprint != started["fingerprint"] and self.model.name == started["model"]:
            raise InputError(
                f"{self.folder}: {self.model.name} has other settings, weights or code than when the watch began; go on with "
                "that one, or name another folder"
            )
        for name, value in given.items():
            if before.get(name) != value:
                raise InputError(
                    f"{self.folder} is a watch whose {name} is {before.get(name)}, and not {value}; go on with the same "
                    "settings, or name another folder"
                )

    def _now(self) -> str | None:
        return self.clock() if self.clock else None


def detector_hash(folder: Path) -> str | None:
    """SHA-256 of the file of the detector that a watch in `folder` began with; None if there is none."""
    path = folder / REGIMES
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def kept_detector(folder: Path) -> RegimeDetector | None:
    """The detector that a watch in `folder` began with, if there is one."""
    path = folder / REGIMES
    return load_detector(path) if path.exists() else None


def _time(known: Bars) -> str:
    return known.index[-1].isoformat()
