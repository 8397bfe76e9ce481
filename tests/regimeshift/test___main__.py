import os
import subprocess
import sys
from pathlib import Path

import pytest

import regimeshift
from regimeshift.__main__ import shadowed


def test_nothing_is_shadowed_here():
    assert shadowed() == ""


@pytest.mark.process
@pytest.mark.parametrize("package", ["markets", "backtests"])
def test_regression_a_folder_that_shadows_a_package_is_named(package, tmp_path):
    """`python -m regimeshift` in a folder with a `markets/` died in an import."""
    wrong = tmp_path / package / "__init__.py"
    wrong.parent.mkdir()
    wrong.write_text("raise RuntimeError('the wrong one')")
    environment = {**os.environ, "PYTHONPATH": str(Path(regimeshift.__path__[0]).parent)}
    command = [sys.executable, "-m", "regimeshift", "data", "sp500"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"regimeshift: {wrong} shadows regimeshift's package '{package}': rename it")
    assert len(done.stderr.splitlines()) == 1
