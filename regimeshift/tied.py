"""A command that ends with its caller, together with all processes that it started.

`run_tied` starts ``python -m regimeshift.tied COMMAND...`` in a session of its own, which starts COMMAND in a process group and
reads a pipe from the caller. The pipe closes when the caller ends, even by ``kill -9``; then the group is ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE = 3.0
"""Seconds that a group has to end in after SIGTERM, before SIGKILL."""


def run_tied(command: list[str], environment: dict[str, str]) -> int:
    """Run `command` until it ends, and return its exit status. It ends with this process, at the latest."""
    tied = [sys.executable, "-P", "-m", "regimeshift.tied", *command]
    with subprocess.Popen(tied, env=environment, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        try:
            return process.wait()
        finally:
            process.stdin.close()


def _main(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def end_with_caller() -> None:
        os.read(0, 1)  # nothing is ever sent: it returns when the pipe is closed
        _end(process.pid)

    threading.Thread(target=end_with_caller, daemon=True).start()
    status = process.wait()
    _end(process.pid)  # processes that the command has left behind
    return status


def _end(group: int) -> None:
    """End a process group: politely, then by force. Returns when it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + PATIENCE
        try:
            os.killpg(group, number)
            while time.monotonic() < limit:
                os.killpg(group, 0)  # raises when nobody is left
                time.sleep(0.02)
        except ProcessLookupError:
            return


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
