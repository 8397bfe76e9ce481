"""`Following`: a source of bars that grows, looked at again and again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG

from markets import Bars

SETTLED = 1.0  # seconds without a write after which a file is taken for whole


class Following:
    """A file, a folder of files, or a vendor, of which new bars are expected.

    A file is read again when its size or time has changed, and only once nothing has been written for a second: whoever writes a
    bar may be in the middle of a number. Anything else is read at each look.

    Parameters
    ----------
    source : str
        As for `markets.load`.
    load : callable
        Reads it.
    settled : float
        Seconds without a write.
    """

    def __init__(self, source: str, load: Callable[[str], Bars], settled: float = SETTLED):
        self.source, self._load, self.settled = source, load, settled
        self._read: dict[str, tuple[int, int]] | None = None

    def bars(self) -> Bars:
        """All bars as they are now; waits while the source is written.

        Raises
        ------
        InputError
            When the source cannot be read.
        """
        while True:
            self._read = self._state()
            if self._read:
                age = time.time() - max(written for _, written in self._read.values()) / 1e9
                if 0 <= age < self.settled:  # a time in the future is another machine's clock
                    time.sleep(self.settled - age)
                    continue
            found = self._load(self.source)
            if self._state() == self._read:
                return found

    def look(self) -> Bars | None:
        """All bars, if there may be new ones; else None.

        Raises
        ------
        InputError
            When the source cannot be read.
        """
        now = self._state()
        return None if now is not None and now == self._read else self.bars()

    def _state(self) -> dict[str, tuple[int, int]] | None:
        """Size and time of writing of each file; None of what is no file."""
        path = Path(self.source)
        if not path.exists():
            return None
        found = {}
        for file in path.rglob("*") if path.is_dir() else [path]:
            with contextlib.suppress(FileNotFoundError):  # one that was renamed meanwhile, as by whoever writes it
                stat = file.stat()
                if S_ISREG(stat.st_mode):
                    found[str(file)] = (stat.st_size, stat.st_mtime_ns)
        return found
