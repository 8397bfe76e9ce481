"""The house: arrows between the packages run one way, and users' folders of the same names do no harm."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "markets": set(),
    "strategies": {"markets"},
    "metalearner": {"markets", "strategies"},
    "backtests": {"markets", "strategies"},
    "regimeshift": {"markets", "strategies", "metalearner", "backtests"},
}


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found & MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        wrong = imported(path) - MAY_IMPORT[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_tests_mirror_the_tree_by_path(package):
    for path in (ROOT / "tests" / package).rglob("test_*.py"):
        tested = path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
        there = (ROOT / tested).is_file() or (ROOT / tested.with_suffix("")).is_dir()
        assert there, f"{path.relative_to(ROOT)} tests nothing: there is no {tested}"


def test_no_file_of_the_house_unpickles():
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            assert "pickle.load" not in text
            assert "torch.load" not in text


def test_a_users_own_folders_do_not_shadow_ours(tmp_path):
    for package in MAY_IMPORT:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    script = Path(sys.executable).with_name("regimeshift")
    done = subprocess.run([script, "data", "sp500"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5031 bars" in done.stdout


def test_markets_does_not_import_torch():
    code = "import sys, markets; print('torch' in sys.modules, 'mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
