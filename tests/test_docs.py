"""The README and the docs: every block of code runs, every path and link is there, and the site builds strictly."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import page_runner
import pytest
from command import call, script

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```([\w ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What runs elsewhere: make is what runs the tests, and servers have tests of their own (test_registry.py, test_server.py).
ELSEWHERE = ("make ", "pip install", "mlflow models serve", "regimeshift serve", "curl ", "torchrun ")
# What takes long on a page is shortened here, certificates and promotions by page_runner.py; the rest runs as it stands.
SHORTER = {
    "RL2().fit(": "RL2(training=__import__('metalearner').Training(steps=2, evaluate_every=2)).fit(",
    "regimeshift train stocks": "regimeshift train stocks --steps 2",
    "regimeshift backtest stocks --strategies all --from 2000": "regimeshift backtest stocks --strategies all --from 2022",
    "regimeshift backtest stocks --models": "regimeshift backtest stocks --start 2021 --models",
    "--replay 2019:2022": "--replay 2022-12:2022",
    "regimeshift robustness stocks": "regimeshift robustness stocks --resamples 3",
    "--draws 40": "--draws 20",
    "--trials 6 --steps 40": "--trials 2 --steps 4",
    "--trials 3 --steps 20": "--trials 2 --steps 4",
}

SLOW = ("docs/deploying.md", "docs/serving.md", "docs/team.md")  # `make slow` runs their shell blocks


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in BLOCK.findall(page.read_text()) if language in languages]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def shortened(text: str) -> str:
    for written, shorter in SHORTER.items():
        text = text.replace(written, shorter)
    return text


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The environment in which pages run, and the address of a process that has imported what they import."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    with tempfile.TemporaryDirectory() as folder:  # the address of a socket must be short
        address = f"{folder}/socket"
        script = Path(folder) / "regimeshift"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {page_runner.__file__} {address} "$@"\n')
        script.chmod(0o755)
        environment["PATH"] = f"{folder}:{Path(sys.executable).parent}:{environment['PATH']}"
        server = subprocess.Popen([sys.executable, page_runner.__file__, address], env=environment, cwd=folder)
        try:
            while not Path(address).exists():
                assert server.poll() is None, "the process that runs pages has ended"
                time.sleep(0.05)
            yield environment, address
        finally:
            server.kill()
            server.wait()


def run_python(code: str, folder: Path, started) -> None:
    environment, address = started
    with (folder / ".said").open("w+") as output, Path(os.devnull).open() as nothing:
        request = {"code": code, "folder": str(folder), "environment": environment}
        status = page_runner.ask(address, request, (nothing.fileno(), output.fileno(), output.fileno()))
        output.seek(0)
        text = output.read()
    assert status == 0, text
    assert "Warning: " not in text, text


# On these pages a reader copies one block; on the others, blocks go on from one another.
ON_THEIR_OWN = {"docs/extending.md", "docs/execution.md"}


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name_of)
def test_python_blocks_run(page, tmp_path, started):
    found = blocks(page, "python")
    for code in found if name_of(page) in ON_THEIR_OWN else ["\n".join(found)]:
        run_python(shortened(code), tmp_path, started)


@pytest.mark.peers
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python peers")], ids=name_of)
def test_blocks_with_other_tools_run(page, tmp_path):
    code = "\n".join(blocks(page, "python peers"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_shortened_is_on_a_page():
    """A line that was written anew would run at its full length, and nobody would see why the tests take so long."""
    text = "\n".join(code for page in PAGES for code in blocks(page, "", "python"))
    assert all(written in text for written in SHORTER)


def scripts(page: Path) -> list[str]:
    """The command lines of each block of a page, without those that run elsewhere."""
    found = []
    for block in blocks(page, ""):
        lines = [line for line in block.splitlines() if not line.startswith(ELSEWHERE) and " curl " not in f" {line}"]
        found.append(shortened("\n".join(lines).rstrip("| \n")))
    return [lines for lines in found if lines]


def marked(page: Path) -> Any:
    """The page, marked slow if its commands train, register and promote anew."""
    return pytest.param(page, marks=pytest.mark.slow) if name_of(page) in SLOW else page


@pytest.mark.timeout(900)  # on a busy machine
@pytest.mark.parametrize("page", [marked(p) for p in PAGES if scripts(p)], ids=name_of)
def test_shell_blocks_run(page, tmp_path, started):
    """A page in one folder, one block after another: each command line really runs, a later one on what an earlier one made."""
    environment, _ = started
    for lines in scripts(page):
        done = subprocess.run(
            ["bash", "-euc", lines], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{lines}\n{done.stderr}"


def test_the_command_of_pages_is_the_console_script(tmp_path, started):
    """What pages run in a fork is what the installed script does."""
    environment, _ = started
    stand_in = Path(environment["PATH"].split(":")[0]) / "regimeshift"

    def run(program: Path, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    assert run(stand_in, "data", "sp500") == run(script(), "data", "sp500")
    code, _, message = run(stand_in, "data", "nowhere.csv")
    assert code == 2
    assert "nowhere.csv" in message


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


# ---------------------------------------------------------------------------------------------------- in production

DEPLOY = DOCS / "deploy.md"
INSTALLED = "/opt/regimeshift/bin/regimeshift"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units_of_the_page(tmp_path):
    for block in blocks(DEPLOY, "ini"):
        unit = tmp_path / block.splitlines()[0].removeprefix("# /etc/systemd/system/")
        unit.parent.mkdir(exist_ok=True)
        unit.write_text(block.replace(INSTALLED, "/bin/true"))
    units = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(units) == 4
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}  # the drop-in counts there alone
    command = ["systemd-analyze", "verify", *units]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_of_units_have_their_options(tmp_path):
    lines = re.findall(rf"{INSTALLED} (\w+)([^\n>]*)", DEPLOY.read_text())
    assert {"signal", "serve", "watch"} <= {name for name, _ in lines}
    for name, words in lines:
        shown = call(name, "--help", cwd=tmp_path)
        assert shown.returncode == 0, f"{name}: {shown.stderr}"
        for option in re.findall(r"--[\w-]+", words):
            assert option in shown.stdout, f"{name} {option}"


# ---------------------------------------------------------------------------------------------------- names and paths


def defined(path: Path) -> set[str]:
    """Functions and classes of a file, methods as ``Class.method``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def test_the_twelve_things_are_where_the_table_says():
    text = (DOCS / "architecture.md").read_text().partition("## Where things are")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(rows) == 12, "the table has twelve rows"
    for what, path, name in rows:
        assert name in defined(ROOT / path), f"{what}: {path} has no {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_pages_name_exist(page):
    """In code style, as `markets/tasks.py`."""
    folders = "markets|strategies|metalearner|backtests|regimeshift|benchmarks|tests|docs"
    for path in re.findall(rf"`((?:{folders})/[\w/]+\.\w+)`", page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's at import
@pytest.mark.parametrize("package", ["markets", "strategies", "metalearner", "backtests"])
def test_the_reference_has_every_public_name(package):
    text = (DOCS / "api" / f"{package}.md").read_text()
    names = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    shown = {name: resolve_name(name) for name in names if not name.startswith("markets.sb3")}  # needs an extra
    public = {name: getattr(resolve_name(package), name) for name in resolve_name(package).__all__}
    missing = {
        name
        for name, value in public.items()
        if callable(value) and not any(value is other for other in shown.values())
    }
    if package == "strategies":
        missing -= {"Plan"}  # of markets
    assert not missing, missing


# ---------------------------------------------------------------------------------------------------- the site


@pytest.mark.skipif(find_spec("mkdocs") is None and "CI" not in os.environ, reason="pip install 'regimeshift[docs]'")
def test_the_site_builds_strictly_and_asks_no_other_host(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert pages >= {str(path.relative_to(DOCS).with_suffix(".html")) for path in DOCS.rglob("*.md")}
    assert pages >= {f"tutorials/{path.stem}.html" for path in (ROOT / "examples").glob("*.ipynb")}
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//|<link\b[^>]*\bhref=[\"']?(?:https?:)?//"
    )
    for page in pages:
        assert not loads.search((site / page).read_text()), f"{page} loads something from another host"
    assert (site / "benchmarks" / "results" / "real_market_paths.png").exists(), (
        "a picture from outside docs/ comes along"
    )
