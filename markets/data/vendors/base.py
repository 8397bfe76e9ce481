"""What every vendor of market data shares: the interface, patience with a busy one, and progress on the terminal.

A vendor is one module here with one subclass of `Vendor`, listed in `markets.data.vendors.VENDORS`. What it answers is
stored as it arrives (`markets.data.cache`), so that a download that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar

import pandas as pd

from markets.common.errors import InputError
from markets.data.time_spans import Span

WAITS = (1, 2, 4, 8, 16)  # seconds before a busy vendor is asked again
PATIENCE = 2.0  # seconds after which progress is shown


class Busy(Exception):
    """The vendor did not answer now; it may later."""


class Vendor(ABC):
    """One source of a vendor, ``NAME:REST``.

    Parameters
    ----------
    rest : str
        What follows the vendor's name in the source.

    Attributes
    ----------
    name : str
    form : str
        An example of a source, for messages.
    symbols : list of str
        Those that the source names.

    Raises
    ------
    InputError
        When `rest` is not what the vendor can read.
    """

    name: ClassVar[str]
    form: ClassVar[str]
    symbols: list[str]

    def __init__(self, rest: str):
        self.symbols = self._parse(rest)
        if not all(self.symbols) or len(set(self.symbols)) < len(self.symbols):
            raise self._refused(rest, ", or names a symbol twice")

    @abstractmethod
    def _parse(self, rest: str) -> list[str]:
        """Symbols that `rest` names, in order; whatever else it says is kept in attributes."""

    @abstractmethod
    def rows(self, symbol: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
        """Bars of one symbol by time, with a column ``close`` and what there is of open, high, low, adj close and volume.

        Parameters
        ----------
        symbol : str
        span : Span
        done : callable
            Is told the share of the work that is done, from 0 to 1.

        Raises
        ------
        InputError
            If the vendor refuses, does not answer, or its library is not installed.
        """

    def _refused(self, rest: str, why: str = "") -> InputError:
        return InputError(f"{f'{self.name}:{rest}'!r} is no source{why}; write {self.form}")


def patiently(vendor: str, ask: Callable[..., pd.DataFrame], *question: object) -> pd.DataFrame:
    """Ask, and while the vendor is busy, ask again later.

    Raises
    ------
    InputError
        When it is still busy after the last of `WAITS`.
    """
    for wait in (*WAITS, None):
        try:
            return ask(*question)
        except Busy as busy:
            if wait is None:
                raise InputError(
                    f"{vendor} does not answer ({str(busy).splitlines()[0] if str(busy) else 'no reason given'}); what has "
                    "arrived is kept, so load again later to go on"
                ) from None
            time.sleep(wait)
    raise AssertionError("the last wait is None")


def library(name: str) -> Any:
    """A vendor's own library, imported where it is used.

    Raises
    ------
    InputError
        When it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"{name} is not installed: pip install 'regimeshift[vendors]'") from None


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def milliseconds(moment: pd.Timestamp | None) -> int | None:
    """Milliseconds since 1970; naive times as UTC."""
    return None if moment is None else int(moment.timestamp() * 1000 // 1)


def by_time(rows: pd.DataFrame, zone: str | None) -> pd.DataFrame:
    """`rows` indexed by their column ``time`` (milliseconds), on the clock `zone`, None for days."""
    index = pd.DatetimeIndex(pd.to_datetime(rows["time"], unit="ms"), name="date").tz_localize(zone)
    return rows.drop(columns="time").set_axis(index).astype("float64")


@contextmanager
def progress(source: str, series: int) -> Iterator[Callable[[int, str, float], None]]:
    """A bar on the terminal, once the work has lasted; calls say how much of which series is there."""
    from rich.console import Console
    from rich.progress import Progress

    begun = time.monotonic()
    with_bar = Progress(console=Console(stderr=True), transient=True)
    task = with_bar.add_task(source, total=series)

    def step(number: int, symbol: str, share: float) -> None:
        if time.monotonic() - begun > PATIENCE:
            with_bar.start()
        with_bar.update(task, completed=number + share, description=symbol)

    try:
        yield step
    finally:
        if with_bar.live.is_started:
            with_bar.stop()
