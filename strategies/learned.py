"""`LearnedStrategy`: the base class of strategies that run a torch policy.

There are kinds of policies, each with its settings and its inputs. Whoever trains, saves or deploys one need not know which: the
settings say it (`kind_of`), or the saved file does (`load_learned`).
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd
from torch import Tensor, nn

from markets import Bars, InputError
from markets.common.kinds import register
from markets.features import Part
from strategies.serialization import settled
from strategies.strategy import Strategy


class Inputs(Protocol):
    """What a policy reads of some bars, for paths along them.

    Attributes
    ----------
    symbols : int
    known : ndarray of bool, shape (T, A)
        Whether anything of a symbol is known at the rows of ``bars.with_past()``.
    missing : str
        Why nothing is known in the ``{part}`` of a task, and what to do.
    """

    symbols: int
    known: np.ndarray
    missing: str

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the policy that are the same for all paths."""

    def along(self, rows: Tensor, cut: np.ndarray, universe: np.ndarray | None) -> tuple[Tensor, ...]:
        """Arguments of the policy for B paths, each with a first dimension of B.

        Parameters
        ----------
        rows : Tensor of int, shape (B, T)
            Consecutive rows of each path.
        cut : ndarray of int, shape (B,)
            First row that counts.
        universe : ndarray of int, shape (B, few), or None
            The symbols that each path may see; None is all.
        """


class LearnedStrategy(Strategy):
    """A strategy with weights, which can be saved and deployed. Its rows depend on a fixed number of past bars.

    Attributes
    ----------
    policy : Module
        With its `settings`.
    context : int
        Bars of memory; 1 is none.
    seen_until : Timestamp or None
        Last bar used to train or select the weights. Results up to this bar are in sample.
    file : str
        Name of its JSON file, by which a saved strategy says its kind.
    settings : type
        Class of the settings of its policies. They have ``lookback``, the bars that a row reads before it; ``fewest``, a
        symbol's own bars before which nothing is known; ``require(bars, more)``, which refuses too few; and ``base_name``.
    """

    kinds: ClassVar[dict[str, type[LearnedStrategy]]] = {}
    file: ClassVar[str]
    settings: ClassVar[type]
    policy: Any
    context: int
    seen_until: pd.Timestamp | None

    def __init_subclass__(cls, file: str, settings: type) -> None:
        register(LearnedStrategy.kinds, file, cls, "learned strategies")
        cls.file, cls.settings = file, settings

    @staticmethod
    @abstractmethod
    def build(settings: Any) -> nn.Module:
        """A new policy."""

    @staticmethod
    @abstractmethod
    def inputs(settings: Any, bars: Bars) -> Inputs:
        """What such a policy reads of `bars`."""

    @classmethod
    @abstractmethod
    def of(cls, policy: Any, context: int, name: str, seen_until: pd.Timestamp | None) -> Self:
        """A policy as a strategy."""

    @property
    def features(self) -> tuple[Part, ...]:
        """The features that its policy reads; none by default."""
        return ()

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of the settings and the weights."""

    @property
    @abstractmethod
    def described(self) -> dict[str, Any]:
        """Settings by name, as they are logged when it is registered."""

    @abstractmethod
    def save(self, folder: str | Path) -> Path:
        """Write its JSON file and its weights."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a strategy written by `save`.

        Raises
        ------
        InputError
            When files are missing or inconsistent with each other.
        """


def kind_of(settings: Any) -> type[LearnedStrategy]:
    """The kind of strategy whose policies have such settings.

    Raises
    ------
    InputError
        When there is none.
    """
    for kind in LearnedStrategy.kinds.values():
        if isinstance(settings, kind.settings):
            return kind
    names = " or ".join(kind.settings.__name__ for kind in LearnedStrategy.kinds.values())
    raise InputError(f"a policy that trades needs {names}, not {type(settings).__name__}")


def load_learned(folder: str | Path) -> LearnedStrategy:
    """Read a strategy written by `LearnedStrategy.save`, of whatever kind.

    Raises
    ------
    InputError
        When there is none, or files are inconsistent with each other.
    """
    with settled(folder):
        found = [kind for file, kind in LearnedStrategy.kinds.items() if (Path(folder) / file).exists()]
    if not found:
        raise InputError(f"{folder}: not a saved strategy (there is no {' or '.join(LearnedStrategy.kinds)})")
    for kind in found[:-1]:  # one of another kind was saved there before, and its file does not fit the weights
        with suppress(InputError):
            return kind.load(folder)
    return found[-1].load(folder)
