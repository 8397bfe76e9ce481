"""What is searched: settings of a learner, with the range of each, from type hints and what is stated beside the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from markets import InputError
from markets.common.ranges import OneOf, Range
from metalearner.learners.base import MetaLearner
from metalearner.learners.settings import Setting, checked, settings_of, unknown, with_settings

Space = dict[str, Range | OneOf]

_FIGURE = "it is part of the figure by which trials are compared"
# Settings that are not searched, and why.
_FIXED = {
    "objective.utility": _FIGURE,
    "objective.costs": _FIGURE,
    "objective.execution": _FIGURE,
    "objective.unit": _FIGURE,
    "objective.worst_case": "validation is by the mean, which cannot tell what it is for",
    "objective.trials": _FIGURE,
    "objective.episodes_per_trial": _FIGURE,
    "objective.max_steps": _FIGURE,
    "training.seed": "the luckiest seed is no better than the others",
    "training.evidence": "it is how strictly the result is tested",
    "training.on_validation": "then nothing is left to compare trials by",
    "training.device": "it changes no result",
    "training.threads": "it changes no result",
    "name": "it changes no result",
    "control": "it changes no result",
}


def space(learner: MetaLearner, search: Mapping[str, Range | OneOf | None] | None = None) -> Space:
    """The settings to search, by their dotted names.

    Parameters
    ----------
    learner : MetaLearner
        By whose classes and values the settings are known.
    search : dict of str to Range, OneOf or None, optional
        What to search. None stands for what the type has, for a Literal or a bool, or for what is stated beside the field. By
        default all settings for which a range is stated, each widened by the learner's own value.

    Returns
    -------
    dict of str to Range or OneOf

    Raises
    ------
    InputError
        When a setting is unknown, has no effect or is not to be searched, or a value is of another type or out of range.
    """
    known = settings_of(learner)
    if search is None:
        stated = {name: _stated(setting) for name, setting in known.items() if not _reason(name, learner)}
        return {name: _widened(found, known[name]) for name, found in stated.items() if found is not None}
    for name in search:
        if name not in known:
            raise InputError(unknown(name, known))
        if reason := _reason(name, learner):
            raise InputError(f"{name} is not searched: {reason}")
    return {name: _given(name, given, known[name], learner) for name, given in search.items()}


def _reason(name: str, learner: MetaLearner) -> str:
    """Why a setting is not searched; empty if it may be."""
    if any(name == idle or name.startswith(f"{idle}.") for idle in learner.idle):
        return f"it has no effect in {learner.name}"
    return next((reason for fixed, reason in _FIXED.items() if name == fixed or name.startswith(f"{fixed}.")), "")


def _stated(setting: Setting) -> Range | OneOf | None:
    """What is stated beside the field, for the type of the value; None if nothing is."""
    for note in setting.notes:
        if isinstance(note, Range):
            return note if _is_number(setting.value) else None  # not for a step size per step
        if isinstance(note, OneOf):
            return note if note.values else OneOf(_all_of(setting.hint))
    return None


def _given(name: str, given: Range | OneOf | None, setting: Setting, learner: MetaLearner) -> Range | OneOf:
    """What the user wants searched, checked."""
    found = given if given is not None else _stated(setting) or OneOf(_all_of(setting.hint))
    if isinstance(found, Range):
        if not _is_number(setting.value):
            raise InputError(
                f"{name}: {setting.value!r} is not a number, so it has no range; give values: {name}=a,b,c"
            )
        for end in (found.low, found.high):
            with_settings(learner, {name: end})
        return found
    if not found.values:
        raise InputError(f"{name}: no range is stated for it; give one, as {name}=low:high or {name}=a,b,c")
    values = OneOf(tuple(checked(name, value, setting.hint) for value in found.values))
    for value in values.values:
        if not isinstance(value, None | bool | int | float | str):
            raise InputError(f"{name}: only numbers, texts and true or false can be searched, not {value!r}")
        if _is_number(value):  # of texts, some are allowed with others alone, as a head with a memory
            with_settings(learner, {name: value})
    return values


def _widened(found: Range | OneOf, setting: Setting) -> Range | OneOf:
    """A stated range with the learner's own value in it, so that the first trial can be the learner as it is."""
    value = setting.value
    if isinstance(found, Range):
        return (
            replace(found, low=min(found.low, value), high=max(found.high, value))
            if value > 0 or not found.log
            else found
        )
    return found if value in found.values else OneOf((value, *found.values))


def _all_of(hint: Any) -> tuple[Any, ...]:
    """All values of a Literal or a bool; none of other types."""
    if hint is bool:
        return (False, True)
    return get_args(hint) if get_origin(hint) is Literal else ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def contains(found: Range | OneOf, value: Any) -> bool:
    """Whether a value is searched."""
    if isinstance(found, Range):
        return _is_number(value) and found.low <= value <= found.high
    return value in found.values
