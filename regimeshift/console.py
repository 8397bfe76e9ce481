"""Terminal output of the commands: tables, interrupts, paths."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

console = Console(highlight=False, soft_wrap=True)


def show(frame: pd.DataFrame, title: str = "", first: str = "") -> None:
    """Print a DataFrame of texts or numbers as a table."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    table.add_column(first, no_wrap=True)
    for column in frame.columns:
        table.add_column(str(column), justify="right")
    for name, row in frame.iterrows():
        table.add_row(str(name), *(value if isinstance(value, str) else f"{value:g}" for value in row))
    console.print(table)


def listing(heads: Sequence[str], rows: Iterable[Sequence[str]], styles: Iterable[str]) -> None:
    """Print rows of text, each in its own style; only the last column is wrapped."""
    table = Table(header_style="bold")
    for head in heads:
        prose = head == heads[-1]
        table.add_column(head, no_wrap=not prose, overflow="fold", ratio=1 if prose else None)
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*(escape(cell) for cell in row), style=style)
    console.print(table, soft_wrap=False)


@contextlib.contextmanager
def kept(how: str, file: Path | None = None) -> Iterator[None]:
    """Context manager that adds a hint `how` to continue to a Ctrl-C, if `file` (the saved progress) exists."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(*([how] if file is None or file.exists() else [])) from None


def writable(path: str | Path) -> Path:
    """Create the folder `path` if needed and check that it can be written to, before anything is computed.

    Raises
    ------
    InputError
        When it cannot.
    """
    from markets import InputError

    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from None
    return folder


def command_path(name: str) -> str:
    """How to call an installed command: its name if it is on the PATH, else its location."""
    if shutil.which(name):
        return name
    path = Path(sys.executable).with_name(name)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
