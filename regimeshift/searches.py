"""What to search on the command line: ``training.learning_rate=1e-4:1e-2:log policy.hidden=16,32 policy.head``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markets.common.ranges import OneOf, Range

_WORDS = {"true": True, "false": False, "none": None}


def search_from_words(words: Sequence[str]) -> dict[str, Range | OneOf | None] | None:
    """What to search, by the names of settings; None without words.

    Parameters
    ----------
    words : sequence of str
        One per setting: ``name=LOW:HIGH`` or ``name=LOW:HIGH:log``, with both ends; ``name=A,B,C``; or the name alone.

    Raises
    ------
    InputError
        When a word cannot be read, or names a setting again.
    """
    from markets import InputError
    from markets.common.ranges import OneOf

    found: dict[str, Range | OneOf | None] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name or (equals and not text):
            raise InputError(f"--search {word}: write name=low:high, name=low:high:log, name=a,b,c or the name alone")
        if name in found:
            raise InputError(f"--search {word}: {name} is there twice; give all its values at once")
        if not equals:
            found[name] = None
        elif ":" in text:
            found[name] = _range(word, text)
        else:
            found[name] = OneOf(tuple(_value(part.strip()) for part in text.split(",")))
    return found or None


def _range(word: str, text: str) -> Range:
    from markets import InputError
    from markets.common.ranges import Range
    from regimeshift.console import naming

    low, high, *scale = text.split(":")
    ends = [_value(end) for end in (low, high)]
    if any(isinstance(end, str | bool | None) for end in ends) or scale not in ([], ["log"]):
        raise InputError(f"--search {word}: a range is low:high or low:high:log, of numbers, as in 1e-4:1e-2:log")
    with naming(f"--search {word}"):
        return Range(ends[0], ends[1], log=bool(scale))


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return _WORDS.get(text.lower(), text)
