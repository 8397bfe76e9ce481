"""What a user can mend, as one exception type.

The command line prints the message of an `InputError` on one line and exits with status 2; anything else that is
raised is a fault of ours and keeps its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """The input is wrong: the message names the file, row, column or option, and says what to do.

    Attributes
    ----------
    cell : (int, int, str) or None
        Bar, symbol and field of the value of a panel that is wrong, for a reader of files to say where it came from.
    """

    def __init__(self, message: str, cell: tuple[int, int, str] | None = None) -> None:
        super().__init__(message)
        self.cell = cell
