"""`Following`: a source of bars that grows, looked at again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from markets import Bars


class Following:
    """A file, a folder of files, or a vendor, of which new bars are expected.

    A file is read again when its size or time has changed, and only once it has stayed the same from one look to the next:
    whoever writes a bar may be in the middle of a number. Anything else is read at each look.

    Parameters
    ----------
    source : str
        As for `markets.load`.
    load : callable
        Reads it.
    """

    def __init__(self, source: str, load: Callable[[str], Bars]):
        self.source, self._load = source, load
        self._read: tuple[tuple[str, int, int], ...] | None = None
        self._before: tuple[tuple[str, int, int], ...] | None = None

    def bars(self) -> Bars:
        """All bars as they are now.

        Raises
        ------
        InputError
            When the source cannot be read.
        """
        self._before = self._read = self._state()
        return self._load(self.source)

    def look(self) -> Bars | None:
        """All bars, if there may be new ones; else None.

        Raises
        ------
        InputError
            When the source cannot be read.
        """
        now = self._state()
        if now is None:
            return self._load(self.source)
        settled, self._before = now == self._before, now
        if now == self._read or not settled:
            return None
        return self.bars()

    def _state(self) -> tuple[tuple[str, int, int], ...] | None:
        """Name, size and time of each file; None of what is no file."""
        path = Path(self.source)
        if not path.exists():
            return None
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        found = [(str(file), file.stat()) for file in files]
        return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)
