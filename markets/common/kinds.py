"""Registries of classes by name, so that a saved file can name the class that reads it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeVar

from markets.common.errors import InputError

Kind = TypeVar("Kind", bound=type)


def register(kinds: MutableMapping[str, Kind], name: str, cls: Kind, what: str) -> None:
    """Enter `cls` under `name`. The same class may be defined again, as by re-running a notebook cell.

    Raises
    ------
    TypeError
        When another class has the name.
    """
    other = kinds.setdefault(name, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(
            f"there are two {what} called {name}: {other.__module__}.{other.__qualname__} and "
            f"{cls.__module__}.{cls.__qualname__}; rename one, or what was saved with one would be read as the other"
        )
    kinds[name] = cls


def find(kinds: MutableMapping[str, Kind], name: str, what: str) -> Kind:
    """The class called `name`.

    Raises
    ------
    InputError
        When there is none; the class may be the user's own, and its module not imported.
    """
    if name not in kinds:
        raise InputError(
            f"{what} {name!r} is not known ({', '.join(kinds)} are); if it is your own, import the module that defines it first"
        )
    return kinds[name]
