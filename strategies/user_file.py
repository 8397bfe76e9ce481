"""Loads a strategy from a user's Python file by its path, without changing the import path."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from markets import InputError
from strategies.failures import PREFIX
from strategies.strategy import Strategy


def load_strategy(source: str) -> Callable[..., Strategy]:
    """A factory of the strategy named by ``path/to/file.py:Name``.

    The file is executed once, under a private module name, so that a user's ``strategies.py`` does not shadow this package.

    Parameters
    ----------
    source : str
        ``Name`` is a `Strategy` class that needs no arguments, a function without arguments that returns a strategy, or a
        `Strategy` instance.

    Returns
    -------
    callable
        Returns a new `Strategy` on each call; keyword arguments go to the class or function, such as those of a sweep.

    Raises
    ------
    InputError
        When the file or the name does not exist, when the file raises (the message gives the line), or when the object is not
        a strategy.
    """
    path, _, name = source.rpartition(":")
    file = Path(path)
    # unique per file path
    module_name = f"{PREFIX}{file.stem}_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]}"
    if not path or not name.isidentifier() or file.suffix != ".py":
        raise InputError(f"{source!r}: write the file and the name in it, as in my_strategy.py:MyStrategy")
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look up their module there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise InputError(_where(file, error)) from error
    cloudpickle.register_pickle_by_value(module)  # joblib's workers cannot import it, so send them the code
    found = getattr(module, name, None)
    if found is None:
        there = ", ".join(n for n, v in vars(module).items() if inspect.isclass(v) and v.__module__ == module_name)
        raise InputError(f"{file}: there is no {name!r}; it has {there or 'no classes'}")

    def make(**setting: Any) -> Strategy:
        instance = isinstance(found, Strategy)
        if instance and setting:
            raise InputError(f"{file}: {name} is a strategy already; give its class, which takes {', '.join(setting)}")
        try:
            # copy an instance, so that no state carries over from one use to the next
            built = found(**setting) if callable(found) and not instance else copy.deepcopy(found)
        except Exception as error:
            raise InputError(_where(file, error)) from error
        if not isinstance(built, Strategy):
            raise InputError(
                f"{file}: {name} is not a Strategy; derive it from strategies.Strategy and implement plan(bars)"
            )
        return built

    return make


def _where(file: Path, error: Exception) -> str:
    """The error message, with the last line of the user's file in the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == file.resolve()]
    line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
    at = f", line {line}" if line else ""
    return f"{file}{at}: {type(error).__name__}: {error}"
