"""Results of jobs on disk, by content: what was computed once from the same bars, code and settings is not computed again.

The key of a job is the SHA-256 of the bars up to the last that it trades and their time zone, the strategy with all settings,
our code and the user's, the versions of what computes, the fold and how it is run. Costs and execution are not in it: a job ends
with what a strategy wants, which does not depend on them, so a study of other costs reads the same files. Later bars change no
earlier fold. What a strategy reads while it plans, such as a file, cannot be seen.

A file is an ``.npz`` of the plans, and a JSON text of the rest. It is moved into its place when it is whole; one that cannot be
read is computed again. Nothing is pickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backtests.engine.content import digest
from backtests.engine.jobs import Job, Piece
from backtests.results import Event
from markets import Bars, InputError
from markets.accounting.plan import PARTS
from markets.common.files import replacing
from strategies import Plan

FORMAT = 2


@dataclass(frozen=True)
class Cache:
    """A folder of results.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def at(cls, folder: str | Path) -> Cache:
        """The cache in `folder`, which is made if needed.

        Raises
        ------
        InputError
            When it cannot be made.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cache {folder}: cannot write there ({error.strerror}); choose another folder") from None
        return cls(folder)

    def path(self, job: Job, bars: Bars) -> Path | None:
        """The file of a job; None for one whose content cannot be told, which is then never kept."""
        last = max(last for _, last in (*job.split.train, *job.split.tests))
        known = replace(bars.rows(bars.past, last), name="")  # whatever the data set is called
        try:
            key = digest(
                FORMAT,
                known.hash,
                str(bars.index.tz),
                bars.past,
                job.split,
                job.every,
                job.tasks,
                job.control,
                job.guard,
                job.strategy,
            )
        except TypeError:
            return None
        return self.folder / f"{key}.npz"

    @staticmethod
    def read(path: Path | None) -> list[list[Piece]] | None:
        """The result kept in a file, or None if there is none or it is damaged."""
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                variants = json.loads(str(arrays["pieces"]))
                return [
                    [_piece(piece, arrays, f"{i}.{j}") for j, piece in enumerate(v)] for i, v in enumerate(variants)
                ]
        except Exception:  # damaged: zipfile, numpy and JSON raise a dozen kinds of error
            return None

    @staticmethod
    def keep(path: Path | None, result: list[list[Piece]]) -> None:
        """Write a result.

        Raises
        ------
        InputError
            When the disk is full, or the folder cannot be written to.
        """
        if path is None:
            return
        arrays: dict[str, np.ndarray] = {}
        for i, pieces in enumerate(result):
            for j, piece in enumerate(pieces):
                arrays |= {f"{i}.{j}.{part}": values for part, values in piece.plan.parts.items()}
        arrays["pieces"] = np.array(json.dumps([[_text(piece) for piece in pieces] for pieces in result]))
        try:
            with replacing(path) as beside, beside.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        except OSError as error:
            raise InputError(f"cache {path.parent}: cannot write there ({error.strerror or error})") from None


def _text(piece: Piece) -> dict[str, Any]:
    """Everything of a piece but its plan, for JSON."""
    return {
        "name": piece.name,
        "events": [asdict(event) | {"time": str(event.time)} for event in piece.events],
        "trained_until": None if piece.trained_until is None else str(piece.trained_until),
        "adapted_until": None if piece.adapted_until is None else str(piece.adapted_until),
        "fingerprint": piece.fingerprint,
        "remark": piece.remark,
    }


def _piece(text: dict[str, Any], arrays: Any, at: str) -> Piece:
    """The piece that `_text` was made from."""
    plan = Plan(**{part: arrays[f"{at}.{part}"] for part in PARTS if f"{at}.{part}" in arrays})
    times = {
        name: None if text[name] is None else pd.Timestamp(text[name]) for name in ("trained_until", "adapted_until")
    }
    events = tuple(Event(**event | {"time": pd.Timestamp(event["time"])}) for event in text["events"])
    return Piece(text["name"], plan, events, **times, fingerprint=text["fingerprint"], remark=text["remark"])
