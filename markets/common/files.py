"""Atomic file writing: a file is written under a temporary name and then renamed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Context manager that yields a temporary path to write to, and renames it to `path` at the end of the block.

    `path` is never seen half-written: if the block raises or the process is killed, `path` is unchanged.

    Parameters
    ----------
    path : str or Path
        Its folder must exist.

    Yields
    ------
    Path
        A hidden file in the same folder with the same suffix, unique to this thread.
    """
    path = Path(path).resolve()  # through a link, to what it points to
    beside = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        yield beside
        if path.exists():
            beside.chmod(path.stat().st_mode)
        with beside.open("rb+") as file:  # flush to disk before renaming, or a power cut could leave an empty file
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
