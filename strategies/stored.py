"""Any strategy on disk: rules, limits, blends, policies, and strategies of a user's own file. Nothing is pickled.

``stored.json`` says what kind it is, and its settings. What is inside a setting has its own place beside it: a strategy a
folder, a fitted regime detector a JSON file, arrays ``arrays.safetensors``. Only kinds of the table here are built, from their
settings by name. A strategy of the user's own is stored as the file that it was built from, byte for byte, with its SHA-256; it
is executed from there after that was checked. A torch policy has its own files (`LearnedStrategy.save`) beside ``stored.json``.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from markets import External, InputError, RegimeDetector
from markets.common.files import replacing
from markets.common.kinds import find, register
from markets.regimes import load_detector
from strategies import limits, rules
from strategies import serialization as saving
from strategies.blend import Blend
from strategies.learned import LearnedStrategy, load_learned
from strategies.limits import Limit
from strategies.needs import walk
from strategies.rules import Covariance, Gate
from strategies.strategy import Strategy
from strategies.user_file import DATA, Origin, origin, strategy_of_code

FILE = "stored.json"
_ARRAYS = "arrays.safetensors"
_LEARNED = "policy"  # kind of what has files of its own
_USER = "user file"
_PLACE = re.compile(r"[\w-]+(\.\w+)?")  # of a file or folder inside a stored strategy: nothing outside is read

KINDS: dict[str, type[Strategy]] = {}
PARTS: dict[str, type[Covariance] | type[Gate]] = {}  # what strategies are built from, by name
_parts: list[Any] = [
    Blend,
    *(vars(rules)[name] for name in rules.__all__),
    *(vars(limits)[name] for name in limits.__all__),
]
for _kind in _parts:
    if inspect.isclass(_kind) and not inspect.isabstract(_kind) and _kind is not Limit:
        _kinds: Any = PARTS if issubclass(_kind, Covariance | Gate) else KINDS
        register(_kinds, _kind.__name__, _kind, "strategies")


def save(strategy: Strategy, folder: str | Path) -> Path:
    """Write a strategy to `folder`, with everything that a decision of it needs.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        When it cannot be rebuilt from files; the message says what of it and why.
    """
    with saving.replacing_files(folder) as beside:
        _write(strategy, beside)
    return Path(folder)


def load(folder: str | Path) -> Strategy:
    """Read a strategy written by `save`, by `LearnedStrategy.save` or by `Blend.save`.

    A user's own file is executed, if it is the one that was stored.

    Raises
    ------
    InputError
        When there is none, files are missing or inconsistent with each other, a kind is unknown, or a user's file was changed.
    """
    folder = Path(folder)
    with saving.settled(folder):
        there = (folder / FILE).exists()
    if not there:  # saved by a version that knew policies and blends of them alone
        return Blend.load(folder) if (folder / "blend.json").exists() else load_learned(folder)
    with saving.reading(folder, FILE, "strategy") as config:
        kind = config["kind"]
        if kind == _LEARNED:
            return load_learned(folder)
        arrays = load_file(folder / _ARRAYS) if (folder / _ARRAYS).exists() else {}
        settings = {name: _decoded(value, folder, arrays) for name, value in config["settings"].items()}
        if kind == _USER:
            return _from_file(config, settings, folder)
        return _named(find(KINDS, kind, f"{folder}: a strategy called")(**settings), config["name"])


def fingerprint(strategy: Strategy) -> str:
    """SHA-256 that tells strategies of different settings, weights or code apart: their own, or that of their files.

    One that is not adapted yet has a fingerprint too; a detector that is not fitted counts by its settings.

    Raises
    ------
    InputError
        When it cannot be stored.
    """
    built_in = isinstance(strategy, LearnedStrategy) or type(strategy) in KINDS.values()
    known = getattr(strategy, "fingerprint", None) if built_in and origin(strategy) is None else None
    if known is not None:
        return known
    with tempfile.TemporaryDirectory() as folder:
        _write(strategy, Path(folder), unfitted=True)
        digest = hashlib.sha256()
        for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def file_hashes(strategy: Strategy) -> dict[str, str]:
    """SHA-256 of each file of the user's own that it, or what it holds, is built from, by name."""
    found: dict[str, str] = {}
    for part in walk(strategy):
        if (source := origin(part)) is not None:
            found |= {name: hashlib.sha256(content).hexdigest() for name, content in _contents(source).items()}
    return found


def described(strategy: Strategy) -> dict[str, Any]:
    """Its kind and its plain settings by name, as they are logged when it is registered."""
    if isinstance(strategy, LearnedStrategy):
        return strategy.described
    source = origin(strategy)
    if source is not None:
        return {"file": source.file.name, "calls": source.name} | _plain(source.settings)
    if isinstance(strategy, Blend):
        return {"parts": len(strategy.parts), **described(strategy.parts[0])}
    return {"kind": type(strategy).__name__} | _plain(settings_of(strategy))


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if isinstance(value, (bool, int, float, str))}


def settings_of(built: Any) -> dict[str, Any]:
    """The arguments that something is built again with, by name: its property ``arguments``, or its attributes of their names.

    Raises
    ------
    InputError
        When an argument is no attribute.
    """
    kind = type(built)
    if isinstance(getattr(kind, "arguments", None), property):
        return built.arguments
    if is_dataclass(kind):
        names = [f.name for f in fields(kind) if f.init]
    else:
        taken = inspect.signature(kind).parameters.values()
        names = [p.name for p in taken if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for name in names:
        if not hasattr(built, name):
            raise InputError(
                f"{getattr(built, 'name', kind.__name__)}: {kind.__name__} keeps no attribute {name!r} of that argument, so it "
                "cannot be built again; keep it, or make the class a dataclass"
            )
    return {name: getattr(built, name) for name in names}


# ---------------------------------------------------------------------- writing


@dataclass
class _Writer:
    """Turns settings into what JSON holds, and writes what it does not hold into `folder`."""

    folder: Path
    owner: str
    unfitted: bool = False  # whether a detector may be written that is not fitted, which cannot be read again
    arrays: dict[str, torch.Tensor] = field(default_factory=dict)

    def encoded(self, name: str, value: Any) -> Any:
        """`value` of the setting `name`; an array of numbers in a list is at a place called after it.

        Raises
        ------
        InputError
            When it is neither a number, a text, a time, an array, a strategy, an estimator, a gate, a detector nor a collection
            of these.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return {"number": str(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (list, tuple)):
            return [self.encoded(f"{name}-{k}", part) for k, part in enumerate(value)]
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"mapping": {k: self.encoded(f"{name}-{n}", v) for n, (k, v) in enumerate(value.items())}}
        if isinstance(value, Strategy):
            _write(value, self.folder / name, self.unfitted)
            return {"strategy": name}
        if isinstance(value, pd.Timestamp):
            return {"time": value.isoformat(), "zone": None if value.tz is None else str(value.tz)}
        if isinstance(value, External):
            return {"external": asdict(value)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "bif":
            self.arrays[name] = torch.from_numpy(np.array(value, order="C"))
            return {"array": name}
        if type(value) in PARTS.values():
            settings = {k: self.encoded(f"{name}-{k}", v) for k, v in settings_of(value).items()}
            return {"kind": type(value).__name__, "settings": settings}
        if isinstance(value, RegimeDetector):
            return self._detector(name, value)
        raise InputError(
            f"{self.owner}: its setting {name} is a {type(value).__name__}, which cannot be stored; use numbers, texts, times, "
            "arrays, strategies, regime detectors, External, or lists of these"
        )

    def _detector(self, name: str, detector: RegimeDetector) -> dict[str, str]:
        try:
            detector.save(self.folder / f"{name}.json")
        except InputError as error:
            if self.unfitted:
                return {"unfitted": repr(detector)}
            raise InputError(f"{self.owner}: {error}, or adapt it to more bars") from None
        return {"detector": f"{name}.json"}


def _write(strategy: Strategy, folder: Path, unfitted: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source, writer = origin(strategy), _Writer(folder, strategy.name, unfitted)
    config: dict[str, Any] = {"name": strategy.name}
    if source is not None:
        config |= {"kind": _USER} | _copied(strategy, source, folder)
        given: Mapping[str, Any] = source.settings if source.exact else _own_settings(strategy, source)
    elif isinstance(strategy, LearnedStrategy):
        _check_features(strategy)
        strategy.save(folder)
        config["kind"], given = _LEARNED, {}
    else:
        _check_kind(strategy)
        config["kind"], given = type(strategy).__name__, settings_of(strategy)
    config["settings"] = {name: writer.encoded(name, value) for name, value in given.items()}
    if writer.arrays:
        saving.write_tensors(folder / _ARRAYS, writer.arrays)
    saving.write_config(folder / FILE, config)


def _check_kind(strategy: Strategy) -> None:
    kind = type(strategy)
    if KINDS.get(kind.__name__) is kind:
        return
    raise InputError(
        f"{strategy.name}: a {kind.__name__} is not one of the strategies that can be stored; put your own into a file, and load "
        f"it with strategies.load_strategy('FILE.py:{kind.__name__}')(), on the command line FILE.py:{kind.__name__}"
    )


def _check_features(strategy: LearnedStrategy) -> None:
    by_user = [f.names[0] for f in strategy.features if f.by_function and type(f).__name__ == "Custom"]
    if by_user:
        raise InputError(
            f"{strategy.name} reads {', '.join(by_user)}, which your own code computes; only built-in features and External are "
            "stored with a policy"
        )


def _own_settings(strategy: Strategy, source: Origin) -> Mapping[str, Any]:
    """Settings of a strategy whose class is in a user's file, and which the file itself, or `adapt`, has built."""
    if strategy.adapts and not is_dataclass(strategy):
        raise InputError(
            f"{strategy.name} adapts to bars, and what it learns is in no file; make {source.name} a dataclass whose fields hold "
            "it, as numbers, texts or arrays"
        )
    return settings_of(strategy)


def _contents(source: Origin) -> dict[str, bytes]:
    """The user's file and the data files beside it, by name."""
    return {source.file.name: source.code} | {name: (source.file.parent / name).read_bytes() for name in source.data}


def _copied(strategy: Strategy, source: Origin, folder: Path) -> dict[str, Any]:
    """Copy a user's file, and the data files beside it, and return their names and hashes."""
    if not source.name.isidentifier():
        raise InputError(
            f"{strategy.name}: {source.name} is defined inside another; define it at the top of {source.file}"
        )
    contents = _contents(source)
    for name, content in contents.items():
        if not _PLACE.fullmatch(name) or name in (FILE, _ARRAYS):
            raise InputError(f"{name}: call that file otherwise, with letters, digits, hyphens and one dot")
        with replacing(folder / name) as beside:
            beside.write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return {"file": source.file.name, "calls": source.name, "sha256": hashes}


# ---------------------------------------------------------------------- reading


def _decoded(value: Any, folder: Path, arrays: Mapping[str, torch.Tensor]) -> Any:
    """A setting as `_Writer.encoded` has put it."""
    if isinstance(value, list):
        return tuple(_decoded(part, folder, arrays) for part in value)
    if not isinstance(value, dict):
        return value
    if "number" in value:
        return float(value["number"])
    if "mapping" in value:
        return {key: _decoded(part, folder, arrays) for key, part in value["mapping"].items()}
    if "strategy" in value:
        return load(folder / _place(value["strategy"], folder))
    if "detector" in value:
        return load_detector(folder / _place(value["detector"], folder))
    if "external" in value:
        return External(**{k: v for k, v in value["external"].items() if k != "kind"})
    if "array" in value:
        return arrays[value["array"]].numpy()
    if "time" in value:
        return (
            pd.Timestamp(value["time"])
            if value["zone"] is None
            else pd.Timestamp(value["time"]).tz_convert(value["zone"])
        )
    settings = {name: _decoded(part, folder, arrays) for name, part in value["settings"].items()}
    return find(PARTS, value["kind"], f"{folder}: a part called")(**settings)


def _place(name: Any, folder: Path) -> str:
    if not isinstance(name, str) or not _PLACE.fullmatch(name):
        raise InputError(f"{folder / FILE}: {name!r} is no file of a stored strategy; register it again")
    return name


def _from_file(config: Mapping[str, Any], settings: dict[str, Any], folder: Path) -> Strategy:
    """Execute a user's file, after a check that it and the data that it reads are those that were stored."""
    code = b""
    for name, digest in config["sha256"].items():
        path = folder / _place(name, folder)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise InputError(
                f"{path} was changed since it was stored, and is not executed; register the strategy again"
            )
        code = content if name == config["file"] else code
    strategy = strategy_of_code(folder / config["file"], code, config["calls"])(**settings)
    return _named(strategy, config["name"])


def _named(strategy: Strategy, name: str) -> Strategy:
    if strategy.name != name:
        object.__setattr__(strategy, "name", name)  # also of a frozen dataclass
    return strategy


__all__ = ["DATA", "FILE", "KINDS", "described", "fingerprint", "load", "save", "settings_of"]
