import copy
import sys

import numpy as np
import pytest

from backtests import walk_forward
from markets import InputError
from strategies import EqualWeight
from strategies.failures import failure
from strategies.user_file import load_strategy, origin

GOOD = """
from dataclasses import dataclass
import numpy as np
from strategies import Plan, Strategy

@dataclass
class Half(Strategy):
    name: str = "half"
    share: float = 0.5

    def plan(self, bars):
        return Plan(np.full(bars.shape, self.share))

def other():
    return Half(share=0.1)

ready = Half()
number = 3
"""


def test_a_class_a_function_and_a_strategy_load(tmp_path, bars):
    (tmp_path / "strategies.py").write_text(GOOD)  # a user's file may have the name of our package
    for name, share in (("Half", 0.5), ("other", 0.1), ("ready", 0.5)):
        make = load_strategy(f"{tmp_path / 'strategies.py'}:{name}")
        assert (make().plan(bars).aim == share).all()
    assert str(tmp_path) not in sys.path


def test_strategies_of_files_run_in_other_processes(tmp_path, bars):
    """Regression: joblib's workers cannot import a user's file, so they are sent the code."""
    (tmp_path / "own.py").write_text(GOOD)
    mine = [load_strategy(f"{tmp_path / 'own.py'}:{name}")() for name in ("Half", "other")]
    mine[1].name = "other"
    one, two = (walk_forward(mine, bars, jobs=jobs, progress=False) for jobs in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.equity, b.equity)


@pytest.mark.parametrize("jobs", [1, 2])
def test_regression_a_plan_that_fails_is_refused_with_its_line(tmp_path, bars, jobs):
    """It was a traceback through joblib; the line is known in a worker too, whose module is a copy."""
    text = GOOD.replace("        return Plan(", "        1 / 0\n        return Plan(")
    (tmp_path / "own.py").write_text(text)
    line = text.splitlines().index("        1 / 0") + 1
    mine = load_strategy(f"{tmp_path / 'own.py'}:Half")()
    with pytest.raises(InputError, match=rf"half fails on .*own\.py, line {line}: ZeroDivisionError: division by zero"):
        walk_forward([mine, EqualWeight()], bars, jobs=jobs, progress=False)


def test_failures_outside_users_files_are_not_theirs():
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018
    assert failure(raised.value) == ""


def test_a_relative_path_has_its_line_too(tmp_path, monkeypatch):
    (tmp_path / "my.py").write_text("import numpy\n1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"my\.py, line 2: ZeroDivisionError"):
        load_strategy("my.py:Half")


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        (GOOD, "my.py:Nothing", "there is no 'Nothing'; it has Half"),
        (GOOD, "my.py:number", "number is not a Strategy; derive it from"),
        (GOOD, "other.py:Half", "other.py: no such file"),
        (GOOD, "my.py", "write the file and the name in it"),
        (GOOD, "my.txt:Half", "write the file and the name in it"),
        ("import nonsense_that_is_not_there\n", "my.py:Half", "my.py, line 1: ModuleNotFoundError"),
        ("x = 1\ndef broken(:\n", "my.py:Half", "my.py, line 2: SyntaxError"),
        ("class Half:\n    def __init__(self):\n        1 / 0\n", "my.py:Half", "my.py, line 3: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded(tmp_path, text, source, message):
    (tmp_path / "my.py").write_text(text)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        load_strategy(str(tmp_path / source))()


def test_the_origin_is_of_what_ran_and_of_that_very_object(tmp_path):
    file = tmp_path / "my.py"
    file.write_text(GOOD)
    make = load_strategy(f"{file}:Half")
    ours = make()
    file.write_text("raise RuntimeError")
    found = origin(ours)
    assert (found.file, found.code, found.name, found.exact) == (file, GOOD.encode(), "Half", True)
    assert not origin(copy.copy(ours)).exact  # it may have been changed
    assert origin(EqualWeight()) is None


@pytest.mark.parametrize("name", ["'../secret.csv'", "'none.csv'", "3"])
def test_data_files_are_names_of_files_beside_it(name, tmp_path):
    (tmp_path.parent / "secret.csv").write_text("x")
    (tmp_path / "my.py").write_text(f"FILES = ({name},)\n{GOOD}")
    with pytest.raises(InputError, match="which is no file beside it"):
        load_strategy(f"{tmp_path / 'my.py'}:Half")()
