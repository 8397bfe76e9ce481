"""`failure`: where a user's own file fails, in a line that the user can act on."""

from __future__ import annotations

import traceback

PREFIX = "_user_"  # of the names of modules that are users' files; those that a worker is sent have it too


def failure(error: BaseException) -> str:
    """The file, line and message of an error that went through a user's file; empty if it did not.

    Parameters
    ----------
    error : BaseException
        As caught, with its traceback.
    """
    lines = [
        f"{frame.f_code.co_filename}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith(PREFIX)
    ]
    return f"{lines[-1]}: {type(error).__name__}: {error}" if lines else ""
