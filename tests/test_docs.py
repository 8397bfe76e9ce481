"""Every block of code in the README and the docs runs, in order, in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```([\w ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What runs elsewhere: make is what runs the tests, and the server has a test of its own (test_registry.py).
ELSEWHERE = ("make ", "mlflow models serve", "curl ")


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in BLOCK.findall(page.read_text()) if language in languages]


def run_python(code: str, folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(page, tmp_path):
    run_python("\n".join(blocks(page, "python")), tmp_path)


@pytest.mark.peers
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python peers")], ids=lambda p: p.name)
def test_blocks_with_other_tools_run(page, tmp_path):
    run_python("\n".join(blocks(page, "python peers")), tmp_path)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "")], ids=lambda p: p.name)
def test_shell_blocks_run(page, tmp_path):
    """A training in a block is shortened; everything else runs as it stands."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for block in blocks(page, ""):
        lines = [line for line in block.splitlines() if not any(word in line for word in ELSEWHERE)]
        script = (
            "\n".join(lines).rstrip("| \n").replace("regimeshift train stocks", "regimeshift train stocks --steps 5")
        )
        done = subprocess.run(
            ["bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
