"""`class_from_name`: classes of strategies by their names on the command line, to be built with many settings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from markets import InputError
from strategies import rules
from strategies.strategy import Strategy
from strategies.user_file import load_strategy

CLASSES: dict[str, type[Strategy]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): found
    for name in rules.__all__
    if inspect.isclass(found := getattr(rules, name)) and issubclass(found, Strategy)
}


def class_from_name(text: str) -> Callable[..., Strategy]:
    """What builds a strategy from keyword arguments.

    Parameters
    ----------
    text : str
        A rule, such as ``moving_average_cross``, or a class or function in a file, ``my_strategy.py:MyStrategy``.

    Raises
    ------
    InputError
        When there is no such rule, or the file has no such class.
    """
    if ".py:" in text:
        return load_strategy(text)
    if text not in CLASSES:
        raise InputError(
            f"rule {text!r} is unknown; use {', '.join(CLASSES)}, or a class in your own file, as in my_strategy.py:MyStrategy"
        )
    return CLASSES[text]
