"""What a user can mend, as one exception type.

The command line prints the message of an `InputError` on one line and exits with status 2; anything else that is
raised is a fault of ours and keeps its traceback.
"""


class InputError(ValueError):
    """The input is wrong: the message names the file, row, column or option, and says what to do."""
