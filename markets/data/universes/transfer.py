"""A transfer of one file that goes on where it broke off, in this process or an earlier one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

from markets.data.universes.package_index import Connection, Unavailable, local, reason, shown

WAITS = (1, 3)  # seconds before each retry of a transfer that broke off
CHUNK = 1 << 16  # bytes


def complete(part: Path, address: str, size: int, connection: Connection, done: Callable[[float], None]) -> None:
    """Append to a file what it lacks. A transfer that breaks off is taken up again after each of `WAITS`.

    Parameters
    ----------
    part : Path
        What is there so far, if it exists.
    address : str
        Of the whole file.
    size : int
        Of the whole file, in bytes.
    connection : Connection
    done : callable
        Called with the fraction that is there, from 0 to 1.

    Raises
    ------
    Unavailable
        When the file is not given out, or the transfer breaks off once more. What came is kept.
    """
    import requests

    if (source := local(address)) is not None:
        copyfile(source, part)
        return
    for wait in (*WAITS, None):
        try:
            _append(part, address, size, connection, done)
            return
        except requests.RequestException as error:
            if wait is None:
                raise Unavailable(f"{shown(address)} broke off ({reason(error)}); what came is kept") from None
            time.sleep(wait)


def _append(part: Path, address: str, size: int, connection: Connection, done: Callable[[float], None]) -> None:
    import requests

    there = part.stat().st_size if part.exists() else 0
    if there >= size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with connection.get(address, headers, stream=True) as answer:
        if answer.status_code >= 500:
            raise requests.HTTPError(f"it answers {answer.status_code} {answer.reason}")
        if there and answer.status_code == 416:  # the file ends before `part` does
            part.unlink()
            _append(part, address, size, connection, done)
            return
        if not answer.ok:
            raise Unavailable(f"{shown(address)} answers {answer.status_code} {answer.reason}")
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")  # else it begins anew
        there = there if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                there += file.write(chunk)
                done(min(there / size, 1.0))
            file.flush()
            os.fsync(file.fileno())
