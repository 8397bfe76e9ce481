"""Whether progress can be seen: on a terminal and in a notebook, but not in a pipe or a file."""

from __future__ import annotations


def visible(progress: bool = True) -> bool:
    """`progress`, but False where standard output is a pipe or a file, which progress bars would only litter."""
    from rich import get_console

    console = get_console()
    return progress and (console.is_terminal or console.is_jupyter)
