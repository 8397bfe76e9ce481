"""Files that are written beside their place and moved there whole, so that nobody ever reads half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A place beside `path` to write to; at the end of the block it becomes `path`, in one move.

    When the block raises, or the process is killed at any instant, `path` is as it was.

    Parameters
    ----------
    path : str or Path
        Its folder must exist.

    Yields
    ------
    Path
        Hidden, of the same suffix, and of this process alone.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        with beside.open("rb+") as file:  # on the disk before it is moved, or a power cut could leave it empty
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
