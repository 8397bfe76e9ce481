"""The house: which room may import which, no circles, the field's words, and users' folders of the same names do no harm."""

import ast
import io
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest
from command import script

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "markets": set(),
    "strategies": {"markets"},
    "metalearner": {"markets", "strategies"},
    "backtests": {"markets", "strategies"},
    "regimeshift": {"markets", "strategies", "metalearner", "backtests"},
}
# Inside a package: what a room (a folder, or a file at the top) may import of the others. Each sees what stands above it.
ROOMS = {
    "markets": {
        "common": set(),
        "bars": {"common"},
        "data": {"common", "bars"},
        "features": {"common", "bars"},
        "accounting": {"common", "bars"},
        "regimes": {"common", "bars", "data"},
        "quality": {"common", "bars", "data"},
        "tasks": {"common", "bars", "features", "regimes"},
        "envs": {"common", "bars", "data", "features", "accounting", "regimes", "tasks"},
        "synthetic": {"common", "bars", "features", "accounting", "regimes", "tasks", "envs"},
        "sb3": {"envs"},
    },
    "strategies": {
        "serialization": set(),
        "networks": set(),
        "failures": set(),
        "strategy": {"failures"},
        "rules": {"strategy"},
        "limits": {"strategy", "rules"},
        "user_file": {"strategy", "failures"},
        "optimal": {"strategy"},
        "ladder": {"optimal"},
        "learned": {"strategy", "serialization"},
        "policy": {"strategy", "rules", "networks", "serialization", "learned", "named"},
        "memory": {"strategy", "policy"},
        "portfolio": {"strategy", "rules", "serialization", "learned"},
        "blend": {"strategy", "serialization", "learned"},
        "named": {"strategy", "rules", "limits", "user_file"},
        "needs": {"strategy", "learned"},
        "stored": {"strategy", "rules", "limits", "user_file", "serialization", "learned", "needs", "blend"},
        "classes": {"strategy", "rules", "user_file"},
    },
    "metalearner": {
        "objective": set(),
        "distributed": {"objective"},
        "training": {"objective", "distributed"},
        "environments": {"objective"},
        "objectives": {"objective", "distributed", "environments"},
        "teachers": {"objective", "objectives"},
        "learners": {"objective", "training", "environments", "objectives", "teachers"},
        "evaluation": {"objective", "training", "objectives", "learners"},
        "inverse": set(),
        "tuning": {"objectives", "learners"},
    },
    "backtests": {
        "provenance": set(),
        "section": set(),
        "metrics": set(),
        "results": {"metrics"},
        "report": {"provenance", "section", "metrics", "results"},
        "significance": {"results", "section"},
        "engine": {"section", "results", "report"},
        "sweeps": {"section", "metrics", "results", "report", "engine"},
        "robustness": {"section", "metrics", "results", "report", "engine"},
        "headroom": {"section", "engine"},
        "monitoring": {"significance"},
        "lookup": set(),
        "remote": set(),
        "tracking": {"provenance", "metrics", "results", "report", "significance", "lookup", "remote"},
        "studies": {"tracking"},
        "audit": set(),
        "watch": {
            "results",
            "significance",
            "engine",
            "monitoring",
            "tracking",
            "moves",
            "gates",
            "versions",
            "registry",
            "audit",
        },
        "request": set(),
        "contract": {"request"},
        "deployment": {"request", "contract"},
        "carried": {"contract", "deployment", "request"},
        "reasons": set(),
        "explain": {"reasons", "versions"},
        "decider": {"audit", "reasons", "carried", "deployment", "request"},
        "orders": {"deployment"},
        "served": {"contract", "carried", "decider", "deployment"},
        "server": {"decider", "lookup", "moves", "versions"},
        "serving": {"served"},
        "moves": {"remote"},
        "versions": {"remote", "tracking", "request", "deployment", "served", "lookup", "moves"},
        "certificate": {"engine", "robustness"},
        "card": {"metrics", "results", "report", "contract", "certificate"},
        "side_by_side": {"results", "significance", "tracking"},
        "gates": {"certificate", "side_by_side"},
        "registry": {
            "provenance",
            "results",
            "engine",
            "tracking",
            "contract",
            "deployment",
            "served",
            "moves",
            "versions",
            "certificate",
            "card",
            "side_by_side",
            "gates",
        },
    },
}
# Names that the field has other words for (DESIGN.md); as identifiers none may come back.
RETIRED = {
    "lessons", "Lessons", "lesson", "Lesson", "worlds", "Worlds", "drawn", "Drawn", "made", "told", "Told", "said", "everything",
    "numbers", "own", "Choices", "Moves", "longest", "lasting", "log_spread", "earned_share", "room", "steered", "stepped",
    "scratch_array", "neutral", "used",
}  # fmt: skip
# A half spread is the bid–ask one; a standard deviation is `std`.
ABOUT_BID_ASK = (
    "markets/accounting/",
    "markets/bars/",
    "markets/data/universes/",
    "markets/synthetic/augment.py",
    "backtests/contract.py",
    "backtests/request.py",
    "strategies/needs.py",
    "strategies/strategy.py",
    "backtests/headroom/headroom.py",
    "tests/backtests/headroom/",
    "backtests/robustness/trading.py",
    "regimeshift/options.py",
    "regimeshift/commands/data.py",
    "tests/markets/bars/",
    "tests/markets/data/",
    "tests/markets/accounting/",
    "tests/markets/synthetic/test_augment.py",
    "tests/metalearner/objectives/test_pathwise.py",
    "tests/strategies/test_optimal.py",
    "tests/backtests/engine/",
    "tests/backtests/test_deployment.py",
    "tests/strategies/test_needs.py",
    "tests/backtests/robustness/test_trading.py",
    "tests/regimeshift/test_options.py",
    "tests/regimeshift/commands/test_data.py",
    "tests/peers/",
    "tests/support/",
    "tests/markets/envs/",
)


def modules() -> dict[str, Path]:
    """Module names of the house and their files."""
    found = {}
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Module to the modules of the house that it imports: at the top, within functions, or for type checkers alone."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & known.keys()
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, (
                    f"{name}: a relative import, which this test does not resolve; write the full name"
                )
                if node.module not in known:
                    continue
                for alias in node.names:  # a module of the package, or a name in its __init__
                    module = f"{node.module}.{alias.name}"
                    found[name].add(module if module in known else node.module)
    return found


def package_of(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    for module, wanted in imports().items():
        if package_of(module) == package:
            wrong = {w for w in wanted if package_of(w) not in MAY_IMPORT[package] | {package}}
            assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_as_the_table_says(package):
    rooms = ROOMS[package]
    there = {name.split(".")[1] for name in modules() if name.startswith(f"{package}.")}
    assert there == set(rooms), "the table is the floor plan"
    for module, wanted in imports().items():
        if not module.startswith(f"{package}."):
            continue
        here = module.split(".")[1]
        assert package not in wanted, f"{module} imports the package that it is part of"
        reached = {w.split(".")[1] for w in wanted if w.startswith(f"{package}.")}
        assert reached <= rooms[here] | {here}, f"{module} reaches {reached - rooms[here] - {here}}"


def test_there_is_no_circle():
    """Deferred imports and those for type checkers count: a circle is a circle."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(imports()[module]):
                visit(other, [*path, module])
            done.add(module)

    for module in imports():
        visit(module, [])


@pytest.mark.parametrize(("package", "most"), [("markets", 12), ("metalearner", 12)])
def test_a_package_shows_its_story_at_its_top(package, most):
    entries = [p.name for p in (ROOT / package).iterdir() if p.name != "__pycache__"]
    assert len(entries) <= most, sorted(entries)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_tests_mirror_the_tree_by_path(package):
    for path in (ROOT / "tests" / package).rglob("test_*.py"):
        tested = path.relative_to(ROOT / "tests").with_name(path.name.removeprefix("test_"))
        there = (ROOT / tested).is_file() or (ROOT / tested.with_suffix("")).is_dir()
        assert there, f"{path.relative_to(ROOT)} tests nothing: there is no {tested}"


def test_no_module_is_imported_by_a_string():
    """Tables of imports do not see it. The vendors' libraries are not ours."""
    for name, path in modules().items():
        if name != "markets.data.vendors.base":
            assert "import_module" not in identifiers(path), name


def identifiers(path: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def words(name: str) -> set[str]:
    """An identifier, and the same without its leading underscore."""
    return {name, name.strip("_")}


def test_no_retired_word_is_an_identifier():
    folders = [*MAY_IMPORT, "tests", "benchmarks", "examples"]
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        found = {word for identifier in identifiers(path) for word in words(identifier)}
        wrong = found & (RETIRED if name.startswith(ABOUT_BID_ASK) else RETIRED | {"spread"})
        assert not wrong, f"{name}: {sorted(wrong)}"


def test_settings_have_the_fields_names():
    from dataclasses import fields

    from metalearner import PPO, Inner
    from strategies.networks import Shape

    names = {f.name for f in fields(PPO)}
    assert {"gae_lambda", "max_steps", "episodes_per_trial", "initial_std"} <= names
    assert not names & {"decay", "longest", "runs", "spread"}
    assert "context_vector" in {f.name for f in fields(Shape)}
    assert "context" not in {f.name for f in fields(Shape)}
    assert Inner(adapts="context_vector").adapts == "context_vector"


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
    done = subprocess.run([script(), "data", "sp500"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5031 bars" in done.stdout


def test_regression_processes_of_tests_import_this_checkout(tmp_path):
    """Where it was not installed, processes in other folders did not find it; where another one was, they took that."""
    code = "import markets, regimeshift; print(markets.__file__, regimeshift.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(Path(path).is_relative_to(ROOT) for path in done.stdout.split())


def test_markets_does_not_import_torch():
    code = "import sys, markets; print('torch' in sys.modules, 'mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
