"""The configuration file of ``regimeshift train --config``: options of the command, and settings of the learner by dotted names.

``regimeshift tune`` writes one, and one can be written by hand::

    {"train": {"learner": "rl2", "steps": 300}, "settings": {"training.learning_rate": 0.004, "policy.hidden": 16}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from markets import InputError
from regimeshift.options import TrainingOptions

Options = TypeVar("Options", bound=TrainingOptions)


@dataclass(frozen=True)
class Configuration:
    """What to train, and with which settings.

    Attributes
    ----------
    train : dict of str to object
        Options of ``regimeshift train`` by their names, without the hyphens in front.
    settings : dict of str to object
        Settings of the learner, by dotted names.
    about : dict of str to object
        Where it comes from; read by people alone.
    """

    train: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Configuration:
        """Read a file.

        Raises
        ------
        InputError
            When there is none, or it is not JSON or has other parts.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}; write JSON") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: not a text file; write JSON") from None
        parts = [each.name for each in fields(cls)]
        if not isinstance(found, dict):
            raise InputError(f"{path}: write an object with the parts {', '.join(parts)}")
        for name, part in found.items():
            if name not in parts:
                raise InputError(f"{path}: {name}: unknown part; there are {', '.join(parts)}")
            if not isinstance(part, dict):
                raise InputError(f"{path}: {name}: write an object, as {{...}}")
        return cls(**found)

    def write(self, path: str | Path) -> Path:
        """Write it as JSON, replacing a file as a whole."""
        from markets.common.files import replacing

        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        with replacing(path) as beside:
            beside.write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")
        return Path(path)


def configured(options: Options, path: str | Path | None) -> tuple[Options, Mapping[str, Any]]:
    """Options of the command line with those of a file beside them, and the settings of the file.

    Raises
    ------
    InputError
        When the file names an unknown option, its value has another type, or the command line says something else. The message
        names the file and the key.
    """
    if path is None:
        return options, {}
    from metalearner.learners.settings import checked, unknown

    config, hints = Configuration.read(path), get_type_hints(TrainingOptions)
    known = {each.name: each.default for each in fields(TrainingOptions)}
    changed = {}
    with _naming(path, "train"):
        for name, value in config.train.items():
            key = name.replace("-", "_")
            if key not in known:
                raise InputError(unknown(name, known))
            changed[key] = checked(name, value, hints[key])
            given = getattr(options, key)
            if given not in (known[key], changed[key]):
                raise InputError(
                    f"{name} is {value!r}, and the command line says {given!r}; leave the option out, or change the file"
                )
    return replace(options, **changed), config.settings


def with_file_settings(learner: Any, settings: Mapping[str, Any], path: str | Path | None) -> Any:
    """A learner with the settings of a file.

    Raises
    ------
    InputError
        When one is unknown, of another type or out of range. The message names the file and the key.
    """
    from metalearner.learners.settings import with_settings

    with _naming(path, "settings"):
        return with_settings(learner, settings) if settings else learner


def differing(options: TrainingOptions, leave: tuple[str, ...]) -> dict[str, Any]:
    """The options that are not at their defaults, for a file."""
    found = {}
    for each in fields(TrainingOptions):
        value = getattr(options, each.name)
        if each.name not in leave and each.default is not MISSING and value != each.default:
            found[each.name] = value
    return found


@contextmanager
def _naming(path: str | Path | None, part: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {part}: {error}") from None
