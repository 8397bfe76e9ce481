"""The command line in this process: what `regimeshift WORDS` prints and returns, without the seconds that a process takes."""

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

COMMAND = (sys.executable, "-P", "-m", "regimeshift")  # in a process of its own, whether it is installed or not


def script() -> Path:
    """The installed console script; a test that needs it is skipped without it."""
    found = Path(sys.executable).with_name("regimeshift")
    if not found.exists():
        pytest.skip("needs the console script regimeshift: pip install -e .")
    return found


class Done(NamedTuple):
    """What a command left, under the names that `subprocess.run` has for it."""

    returncode: int
    stdout: str
    stderr: str


def call(*words, cwd, variables=None) -> Done:
    """Run ``regimeshift WORDS`` in the folder `cwd`; of MLflow's environment variables it sees those of `variables` alone."""
    from regimeshift.__main__ import main

    out, err = io.StringIO(), io.StringIO()

    def shown(message, category, filename, lineno, file=None, line=None):
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=sys.stderr)

    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | (variables or {})
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "argv", ["regimeshift", *map(str, words)]),
        mock.patch.object(warnings, "formatwarning"),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UserWarning)  # as a process of its own has them
        warnings.showwarning = shown
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


def refused(done: Done, *parts: str) -> None:
    """One clear line, status 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("regimeshift: ")
    for part in parts:
        assert part in lines[0]
