"""What an object is, by its content: a digest that is the same in every process, and of the code that it runs.

Pickles differ from process to process where networks are in them, so objects are walked: numbers, texts, arrays, tensors, tables,
containers, and the attributes of everything else, with the names of classes and the code of functions.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Set
from datetime import date, timedelta, tzinfo
from enum import Enum
from functools import cache, cached_property
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

_HOUSE = ("markets", "strategies", "metalearner", "backtests")
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
    found, modules = hashlib.sha256(), {"backtests"}
    for part in _parts(list(objects), modules, ()):
        found.update(part)
        found.update(b"\0")
    for name in sorted(_rooted(modules)):
        found.update(_code(name).encode())
    return found.hexdigest()


def _parts(value: Any, modules: set[str], within: tuple[int, ...]) -> Iterator[bytes]:
    """The content of `value`, which is held by those `within` (their ids), as bytes; adds the modules of its classes."""
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
        yield from _parts(value.py_func, modules, within)
    elif hasattr(value, "detach"):  # a tensor, without importing torch
        yield from _parts(value.detach().cpu().numpy(), modules, within)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _parts(key, modules, within)
            yield from _parts(value[key], modules, within)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for item in value:
            yield from _parts(item, modules, within)
    elif isinstance(value, Set):
        for item in sorted(value, key=repr):
            yield from _parts(item, modules, within)
    elif isinstance(value, type):
        modules.add(value.__module__)
        yield f"{value.__module__}.{value.__qualname__}".encode()
    elif isinstance(value, (ModuleType, CodeType)):
        yield repr(value.__name__ if isinstance(value, ModuleType) else (value.co_code, value.co_consts)).encode()
    elif isinstance(value, MethodType):
        yield from _parts([value.__self__, value.__func__], modules, within)
    elif isinstance(value, FunctionType):
        modules.add(value.__module__)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        constants = [c for c in value.__code__.co_consts if not isinstance(c, CodeType)]
        yield value.__code__.co_code
        yield from _parts([value.__qualname__, constants, value.__defaults__, cells], modules, within)
    else:
        yield from _attributes(value, modules, within)


def _attributes(value: Any, modules: set[str], within: tuple[int, ...]) -> Iterator[bytes]:
    """The attributes of an object, but those that its class computes and keeps."""
    kind = type(value)
    modules.update(base.__module__ for base in kind.__mro__)
    if isinstance(value, Enum):
        yield value.name.encode()
        return
    state = value.__getstate__()  # what a pickle would hold; for most objects, their attributes
    if state is None and hasattr(value, "__dict__"):
        state = {}
    if state is None:
        raise TypeError(f"the content of a {kind.__qualname__} cannot be told")
    if isinstance(state, dict):
        computed = {
            name for base in kind.__mro__ for name, what in vars(base).items() if isinstance(what, cached_property)
        }
        state = {name: state[name] for name in state.keys() - computed}
    yield from _parts(state, modules, within)


def _rooted(modules: set[str]) -> set[str]:
    """Our packages as a whole, since their modules use each other; a user's modules as they are; others by their package."""
    roots = {name.partition(".")[0] if name.partition(".")[0] in _HOUSE else name for name in modules}
    return roots | ({"markets", "strategies"} if roots & {*_HOUSE} else set())


@cache
def _code(module: str) -> str:
    """SHA-256 of the source of a package of ours, or of a module; the name alone of what has no source."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or "site-packages" in file:
        return module
    paths = sorted(Path(file).parent.rglob("*.py")) if module in _HOUSE else [Path(file)]
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes())
    return f"{module} {found.hexdigest()}"
