"""Loads a strategy from a user's Python file by its path, without changing the import path.

It is remembered which file a strategy was built from, byte for byte, so that it can be deployed from a copy of that file
(`strategies.stored`).
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import inspect
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from markets import InputError
from strategies.failures import PREFIX
from strategies.strategy import Strategy

DATA = "FILES"  # name in a user's file: the data files beside it that it reads


@dataclass(frozen=True)
class Origin:
    """What a strategy of a user's file was built from.

    Attributes
    ----------
    file : Path
    code : bytes
        The file as it was executed, whatever it is by now.
    name : str
        What was called in it.
    settings : dict
        Keyword arguments of that call.
    data : tuple of str
        Names of files in the same folder that the file reads: its ``FILES``.
    exact : bool
        Whether this very call built it. Otherwise `name` is its class, and the settings are its own to tell.
    """

    file: Path
    code: bytes
    name: str
    settings: Mapping[str, Any]
    data: tuple[str, ...] = ()
    exact: bool = True


_CODE: dict[str, tuple[Path, bytes]] = {}  # by module name
_ORIGINS: dict[int, tuple[weakref.ref[Strategy], Origin]] = {}  # by identity, since a copy may have changed


def origin(strategy: Strategy) -> Origin | None:
    """What built this very strategy, or of what file its class is; None if that is no user's file.

    A strategy that the file itself has built, such as a part of a blend, is known by its class, without settings.
    """
    reference, found = _ORIGINS.get(id(strategy), (None, None))
    if reference is not None and reference() is strategy:
        return found
    kind = type(strategy)
    if kind.__module__ not in _CODE:
        return None
    file, code = _CODE[kind.__module__]
    return Origin(file, code, kind.__qualname__, {}, _data(sys.modules[kind.__module__], file), exact=False)


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
    if not path or not name.isidentifier() or file.suffix != ".py":
        raise InputError(f"{source!r}: write the file and the name in it, as in my_strategy.py:MyStrategy")
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    return strategy_of_code(file, file.read_bytes(), name)


def strategy_of_code(file: Path, code: bytes, name: str) -> Callable[..., Strategy]:
    """As `load_strategy`, of a file whose bytes were read, and perhaps checked, before: just these are executed."""
    # one for each file and each of its contents, so that what an earlier one has built is not taken for this one's
    digest = hashlib.sha256(str(file.resolve()).encode() + b"\0" + code).hexdigest()
    module_name = f"{PREFIX}{file.stem}_{digest[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look up their module there
    try:
        exec(compile(code, str(file), "exec"), vars(module))
    except Exception as error:
        del sys.modules[module_name]
        raise InputError(_where(file, error)) from error
    _CODE[module_name] = file, code
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
        place = id(built)
        reference = weakref.ref(built, lambda _: _ORIGINS.pop(place, None))
        _ORIGINS[place] = reference, Origin(file, code, name, dict(setting), _data(module, file))
        return built

    return make


def _data(module: Any, file: Path) -> tuple[str, ...]:
    """The data files that a user's file says it reads.

    Raises
    ------
    InputError
        When one is no name of a file beside it.
    """
    names = getattr(module, DATA, ())
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (file.parent / name).is_file():
            raise InputError(
                f"{file}: {DATA} has {name!r}, which is no file beside it; give names of files in its folder"
            )
    return names


def _where(file: Path, error: Exception) -> str:
    """The error message, with the last line of the user's file in the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == file.resolve()]
    line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
    at = f", line {line}" if line else ""
    return f"{file}{at}: {type(error).__name__}: {error}"
