"""`described`: the settings of a strategy or a learner as plain JSON, so that they can be written into a protocol and hashed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np

# Settings that are younger than the committed protocol, at the value that is without effect. They are left out there, so that the
# contenders of a protocol stay what they were.
YOUNGER = {"teachers": None, "worst_case": None}


def described(value: Any) -> Any:
    """`value` in texts, numbers, lists and dictionaries.

    An object is its class and its public attributes, in the order of their names. Arrays are their shape and SHA-256. Code is
    not part of it: two objects of the same class and settings are described alike.

    Raises
    ------
    TypeError
        When it holds something without settings, such as a function defined in another function.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "sha256": hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}
    if isinstance(value, Mapping):
        return {str(key): described(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(described(item) for item in value)
    if isinstance(value, partial):
        return {"call": described(value.func), "with": [described(value.args), described(value.keywords)]}
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        if "<locals>" in value.__qualname__ or "<lambda>" in value.__qualname__:
            raise TypeError(f"{value.__qualname__} has no settings to describe; name it at the top of a module")
        return f"{value.__module__}.{value.__qualname__}"
    kind = type(value)
    names = [f.name for f in fields(value)] if is_dataclass(value) else [n for n in vars(value) if n[0] != "_"]
    held = {name: getattr(value, name) for name in sorted(names)}
    return {"class": f"{kind.__module__}.{kind.__qualname__}"} | {
        name: described(each) for name, each in held.items() if name not in YOUNGER or each != YOUNGER[name]
    }


def fingerprint(value: Any) -> str:
    """SHA-256 of a description."""
    return hashlib.sha256(json.dumps(described(value), sort_keys=True).encode()).hexdigest()
