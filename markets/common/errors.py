"""`InputError`: the exception for errors that the user can fix.

The command line prints the message of an `InputError` on one line and exits with status 2. Any other exception is a bug in
regimeshift and is shown with its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """The input is wrong. The message names the file, row, column or option, and how to fix it.

    Attributes
    ----------
    cell : (int, int, str) or None
        Bar, symbol and field of the wrong value of a panel, from which file readers find its row and column.
    """

    def __init__(self, message: str, cell: tuple[int, int, str] | None = None) -> None:
        super().__init__(message)
        self.cell = cell
