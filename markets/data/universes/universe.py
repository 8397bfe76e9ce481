"""`Universe`: a set of real prices that a package of the registry holds, and how it becomes a table."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from markets.bars.bars import Source
from markets.data.tables import Table
from markets.data.universes.archive import Archive

Member = Callable[[str], bytes]
"""Returns the content of a file of the archive, given its path inside it."""


@dataclass(frozen=True)
class Universe:
    """A set of prices, by name.

    Attributes
    ----------
    name : str
        As `markets.load` takes it.
    archive : Archive
        The file of a package that holds it.
    parse : callable
        Makes a `Table` of the archive's files.
    source : Source
        Where it is from, how its symbols were chosen, and what a trade costs.
    """

    name: str
    archive: Archive
    parse: Callable[[Member], Table]
    source: Source

    def table(self) -> Table:
        """The prices, from the cache.

        Raises
        ------
        InputError
            When the set is not in the cache, or its file has changed.
        """
        return self.parse(partial(self.archive.member, universe=self.name))


def wide_csv(content: bytes, **options: object) -> pd.DataFrame:
    """A table of numbers with a date in its first column."""
    frame = pd.read_csv(io.BytesIO(content), index_col=0, **options)  # type: ignore[call-overload]
    return frame.set_axis(pd.to_datetime(frame.index, format="%Y-%m-%d"), axis=0)


def table(
    frame: pd.DataFrame,
    delisted: Mapping[str, pd.Timestamp] | None = None,
    **other: np.ndarray,
) -> Table:
    """A frame of closes as a `Table`, with other fields of the same shape."""
    symbols = tuple(str(column) for column in frame.columns)
    index = pd.DatetimeIndex(frame.index, name="date")
    fields = {"close": frame.to_numpy(np.float64), **other}
    return Table(index, symbols, fields, lambda bar, i, _: f"{symbols[i]} on {index[bar]:%Y-%m-%d}", delisted)
