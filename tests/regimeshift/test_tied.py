import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
# A server with a worker, which may ignore SIGTERM; each says its number and would live for a minute.
SERVER = """
import os, signal, time
worker = os.fork()
if not worker and {stubborn}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, f"{{os.getpid()}}\\n".encode())
time.sleep(60)
"""
CALLER = "import os, sys; from regimeshift.tied import run_tied; sys.exit(run_tied(sys.argv[1:], dict(os.environ)))"


def start(code, **options):
    # a shell starts commands in its background with SIGINT ignored, and so would be what they start
    reset = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", reset + CALLER, sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)


def lives(number):
    """Whether a process exists and is no zombie, which waits for whoever adopted it."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_regression_a_server_ends_with_its_caller(number):
    """`regimeshift ui` killed left MLflow's server running."""
    caller = start(SERVER.format(stubborn=number == signal.SIGKILL))
    processes = [int(caller.stdout.readline()) for _ in range(2)]
    assert all(map(lives, processes))
    caller.send_signal(number)
    assert caller.wait() != 0
    limit = time.monotonic() + 30
    while any(map(lives, processes)):
        assert time.monotonic() < limit, "the server outlives its caller"
        time.sleep(0.05)


def test_the_status_is_the_commands():
    assert start("raise SystemExit(3)").wait() == 3
    assert start("pass").wait() == 0
