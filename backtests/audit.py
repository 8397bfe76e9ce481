"""An append-only log of decisions: one JSON line each, chained by SHA-256, whole after a kill.

Each line holds under ``previous`` the hash of the line before it, so that none can be changed, removed or put between others
without the lines after it saying so. What is cut off at the end does not show; whoever must rule that out keeps the hash of the
last line elsewhere. A line is one write, flushed to disk before `append` returns. A process that is killed meanwhile leaves a
line without its end: it was never reported as written, so readers leave it out and the next `append` cuts it off.

Processes and threads that append at once wait for each other (``flock`` on the file), so that the chain has no fork. To rotate a
log, rename it; the new file begins a chain of its own.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from markets import InputError

FIRST = "0" * 64  # what the first line holds as the hash of the line before
_BLOCK = 8192  # bytes read at a time to find the last line


def append(path: str | Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Append one record to a log, which is created if need be, and return it as written.

    Parameters
    ----------
    path : str or Path
        Its folder must exist.
    record : mapping of str
        What JSON can hold, with finite numbers; ``previous`` is added.

    Raises
    ------
    InputError
        When the file cannot be written or locked.
    ValueError
        When JSON cannot hold the record, or it has a ``previous`` of its own.
    """
    if "previous" in record:
        raise ValueError("a record may not have a 'previous' of its own: it is the hash of the line before")
    json.dumps(dict(record), allow_nan=False)  # before the file is touched
    with _locked(path) as handle:
        end, last = _last_line(handle)
        chained = {"previous": FIRST if last is None else _digest(last), **record}
        line = json.dumps(chained, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        if os.fstat(handle).st_size > end:
            os.ftruncate(handle, end)  # the torn line of a process that was killed
        if os.write(handle, line) < len(line):
            os.ftruncate(handle, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    return chained


def read(path: str | Path) -> list[dict[str, Any]]:
    """All records of a log, oldest first, after a check of the chain; none if there is no such file.

    A last line without its end, which a killed process left, is left out.

    Raises
    ------
    InputError
        When a line was changed, removed or added; the message names the file and the line.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: the log cannot be read ({error.strerror})") from None
    records, before = [], FIRST
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError(f"{path}: line {number} is no record of this log; it was changed after it was written")
        if record.get("previous") != before:
            raise InputError(
                f"{path}: line {number} does not follow the line before it: one of the two was changed, or lines between them "
                "were removed or added"
            )
        records.append(record)
        before = _digest(line)
    return records


def prepare(path: str | Path) -> None:
    """Check that a log can be gone on with, before there is anything to write; it is created if need be.

    Raises
    ------
    InputError
        When it cannot be written or locked, or its chain is broken.
    """
    read(path)
    with _locked(path):
        pass


@contextmanager
def _locked(path: str | Path) -> Iterator[int]:
    """Context manager that opens a log for appending, for this process and thread alone."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"{path}: the log cannot be written ({error.strerror}); name a file in a folder of yours"
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(f"{path}: the log cannot be locked ({error.strerror}); put it on a local disk") from None
        yield handle
    finally:
        os.close(handle)  # which frees the lock


def _last_line(handle: int) -> tuple[int, bytes | None]:
    """Where the last whole line ends, in bytes, and that line; 0 and None if there is none."""
    start = os.fstat(handle).st_size
    tail = b""
    while start and tail.count(b"\n") < 2:  # its own end, and that of the line before
        size = min(_BLOCK, start)
        start -= size
        tail = os.pread(handle, size, start) + tail
    whole, newline, _ = tail.rpartition(b"\n")
    return (start + len(whole) + 1, whole.rpartition(b"\n")[2]) if newline else (0, None)


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
