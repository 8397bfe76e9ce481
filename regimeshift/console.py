"""Terminal output of the commands: tables, interrupts, paths."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

console = Console(highlight=False, soft_wrap=True)


def show(
    frame: pd.DataFrame, title: str = "", first: str = "", elsewhere: str = "use a wider terminal or a pipe"
) -> None:
    """Print a DataFrame of texts or numbers as a table.

    In a pipe or a file it has its full width. On a terminal that is too narrow for it, the last columns are left out, and a line
    below names them.

    Parameters
    ----------
    frame : DataFrame
        The most important columns first.
    title : str
    first : str
        Head of the column of row names.
    elsewhere : str
        How to see the columns that are left out.
    """
    columns = list(frame.columns)
    while _width(table := _table(frame[columns], first)) > _available() and len(columns) > 1:
        columns.pop()
    if title:
        console.print(title, style="italic", markup=False)
    _print_whole(table)
    if len(columns) < len(frame.columns):
        names = ", ".join(" ".join(str(column).split()) for column in frame.columns[len(columns) :])
        console.print(f"Not shown: {names}; {elsewhere}.", markup=False)


def say(text: str) -> None:
    """Print sentences: on a terminal wrapped between words, elsewhere as one line."""
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def _available() -> float:
    """Columns of text that there are."""
    return console.width if console.is_terminal else float("inf")


def _width(table: Table) -> int:
    """Columns of text that a table needs to be printed whole."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _print_whole(table: Table) -> None:
    """Print a table; outside a terminal at its full width, and without spaces at the ends of lines."""
    if console.is_terminal:
        console.print(table)
        return
    out = io.StringIO()
    Console(width=_width(table), file=out).print(table)
    lines = out.getvalue().splitlines()
    console.print("\n".join(line.rstrip() for line in lines).strip("\n"), markup=False)


def _table(frame: pd.DataFrame, first: str) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(escape(first), no_wrap=True)
    for column in frame.columns:
        table.add_column(escape(str(column)), justify="right", no_wrap=True)
    for name, row in frame.iterrows():
        table.add_row(escape(str(name)), *(escape(value) if isinstance(value, str) else f"{value:g}" for value in row))
    return table


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Context manager that shows a spinner with `what` is being done, on a terminal. Nothing else may be shown meanwhile."""
    if not console.is_terminal:
        yield
        return
    spinner = Spinner("dots", f"{what} ...", style="green")
    with Live(spinner, console=console, transient=True, refresh_per_second=10):  # unlike a Status, it is drawn at once
        yield


def listing(heads: Sequence[str], rows: Iterable[Sequence[str]], styles: Iterable[str], *, boxed: bool = True) -> None:
    """Print rows of text, each in its own style; on a terminal the last column is wrapped, elsewhere none is.

    Without a box it looks as the tables of `show` do.
    """
    table = Table(header_style="bold") if boxed else Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        prose = head == heads[-1] and console.is_terminal
        table.add_column(head, no_wrap=not prose, overflow="fold", ratio=1 if prose else None)
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*(escape(cell) for cell in row), style=style)
    _print_whole(table)


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
        tempfile.TemporaryFile(dir=folder).close()  # permission is not all: /proc is root's, and holds no files
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}); choose another folder") from None
    return folder


def page_file(path: str | Path, option: str) -> Path:
    """The path of a page to write, checked before anything is computed. Its folder is made if needed.

    Raises
    ------
    InputError
        When it is a folder, does not end in .html, or cannot be written; the message names `option`.
    """
    return _file(path, option, "pages are HTML", ".html", ".htm")


def table_file(path: str | Path, option: str) -> Path:
    """As `page_file`, of a table to write, which must end in .csv."""
    return _file(path, option, "tables are CSV", ".csv")


def _file(path: str | Path, option: str, kind: str, *suffixes: str) -> Path:
    from markets import InputError

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{option} {path}: a folder; name a file in it, such as {path / f'report{suffixes[0]}'}")
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{option} {path}: {kind}; name a file that ends in {suffixes[0]}")
    with naming(f"{option} {path}"):
        writable(path.parent)
    return path


@contextlib.contextmanager
def naming(option: str) -> Iterator[None]:
    """Context manager that puts the `option` whose value is at fault before the message of an `InputError`."""
    from markets import InputError

    try:
        yield
    except InputError as error:
        raise InputError(f"{option}: {error}") from None


def command_line(*words: str) -> str:
    """A line to be copied into a shell: an installed command with its arguments, by its location if it is not on the PATH."""
    name, *rest = words
    ours = Path(sys.executable).with_name(name)
    return shlex.join([name if shutil.which(name) == str(ours) else str(ours), *rest])
