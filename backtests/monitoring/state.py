"""The state of a monitor as JSON values and back, to the bit: Python writes each float64 so that reading gives the same one."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd

from markets import InputError


def to_state(value: Any) -> Any:
    """A dataclass of numbers, text, times, arrays and further dataclasses as JSON values."""
    if is_dataclass(value):
        return {field.name: to_state(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        return [to_state(part) for part in value]
    if isinstance(value, np.floating):
        return float(value)
    return value


def from_state(kind: Any, state: Any, where: str) -> Any:
    """The value of type `kind` that `to_state` wrote as `state`.

    Parameters
    ----------
    kind : type
        A dataclass, ``float``, ``int``, ``str``, ``tuple[str, ...]``, ``ndarray``, ``Timestamp``, or a union
        of one of these with None or an array.
    state : JSON value
    where : str
        What is read, for messages.

    Raises
    ------
    InputError
        When a name is missing or unknown, or a value is of another type or not finite.
    """
    if isinstance(kind, UnionType):
        kinds = get_args(kind)
        if state is None and type(None) in kinds:
            return None
        array = isinstance(state, list) and np.ndarray in kinds
        return from_state(np.ndarray if array else kinds[0], state, where)
    if is_dataclass(kind):
        return _dataclass(kind, state, where)
    if kind is float and type(state) in (int, float) and math.isfinite(state):
        return float(state)
    if kind in (int, str) and type(state) is kind:
        return state
    if get_origin(kind) is tuple and isinstance(state, list):
        return tuple(from_state(get_args(kind)[0], part, where) for part in state)
    if kind is np.ndarray and isinstance(state, list):
        return _array(state, where)
    if kind is pd.Timestamp and isinstance(state, str):
        return _time(state, where)
    raise _damaged(where, f"it is {str(state)[:40]!r}")


def _dataclass(kind: Any, state: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    if not isinstance(state, dict) or set(state) != set(names):
        found = sorted(state) if isinstance(state, dict) else str(state)[:40]
        raise _damaged(where, f"it must have {names}, and has {found}")
    return kind(**{name: from_state(hints[name], state[name], f"{where}: {name}") for name in names})


def _array(state: list, where: str) -> np.ndarray:
    try:
        found = np.array(state, dtype=np.float64)
    except (TypeError, ValueError):
        raise _damaged(where, "it is no array of numbers") from None
    if not np.isfinite(found).all():
        raise _damaged(where, "it holds a number that is not finite")
    return found


def _time(state: str, where: str) -> pd.Timestamp:
    try:
        found = pd.Timestamp(state)
    except ValueError:
        raise _damaged(where, f"{state[:40]!r} is no time") from None
    if not isinstance(found, pd.Timestamp):  # NaT
        raise _damaged(where, f"{state[:40]!r} is no time")
    return found


def _damaged(where: str, what: str) -> InputError:
    return InputError(f"{where} is damaged: {what}; restore the file, or start the monitor anew")
