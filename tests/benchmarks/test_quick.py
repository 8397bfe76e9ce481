"""Every benchmark that needs no peers still runs; the others are run by ``make bench``."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        "adaptation",
        "alarms",
        "ceilings",
        "headroom",
        "hierarchy",
        "planted",
        "published",
        "real_market",
        "significance",
        "transfer",
        "teachers",
        "walkforward",
    ],
)
def test_runs(name):
    """`walkforward` imported a name that no longer existed."""
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{name}", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1].startswith("{")
