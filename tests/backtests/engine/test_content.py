import functools
import importlib
import operator
import os
import subprocess
import sys
import threading
from enum import Enum

import numpy as np
import pandas as pd
import pytest
import torch

import markets
from backtests.engine import content
from backtests.engine.content import digest
from strategies import EqualWeight, InverseVolatility, Momentum, Plan, Strategy
from strategies.user_file import load_strategy


def test_equal_objects_have_equal_digests_and_others_do_not():
    assert digest(Momentum(50)) == digest(Momentum(50))
    different = [
        Momentum(50), Momentum(51), EqualWeight(), InverseVolatility(), 1, 1.0, True, "1", None, b"1", (1,), [1], {1: 1}, {1},
        np.ones(2), np.ones(3), np.ones(2, dtype=np.float32), np.zeros(2), torch.ones(2), pd.Timestamp("2020"),
        pd.Series([1.0], name="a"), pd.Series([1.0], name="b"), pd.DataFrame({"a": [1.0]}), pd.DateOffset(years=1),
        pd.DateOffset(years=2), Momentum, Momentum(50).plan, lambda: 1, lambda: 2, lambda: 1 + 1j,
    ]  # fmt: skip
    assert len({digest(x) for x in different}) == len(different)


def test_containers_are_told_by_content_not_order_of_insertion():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({1, 2, 3}) == digest({3, 2, 1})
    assert digest([1, 2]) != digest([2, 1])


def test_closures_defaults_and_enums_count():
    class Colour(Enum):
        RED = 1
        BLUE = 2

    def adder(n):
        return lambda x: x + n

    assert digest(adder(1)) != digest(adder(2))
    assert digest(adder(1)) == digest(adder(1))
    assert digest(Colour.RED) != digest(Colour.BLUE)


def test_circles_end():
    a: list = [1]
    a.append(a)
    assert digest(a) == digest(a)


def test_what_is_computed_and_kept_does_not_count(bars):
    before = digest(bars)
    assert bars.hash
    assert bars.listed.any()
    assert digest(bars) == before


def test_slots_and_what_cannot_be_told():
    class Slotted:
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

    assert digest(Slotted(1)) != digest(Slotted(2))
    with pytest.raises(TypeError, match="the content of a lock"):
        digest(threading.Lock())


def test_learners_and_policies(meta):
    from metalearner import MAML, RL2, Ensemble, Training

    assert digest(RL2()) == digest(RL2())
    assert digest(RL2()) != digest(RL2(training=Training(seed=1)))
    assert digest(Ensemble(MAML())) != digest(MAML())
    assert digest(meta) == digest(meta)
    assert digest(meta) != digest(meta.shrunk(0.5, meta.name))


@pytest.mark.process
def test_a_digest_is_the_same_in_another_process():
    code = (
        "from backtests.engine.content import digest; from metalearner import RL2; from strategies import Momentum; "
        "print(digest(RL2(), Momentum(3), {'b': 1, 'a': {2, 'x'}}))"
    )
    from metalearner import RL2

    expected = digest(RL2(), Momentum(3), {"a": {"x", 2}, "b": 1})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == expected


def test_a_users_file_counts_as_code(tmp_path):
    text = "from strategies import EqualWeight\n\n\nclass Mine(EqualWeight):\n    name = 'mine'\n"
    digests = []
    for k, more in enumerate(("", "\n# another\n")):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "mine.py").write_text(text + more)
        digests.append(digest(load_strategy(f"{folder / 'mine.py'}:Mine")()))
    assert digests[0] != digests[1]


def notebook(code, **names):
    """What a cell of a notebook makes: code without a source file."""
    scope = {"__name__": "notebook_without_file", "Strategy": Strategy, "Plan": Plan, "np": np, **names}
    exec(code, scope)
    return scope["made"]


def test_regression_code_without_a_source_file_counts():
    """A strategy changed in a notebook kept its key, so the cache returned the plan of the one before."""
    mine = "class Mine(Strategy):\n    size = {}\n    def plan(self, bars): return Plan(np.full(bars.shape, {}))\nmade = Mine()"
    assert digest(notebook(mine.format(1, 0.1))) == digest(notebook(mine.format(1, 0.1)))
    assert len({digest(notebook(mine.format(*values))) for values in ((1, 0.1), (1, 0.2), (2, 0.1))}) == 3
    different = [
        "made = lambda x: np.mean(x)", "made = lambda x: np.median(x)",  # the same code of other names
        "made = lambda x: [i + 1 for i in x]", "made = lambda x: [i + 2 for i in x]",  # within another code
        "made = lambda x, *, n=1: n", "made = lambda x, *, n=2: n",
    ]  # fmt: skip
    assert len({digest(notebook(code)) for code in different}) == len(different)


def test_regression_globals_that_a_function_names_count():
    code = "def helper(x): return x * limit\nmade = lambda x: helper(x)"
    one, two = (digest(notebook(code, limit=np.array([limit]))) for limit in (1.0, 2.0))
    assert one == digest(notebook(code, limit=np.array([1.0])))
    assert one != two


def test_regression_what_a_pickle_holds_beside_attributes_counts():
    """``partial(f, 1)`` and ``partial(f, 2)`` had one digest: their arguments are no attributes."""
    different = [
        functools.partial(np.add, 1), functools.partial(np.add, 2), functools.partial(np.multiply, 1), operator.itemgetter(0),
        operator.itemgetter(1),
    ]  # fmt: skip
    assert len({digest(x) for x in different}) == len(different)


def test_regression_helper_modules_of_a_users_file_count(tmp_path, monkeypatch):
    """A change of a module that the user's file imports kept the key."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "mine_engine.py").write_text(
        "import helper_engine\nfrom strategies import EqualWeight\n\n\nclass Mine(EqualWeight):\n"
        "    def size(self):\n        return helper_engine.size()\n"
    )
    digests = []
    for size in (1, 2):
        (tmp_path / "helper_engine.py").write_text(f"def size():\n    return {size}\n")
        sys.modules.pop("helper_engine", None)
        importlib.invalidate_caches()
        digests.append(digest(load_strategy(f"{tmp_path / 'mine_engine.py'}:Mine")()))
    del sys.modules["helper_engine"]
    assert digests[0] != digests[1]


def test_regression_installed_packages_count_as_source(monkeypatch, tmp_path):
    """Of our packages in site-packages the name alone counted, so a new version read the results of the one before."""
    folder = tmp_path / "site-packages" / "markets"
    folder.mkdir(parents=True)
    monkeypatch.setattr(markets, "__file__", str(folder / "__init__.py"))
    digests = []
    for text in ("one = 1", "one = 2"):
        (folder / "__init__.py").write_text(text)
        content._house.cache_clear()
        digests.append(digest(Momentum(50)))
    content._house.cache_clear()
    assert digests[0] != digests[1]
    assert "numba" in content._versions()
