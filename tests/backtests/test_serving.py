import os
import subprocess
import sys
from pathlib import Path

import pytest

import backtests


@pytest.mark.process
def test_regression_a_served_model_survives_a_users_own_markets(tmp_path):
    """MLflow's server (uvicorn) puts the working directory first on the import path."""
    for package in ("markets", "strategies", "backtests"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    home = Path(backtests.__file__).parents[1]
    code = (
        "import runpy, sys; sys.path.insert(0, ''); before = list(sys.path)\n"
        f"runpy.run_path({str(home / 'backtests' / 'serving.py')!r})\n"
        "import markets; print(markets.__file__, sys.path == before)"
    )
    environment = {**os.environ, "PYTHONPATH": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(home / "markets" / "__init__.py"), "True"]
