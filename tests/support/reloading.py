"""Versions that are promoted are loaded anew in this process, without the seconds in which a new one imports everything.

That a new process does so is tested in test_registry.py and test_versions.py.
"""

import subprocess
from pathlib import Path

from backtests import versions


def here(folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    """In place of `versions._in_new_process`."""
    with versions._no_pickle():
        return subprocess.CompletedProcess((), 0, versions.reloaded(folder), "")
