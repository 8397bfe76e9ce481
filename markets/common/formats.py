"""The format version in saved files, which keeps files of another version from being misread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markets.common.errors import InputError

FORMAT = 1


def check_format(config: Mapping[str, Any], path: str | Path, remedy: str) -> None:
    """Raise `InputError` unless `config`, as read from `path`, has the format that this version reads.

    Parameters
    ----------
    config : mapping
        Its key ``format`` holds the format version. Files from before there were format versions lack it.
    path : str or Path
    remedy : str
        What to do about an older file, such as "train it again".
    """
    found = config.get("format")
    if type(found) is int and found == FORMAT:
        return
    if found is not None and type(found) is not int:
        raise InputError(f"{path}: format is {found!r}; it must be a whole number, and the file is damaged")
    if found is None or found < FORMAT:
        age = "an earlier version wrote it" if found is None else f"format {found} is of an earlier version"
        raise InputError(f"{path}: {age}, and this version cannot read it; {remedy}")
    raise InputError(
        f"{path}: format {found} is of a later version (this one reads format {FORMAT}); upgrade regimeshift"
    )
