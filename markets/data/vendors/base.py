"""Base class of the vendors of market data, retries, and progress on the terminal.

A vendor is a subclass of `Vendor` in a module of its own, listed in `markets.data.vendors.VENDORS`. Responses are stored as
they arrive (`markets.data.cache`), so that an interrupted download resumes where it stopped.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar

import pandas as pd

from markets.bars.time_spans import Span
from markets.common.errors import InputError

WAITS = (1, 2, 4, 8, 16)  # seconds before each retry
PATIENCE = 2.0  # seconds after which progress is shown


class Busy(Exception):
    """The vendor did not respond or limited the rate; a retry may succeed."""


class Vendor(ABC):
    """A source of bars from one vendor, written ``NAME:REST``.

    Parameters
    ----------
    rest : str
        The part of the source after the vendor's name.

    Attributes
    ----------
    name : str
        Name of the vendor.
    form : str
        Example of a source, for messages.
    symbols : list of str
        Symbols of the source.

    Raises
    ------
    InputError
        When `rest` cannot be parsed or names a symbol twice.
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
        """Return the symbols of `rest`, in order; keep its other parts in attributes."""

    @abstractmethod
    def rows(self, symbol: str, span: Span, done: Callable[[float], None]) -> pd.DataFrame:
        """Bars of one symbol, indexed by time.

        Parameters
        ----------
        symbol : str
        span : Span
        done : callable
            To be called with the fraction of the work done, from 0 to 1.

        Returns
        -------
        DataFrame
            With a column ``close`` and, where available, open, high, low, adj close and volume.

        Raises
        ------
        InputError
            When the vendor refuses the request or does not respond, or its library is not installed.
        """

    def _refused(self, rest: str, why: str = "") -> InputError:
        return InputError(f"{f'{self.name}:{rest}'!r} is not a source{why}; write {self.form}")


def patiently(vendor: str, ask: Callable[..., pd.DataFrame], *question: object) -> pd.DataFrame:
    """Call ``ask(*question)``, and retry after each of `WAITS` while it raises `Busy`.

    Raises
    ------
    InputError
        When the vendor is still busy after the last retry.
    """
    for wait in (*WAITS, None):
        try:
            return ask(*question)
        except Busy as busy:
            if wait is None:
                raise InputError(
                    f"{vendor} does not respond ({str(busy).splitlines()[0] if str(busy) else 'no reason given'}); the data "
                    "received so far is kept, so load again later to resume"
                ) from None
            time.sleep(wait)
    raise AssertionError("the last wait is None")


def library(name: str) -> Any:
    """Import a vendor's library.

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
    """Current time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def milliseconds(moment: pd.Timestamp | None) -> int | None:
    """Milliseconds since 1970; times without a zone are taken as UTC."""
    return None if moment is None else int(moment.timestamp() * 1000 // 1)


def by_time(rows: pd.DataFrame, zone: str | None) -> pd.DataFrame:
    """`rows` indexed by their column ``time`` (milliseconds), in the time zone `zone`; None for dates."""
    index = pd.DatetimeIndex(pd.to_datetime(rows["time"], unit="ms"), name="date").tz_localize(zone)
    return rows.drop(columns="time").set_axis(index).astype("float64")


@contextmanager
def progress(source: str, series: int) -> Iterator[Callable[[int, str, float], None]]:
    """Progress bar on the terminal, shown after `PATIENCE` seconds.

    Yields a function of (number of the series, its symbol, fraction done) that updates the bar.
    """
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
