"""`Protocol`: what is compared, where and how it is judged, in a file whose hash stands beside every figure.

``protocol.json`` has two parts. What a person decides: universes, spans, costs, leverage, left-out symbols with the reason, the
statistics, and how many configurations were tried on the development spans before. And ``contenders``, which
``python -m benchmarks.real_market --write-protocol`` fills in from the table of `benchmarks.real_market.contenders`: the settings
of every strategy and learner. A test span is opened for a protocol alone that is committed, together with the code, and that the
table still agrees with; so what is tested was fixed before, and anybody can read in the history when.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markets import Costs, Execution, InputError

FILE = Path(__file__).with_name("protocol.json")
_CODE = ("markets", "strategies", "metalearner", "backtests", "benchmarks")  # what decides on the figures of a trial


@dataclass(frozen=True)
class UniverseRules:
    """What a protocol says of one universe.

    Attributes
    ----------
    name : str
        As `markets.load` takes it.
    development, test : pair of str
        First and last day or year that are traded, both included. Nothing after ``development[1]`` is looked at in development.
    costs : str or dict
        As `Costs.parse` takes it, or fields of `Costs`.
    leverage : float
        Largest gross weight of the account. Above 1 it may borrow, free of interest.
    excluded : dict
        Symbols that are left out, with the reason.
    delisting_haircut : float
        Fraction of its last price that a delisted symbol loses: 0 for a currency that becomes another one.
    """

    name: str
    development: tuple[str, str]
    test: tuple[str, str]
    costs: Any
    leverage: float
    excluded: dict[str, str]
    delisting_haircut: float = 0.3

    @property
    def charged(self) -> Costs:
        """The costs as `Costs`.

        Raises
        ------
        InputError
            When they cannot be read.
        """
        return charged(self.costs, self.name)

    @property
    def execution(self) -> Execution:
        """The rules of the account."""
        return execution(self.leverage, self.delisting_haircut)


def charged(costs: Any, name: str) -> Costs:
    """Costs from a text such as ``"10bp"``, or from fields of `Costs` by name.

    Raises
    ------
    InputError
        When they cannot be read; the message begins with `name`.
    """
    try:
        return Costs(**costs) if isinstance(costs, dict) else Costs.parse(costs)
    except TypeError as error:
        raise InputError(f"{name}: costs {costs!r} are not fields of Costs ({error})") from None


def execution(leverage: float, delisting_haircut: float = 0.3) -> Execution:
    """An account that may hold `leverage` times its equity, on borrowed money above 1."""
    return Execution(gross=leverage, borrowing=leverage > 1, delisting_haircut=delisting_haircut)


@dataclass(frozen=True)
class Protocol:
    """A protocol file.

    Attributes
    ----------
    path : Path
    content : bytes
    """

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path = FILE) -> Protocol:
        """Read and check a protocol.

        Raises
        ------
        InputError
            When the file is missing, is no JSON, or lacks an entry.
        """
        try:
            found = cls(path, path.read_bytes())
            _ = found.universes, found.statistics, found.contenders, found.tried, found.primary
        except OSError as error:
            raise InputError(f"{path}: the protocol cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a protocol ({error!r}); see docs/real_market.md") from None
        return found

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def entries(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def universes(self) -> dict[str, UniverseRules]:
        """By name, in the order of the file."""
        return {
            name: UniverseRules(
                name, tuple(u["development"]), tuple(u["test"]), u["costs"], float(u["leverage"]), u["excluded"],
                u.get("delisting_haircut", 0.3),
            )
            for name, u in self.entries["universes"].items()
        }  # fmt: skip

    @property
    def statistics(self) -> dict[str, Any]:
        """Risk aversion, level, resamples, seed of the bootstrap, margin of harm, and whatever else judges."""
        return self.entries["statistics"]

    @property
    def walk_forward(self) -> dict[str, Any]:
        """Bars between adaptations, time between trainings, and how known bars are cut into tasks."""
        return self.entries["walk_forward"]

    @property
    def primary(self) -> dict[str, str]:
        """Contenders by what they are judged for; their figures are the short JSON keys.

        ``variance``: the variance of rungs 2 and 3. ``certainty``: their certainty equivalent, and rung 1. ``returns``: rung 4;
        the same as ``certainty`` if it is not named. All may be one contender.
        """
        named = self.entries["primary"]
        return {kind: named[kind] for kind in ("variance", "certainty")} | {
            "returns": named.get("returns", named["certainty"])
        }

    @property
    def contenders(self) -> dict[str, Any]:
        """Descriptions of all contenders, by name."""
        return self.entries["contenders"]

    @property
    def tried(self) -> int:
        """Configurations tried on development spans before this protocol."""
        return int(self.entries["configurations_tried"])

    def with_contenders(self, contenders: dict[str, Any]) -> bytes:
        """The content of this file with other contenders."""
        return (json.dumps(self.entries | {"contenders": contenders}, indent=1, ensure_ascii=False) + "\n").encode()

    def check_submitted(self, contenders: dict[str, Any]) -> None:
        """Refuse to open a test span unless protocol and code are what is committed, and the table of contenders agrees with it.

        The hash of a protocol covers settings alone. What strategies, tasks and statistics do with them is in the commit, which
        stands beside the hash in every record and figure; so no file of code may differ from it.

        Parameters
        ----------
        contenders : dict
            Descriptions of those that would be run.

        Raises
        ------
        InputError
            When it does not agree, names what is not there, is not committed, or git cannot tell.
        """
        found = json.loads(json.dumps(contenders))
        different = sorted(n for n in {*found, *self.contenders} if found.get(n) != self.contenders.get(n))
        if different:
            raise InputError(
                f"{self.path.name} is not about these contenders ({', '.join(different)}): write them into it with "
                "--write-protocol and commit it, or use --development"
            )
        absent = sorted(n for n in self.primary.values() if found.get(n, {}).get("role") != "adapted")
        if absent:
            raise InputError(
                f"{self.path.name}: primary names {absent[0]!r}, which is no adapted contender; correct it"
            )
        state = self._git("status", "--porcelain", "--", self.path.name)
        if state is None or state or not self._git("ls-files", "--", self.path.name):
            why = "is not in a git repository" if state is None else "is not committed"
            raise InputError(
                f"{self.path.name} {why}, and a test span is opened only for a protocol that was fixed before: commit it, or "
                "use --development"
            )
        changed = self._git("status", "--porcelain", "--", *(f":(top,glob){package}/**/*.py" for package in _CODE))
        if changed:
            raise InputError(
                f"{changed.splitlines()[0].split()[-1]} is not committed, and the commit that is recorded must be the code that "
                "runs: commit it, or use --development"
            )

    def _git(self, *words: str) -> str | None:
        """What git says, beside the file; None where there is no repository."""
        command = ["git", "-C", str(self.path.parent), *words]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None
