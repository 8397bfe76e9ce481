import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.process
def test_regression_a_read_only_install_without_a_home_compiles_without_a_cache(tmp_path):
    """It died at import: cannot cache function. A file where a folder should be cannot be written to, not even by root."""
    for package in ("markets", "strategies"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in [tmp_path / package, *(p for p in (tmp_path / package).rglob("*") if p.is_dir())]:
            (folder / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment |= {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "default"}
    code = (
        "import strategies.optimal, markets, numpy\n"
        f"assert markets.__file__.startswith({str(tmp_path)!r})\n"
        "print(strategies.optimal.hindsight(numpy.ones((1, 3)), 0.1, (0, 1)))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[[1. 1. 1.]]\n"
    assert done.stderr.count("set NUMBA_CACHE_DIR") == 1
    # with a folder that can be written to, nothing is said and the kernel is kept
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "NUMBA_CACHE_DIR" not in done.stderr
    assert list((tmp_path / "cache").rglob("hindsight*.nbc"))
