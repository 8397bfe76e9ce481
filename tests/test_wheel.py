"""A wheel holds every room of the house, and works in an environment that has never seen the checkout."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.process

IMPORT_ALL = """
import importlib, pkgutil
from pathlib import Path
count = 0
for package in ("markets", "strategies", "metalearner", "backtests", "regimeshift"):
    module = importlib.import_module(package)
    assert Path(module.__file__).is_relative_to({site!r}), module.__file__
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if found.name == "markets.sb3":  # needs stable-baselines3, as it says
            continue
        importlib.import_module(found.name)
        count += 1
print(count)
"""


def run(*command, cwd):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # which has the checkout
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_works_in_a_bare_environment(tmp_path):
    """The dependencies are lent from this environment, whose own (editable) regimeshift the bare one does not see."""
    pytest.importorskip("setuptools")  # builds the wheel
    source = tmp_path / "source"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, source, cwd=tmp_path)
    for name in run("git", "ls-files", "--modified", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():  # what is tested is what stands here, committed or not
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    wheels = tmp_path / "wheels"
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        wheels,
        source,
        cwd=tmp_path,
    )
    (wheel,) = wheels.glob("regimeshift-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare", cwd=tmp_path)
    python = tmp_path / "bare" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    text = run(python.with_name("regimeshift"), "--help", cwd=tmp_path)
    assert "demo" in text
    modules = sum(
        1
        for p in ("markets", "strategies", "metalearner", "backtests", "regimeshift")
        for _ in (ROOT / p).rglob("*.py")
    )
    imported = int(run(python, "-W", "ignore", "-c", IMPORT_ALL.format(site=str(site)), cwd=tmp_path))
    assert imported == modules - 5 - 1  # the packages themselves, and sb3
