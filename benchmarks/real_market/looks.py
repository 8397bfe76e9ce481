"""The record of looks at test spans: ``benchmarks/results/looks.csv``, one line a look, written before anything is computed.

Every look spends some of a span's worth as evidence, whoever looks and whatever for. Lines are only ever appended, and are on the
disk before the first figure exists, so that a run that fails or is stopped is a look too.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.common import RESULTS
from markets import InputError

FILE = RESULTS / "looks.csv"


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes
    ----------
    date : str
        In UTC.
    universe, span : str
    protocol : str
        SHA-256 of the protocol; ``none`` for looks before there was one.
    commit : str
        Of the code; with ``+`` if files differed from it.
    computed : str
        What was looked at.
    """

    date: str
    universe: str
    span: str
    protocol: str
    commit: str
    computed: str


def record(
    universes: dict[str, tuple[str, str]], protocol: str, commit: str, computed: str, file: Path = FILE
) -> list[Look]:
    """Append a look at each test span, and see that it is on the disk.

    Parameters
    ----------
    universes : dict
        First and last day of the test span, by universe.
    protocol, commit, computed : str
        See `Look`.
    file : Path

    Returns
    -------
    list of Look

    Raises
    ------
    InputError
        When the file cannot be written; then nothing may be computed.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    entries = [Look(now, name, f"{a} to {b}", protocol, commit, computed) for name, (a, b) in universes.items()]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            if not out.tell():
                writer.writerow(f.name for f in fields(Look))
            writer.writerows(astuple(look) for look in entries)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise InputError(f"{file}: the look cannot be recorded ({error.strerror}), so no test span is opened") from None
    return entries


def recorded(file: Path = FILE) -> list[Look]:
    """All looks so far, oldest first."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return [Look(**row) for row in csv.DictReader(lines)]


def count_of(looks: Sequence[Look], universe: str, protocol: str) -> tuple[int, int]:
    """How often a universe's test span was looked at, and how often with this protocol."""
    there = [look for look in looks if look.universe == universe]
    return len(there), sum(look.protocol == protocol for look in there)
