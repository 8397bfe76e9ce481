"""What a strategy needs for a decision: fields beside the closes, how much history, external series, regime detectors.

A strategy says it of itself (`Strategy.reads`, `Strategy.endless`, its `External` attributes); what wraps or averages others
needs what they need. So whoever deploys one asks here, and need not know its kind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from markets import Bars, External, Features, InputError, RegimeDetector
from markets.features.parts import needs
from strategies.learned import LearnedStrategy
from strategies.strategy import Strategy

COLUMNS = ("open", "high", "low", "volume", "spread")


def walk(strategy: Strategy) -> Iterator[Strategy]:
    """The strategy, then those that it holds as attributes, by itself or in a sequence or mapping, and theirs."""
    yield strategy
    for value in vars(strategy).values():
        for part in _strategies(value):
            yield from walk(part)


def columns(strategy: Strategy) -> tuple[str, ...]:
    """The fields besides closes that it reads where bars have them, in the order of `COLUMNS`.

    Raises
    ------
    InputError
        When it says that it reads something else.
    """
    read: set[str] = set()
    for part in walk(strategy):
        declared = {part.reads} if isinstance(part.reads, str) else set(part.reads)
        if unknown := sorted(declared - {*COLUMNS, "close"}):
            raise InputError(f"{part.name}: reads has {unknown[0]!r}; bars have {', '.join(COLUMNS)}")
        read |= declared | (needs(part.features) if isinstance(part, LearnedStrategy) else set())
    return tuple(name for name in COLUMNS if name in read)


def endless(strategy: Strategy) -> bool:
    """Whether a row depends on all bars since the first one held; see `Strategy.endless`."""
    return any(part.endless for part in walk(strategy))


def window(strategy: Strategy, bars: Bars) -> Bars:
    """`bars` with as much history as a decision after their first visible row reads: all of it, if it is endless."""
    return bars if endless(strategy) else strategy.trimmed(bars)


def external_series(strategy: Strategy) -> list[External]:
    """The external series that it reads: those of features, and of its attributes."""
    found: list[External] = []
    for part in walk(strategy):
        if isinstance(part, LearnedStrategy):
            found += [feature for feature in part.features if isinstance(feature, External)]
        else:
            found += _held(part).values()
    return found


def detectors(strategy: Strategy) -> dict[str, RegimeDetector]:
    """The fitted regime detectors that it holds, by the name of the strategy that holds each."""
    return {
        part.name: value
        for part in walk(strategy)
        for value in vars(part).values()
        if isinstance(value, RegimeDetector) and getattr(part, "fitted", True)
    }


def with_series(strategy: Strategy, change: Callable[[External], External]) -> Strategy:
    """A copy whose external series are changed; the strategy itself where it has none. It is not changed."""
    if not external_series(strategy):
        return strategy
    other = copy.copy(strategy)
    if isinstance(strategy, LearnedStrategy):
        settings = strategy.policy.settings
        parts = tuple(change(part) if isinstance(part, External) else part for part in settings.features.parts)
        policy = copy.copy(strategy.policy)
        policy.settings = replace(settings, features=Features(parts))
        _set(other, "policy", policy)
        return other
    for name, series in _held(strategy).items():
        _set(other, name, change(series))
    for name, value in vars(strategy).items():
        if any(external_series(part) for part in _strategies(value)):
            _set(other, name, _mapped(value, lambda part: with_series(part, change)))
    return other


def _held(strategy: Strategy) -> dict[str, External]:
    """The external series that are attributes of a strategy, or of its class, by name."""
    names = {name: None for kind in reversed(type(strategy).__mro__) for name in vars(kind)} | vars(strategy)
    found = {name: vars(strategy).get(name, getattr(type(strategy), name, None)) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, External)}


def _strategies(value: Any) -> list[Strategy]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [part for part in (value if isinstance(value, (list, tuple)) else (value,)) if isinstance(part, Strategy)]


def _mapped(value: Any, change: Callable[[Strategy], Strategy]) -> Any:
    """An attribute that holds strategies, with these changed."""
    if isinstance(value, Strategy):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(part, change) for key, part in value.items()}
    return type(value)(_mapped(part, change) for part in value) if isinstance(value, (list, tuple)) else value


def _set(strategy: Strategy, name: str, value: Any) -> None:
    object.__setattr__(strategy, name, value)  # also of a frozen dataclass
