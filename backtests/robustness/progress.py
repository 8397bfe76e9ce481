"""A progress bar around results as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import Progress

from markets.common.progress import visible

Result = TypeVar("Result")


def tracked(results: Iterable[Result], total: int, what: str, progress: bool) -> Iterator[Result]:
    """The results, with a bar on a terminal that says how many of `total` are there."""
    with Progress(transient=True, disable=not visible(progress)) as bar:
        row = bar.add_task(what, total=total)
        for result in results:
            yield result
            bar.advance(row)
