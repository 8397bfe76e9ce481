"""What an object is, by its content: a digest that is the same in every process, and of the code that it runs.

Pickles differ from process to process where networks are in them, so objects are walked: numbers, texts, arrays, tensors,
tables, containers, and of everything else what a pickle would hold. Code counts in three ways: our packages by their source, with
the versions of what computes for them; a user's classes and functions as they are in memory, with the globals that they name,
since a notebook has no source file, and a file may have changed since it was imported; and the files of all modules that these
lead to.
"""

from __future__ import annotations

import copyreg
import hashlib
import sys
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from enum import Enum
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

_HOUSE = ("markets", "strategies", "metalearner", "backtests")
# What the figures of a plan come from, beside our code.
_COMPUTING = (
    "numpy",
    "pandas",
    "scipy",
    "numba",
    "torch",
    "scikit-learn",
    "skfolio",
    "cvxpy-base",
    "clarabel",
    "jumpmodels",
)
# What `repr` tells whole.
_PRINTED = (
    bool, int, float, complex, str, bytes, range, slice, PurePath, np.generic, np.dtype, date, timedelta, tzinfo,
    pd.Timedelta, pd.offsets.BaseOffset, BuiltinFunctionType,
)  # fmt: skip


def digest(*objects: Any) -> str:
    """SHA-256, in hexadecimal, of objects and of the code of their classes.

    Raises
    ------
    TypeError
        When one holds something whose content cannot be told, such as an open file.
    """
    found, seen = hashlib.sha256(), _Seen(set(), set())
    for part in _parts(list(objects), seen, ()):
        found.update(part)
        found.update(b"\0")
    for name in sorted(_reached(seen.modules)):
        found.update(_house(name).encode() if name in _HOUSE else _source(name).encode())
    found.update(_versions().encode())
    return found.hexdigest()


@dataclass(frozen=True)
class _Seen:
    """Names of the modules whose code was met, and ids of a user's classes and functions that were walked."""

    modules: set[str]
    code: set[int]


def _parts(value: Any, seen: _Seen, within: tuple[int, ...]) -> Iterator[bytes]:
    """The content of `value`, which is held by those `within` (their ids), as bytes; adds to what was `seen`."""
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    if value is None or isinstance(value, _PRINTED):
        yield repr(value).encode()
        return
    if id(value) in within:
        yield f"a circle of {len(within) - within.index(id(value))}".encode()
        return
    within = (*within, id(value))
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, (pd.DataFrame, pd.Series, pd.Index)):
        labels = value.columns if isinstance(value, pd.DataFrame) else [value.name]
        yield repr(list(labels)).encode()
        yield pd.util.hash_pandas_object(value).to_numpy().tobytes()
    elif hasattr(value, "py_func"):  # compiled by numba
        yield from _parts(value.py_func, seen, within)
    elif hasattr(value, "detach"):  # a tensor, without importing torch
        yield from _parts(value.detach().cpu().numpy(), seen, within)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _parts(key, seen, within)
            yield from _parts(value[key], seen, within)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for item in value:
            yield from _parts(item, seen, within)
    elif isinstance(value, Set):
        for item in sorted(value, key=repr):
            yield from _parts(item, seen, within)
    elif isinstance(value, type):
        yield from _class(value, seen, within)
    elif isinstance(value, ModuleType):
        seen.modules.add(value.__name__)
        yield value.__name__.encode()
    elif isinstance(value, CodeType):
        yield value.co_code
        yield from _parts([value.co_names, value.co_varnames, value.co_consts], seen, within)
    elif isinstance(value, MethodType):
        yield from _parts([value.__self__, value.__func__], seen, within)
    elif isinstance(value, FunctionType):
        yield from _function(value, seen, within)
    elif isinstance(value, (staticmethod, classmethod)):
        yield from _parts(value.__func__, seen, within)
    elif isinstance(value, property):
        yield from _parts(value.fget, seen, within)
    elif isinstance(value, cached_property):
        yield from _parts(value.func, seen, within)
    else:
        yield from _object(value, seen, within)


def _class(kind: type, seen: _Seen, within: tuple[int, ...]) -> Iterator[bytes]:
    """The name of a class, and of a user's all that its body holds."""
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    for base in kind.__mro__:
        seen.modules.add(base.__module__)
        if id(base) in seen.code or not _users(base.__module__):
            continue
        seen.code.add(id(base))
        for name, member in sorted(vars(base).items()):
            internal = name.startswith("__") or name == "_abc_impl"
            if not internal or isinstance(member, (FunctionType, staticmethod, classmethod)):
                yield name.encode()
                yield from _parts(member, seen, within)


def _function(function: FunctionType, seen: _Seen, within: tuple[int, ...]) -> Iterator[bytes]:
    """The code of a function and what it holds; of a user's also the globals that it names, wherever they come from."""
    yield function.__qualname__.encode()
    seen.modules.add(function.__module__)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    yield from _parts([function.__code__, function.__defaults__, function.__kwdefaults__, cells], seen, within)
    if id(function) in seen.code or not _users(function.__module__):
        return
    seen.code.add(id(function))
    names = sorted(_names(function.__code__))
    for name in names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield name.encode()
        yield from _parts(value, seen, within)
        if isinstance(value, ModuleType) and _users(value.__name__):
            yield from _parts([vars(value)[n] for n in names if n in vars(value)], seen, within)


def _names(code: CodeType) -> set[str]:
    """Names of globals and attributes in code, that of functions within it included."""
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, CodeType)))


def _object(value: Any, seen: _Seen, within: tuple[int, ...]) -> Iterator[bytes]:
    """What a pickle of an object would hold, but for what its class computes and keeps."""
    kind = type(value)
    yield from _class(kind, seen, within)
    if isinstance(value, Enum):
        yield value.name.encode()
        return
    try:
        reduced = copyreg.dispatch_table.get(kind, lambda v: v.__reduce_ex__(4))(value)
    except Exception as error:  # whatever it is, it cannot be kept elsewhere either
        raise TypeError(f"the content of a {kind.__qualname__} cannot be told") from error
    if isinstance(reduced, str):
        yield reduced.encode()
        return
    build, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if isinstance(state, dict):
        computed = {
            name for base in kind.__mro__ for name, what in vars(base).items() if isinstance(what, cached_property)
        }
        state = {name: state[name] for name in state.keys() - computed}
    yield from _parts([build, arguments, state, list(items or ()), list(pairs or ())], seen, within)


def _users(module: str) -> bool:
    """Whether a module is the user's: neither of our packages, nor of Python's library, nor installed."""
    root = module.partition(".")[0]
    if root in _HOUSE or root in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or getattr(sys.modules.get(root), "__file__", None)
    return file is None or not {"site-packages", "dist-packages"} & {*Path(file).parts}


def _reached(modules: set[str]) -> set[str]:
    """Our packages as a whole, since their modules use each other; others by themselves; and all that a user's import."""
    found: set[str] = {"backtests", "markets", "strategies"}
    left = [*modules]
    while left:
        name = left.pop()
        name = name.partition(".")[0] if name.partition(".")[0] in _HOUSE else name
        if name in found:
            continue
        found.add(name)
        if _users(name):
            for value in vars(sys.modules[name]).values() if name in sys.modules else ():
                if isinstance(value, ModuleType):
                    left.append(value.__name__)
                else:
                    left.append(str((value if isinstance(value, (type, FunctionType)) else type(value)).__module__))
    return found


@cache
def _house(package: str) -> str:
    """SHA-256 of the source of a package of ours."""
    file = getattr(sys.modules.get(package), "__file__", None)
    found = hashlib.sha256()
    for path in sorted(Path(file).parent.rglob("*.py")) if file else ():
        found.update(path.read_bytes())
    return f"{package} {found.hexdigest()}"


def _source(module: str) -> str:
    """The name of a module, and SHA-256 of its source if it has one."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py") or not Path(file).is_file():
        return module
    return f"{module} {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"


@cache
def _versions() -> str:
    """Versions of Python and of the packages that compute."""
    found = [sys.version]
    for package in _COMPUTING:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # an optional one
            continue
    return ", ".join(found)
