"""Shared by all benchmarks: command-line options, and saving results with the machine, package versions and commit."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

from backtests.provenance import git_commit, package_versions

RESULTS = Path(__file__).with_name("results")


def options(description: str, sources: str = "") -> argparse.Namespace:
    """Parse the options ``--quick`` and ``--seed`` and, if `sources` describes them, any number of data sets."""
    parser = argparse.ArgumentParser(description=description)
    if sources:
        parser.add_argument("sources", nargs="*", help=sources)
    parser.add_argument("--quick", action="store_true", help="run the same code on less work, within a minute")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def finish(name: str, figures: dict, quick: bool) -> None:
    """Print the figures as the last line; unless `quick`, also save them to ``benchmarks/results/NAME.json``."""
    machine = {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        record = {"figures": figures, "machine": machine, "packages": package_versions(), "commit": git_commit()}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(figures))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
