"""Saved files say in which format they are, so that a change of names never silently misreads one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markets.common.errors import InputError

FORMAT = 1


def check_format(config: Mapping[str, Any], path: str | Path, remedy: str) -> None:
    """Raise `InputError` unless `config`, as read from `path`, is of the format that this version reads.

    Parameters
    ----------
    config : mapping
        With ``format``; files older than formats have none.
    path : str or Path
    remedy : str
        What to do with an older file, as "train it again".
    """
    found = config.get("format")
    if found == FORMAT:
        return
    if found is None or (isinstance(found, int) and found < FORMAT):
        age = "an earlier version wrote it" if found is None else f"format {found} is of an earlier version"
        raise InputError(f"{path}: {age}, whose names this one does not read; {remedy}")
    raise InputError(
        f"{path}: format {found} is of a later version than this one, which reads {FORMAT}; upgrade regimeshift"
    )
