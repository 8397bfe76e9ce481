"""The settings of a learner by dotted names, such as ``training.learning_rate``: to list them, and to change some.

A learner is a frozen dataclass that holds others (policy, objective, training, inner loop), and so each of its settings has one
name. Files and command lines know settings by these names; their values are checked against the type hints.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from markets import InputError

T = TypeVar("T")


class Setting(NamedTuple):
    """A setting of a dataclass.

    Attributes
    ----------
    value
    hint
        Its type, without annotations.
    notes : tuple
        Its annotations, such as a `markets.common.ranges.Range`.
    """

    value: Any
    hint: Any
    notes: tuple[Any, ...]


def settings_of(config: Any) -> dict[str, Setting]:
    """All settings of a dataclass, and of those that it holds, by their dotted names."""
    found: dict[str, Setting] = {}
    hints = get_type_hints(type(config), include_extras=True)
    for field in fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if is_dataclass(value):
            found |= {f"{field.name}.{name}": setting for name, setting in settings_of(value).items()}
            continue
        notes = hint.__metadata__ if get_origin(hint) is Annotated else ()
        found[field.name] = Setting(value, get_args(hint)[0] if notes else hint, tuple(notes))
    return found


def with_settings(config: T, values: Mapping[str, Any]) -> T:
    """A copy of a dataclass with other values of some settings, by their dotted names.

    Parameters
    ----------
    config : dataclass
        Such as a learner.
    values : dict of str to object
        What JSON can hold; a list stands for a tuple.

    Returns
    -------
    dataclass

    Raises
    ------
    InputError
        When a name is unknown, a value has the wrong type, or the class refuses it. The message begins with the name.
    """
    known = settings_of(config)
    wanted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise InputError(unknown(name, known))
        wanted[name] = checked(name, value, known[name].hint)
    try:
        return _replaced(config, wanted)
    except InputError as error:
        raise InputError(f"{', '.join(values)}: {error}") from None


def _replaced(config: Any, values: Mapping[str, Any]) -> Any:
    here: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        first, dot, rest = name.partition(".")
        if dot:
            below.setdefault(first, {})[rest] = value
        else:
            here[first] = value
    return replace(config, **here, **{name: _replaced(getattr(config, name), each) for name, each in below.items()})


def checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as its type hint has it.

    Raises
    ------
    InputError
        When it is of another type; the message begins with `name`.
    """
    if value is None and NoneType in get_args(hint):  # whatever else it may be, such as a class that no file can hold
        return None
    try:
        return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        wanted = "; or ".join(dict.fromkeys(found["msg"].removeprefix("Input should be ") for found in error.errors()))
        raise InputError(f"{name}: {value!r} should be {wanted}") from None
    except (TypeError, PydanticUserError):
        raise InputError(f"{name}: {value!r} is nothing that a file can hold") from None


def unknown(name: str, known: Mapping[str, Any]) -> str:
    """That there is no such setting, and which ones are meant perhaps."""
    inside = [other for other in known if other.startswith(f"{name}.")]
    if inside:
        return f"{name} holds settings; name one of them, such as {inside[0]}"
    near = [other for other in known if other.endswith(f".{name}")] or difflib.get_close_matches(name, known, 1, 0.8)
    hint = f"; is {' or '.join(near)} meant?" if near else f"; there are {', '.join(known)}"
    return f"{name}: there is no such setting{hint}"
