"""`EnvConfig`: settings of the environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from markets.accounting.costs import Costs, Execution
from markets.common.errors import InputError
from markets.envs.rewards import Reward, RewardFunction
from markets.features.composition import Features
from markets.regimes.base import RegimeDetector
from markets.tasks import Task, TaskSet


@dataclass(frozen=True)
class EnvConfig:
    """Settings shared by all environments. Each is also a keyword argument of the environments.

    Attributes
    ----------
    regime : str or int, optional
        Name of a regime, or its label (0 is the calmest). Episodes then run only on bars that the detector's filter assigns
        to this regime, and end when it ends.
    detector : RegimeDetector, optional
        A fitted detector. By default, a `HiddenMarkovRegimes` is fitted on the bars up to `fit_until`, and episodes start
        after these bars.
    fit_until : str or Timestamp, optional
        Last bar of the fit if no detector is given. By default the middle of the bars, with a warning that names that bar.
    task : Task or TaskSet, optional
        Episodes run inside this task instead. With a set, each episode runs through a randomly drawn task from its first
        bar.
    features : Features
    costs : Costs or str
        A string such as ``"10bp"`` is a commission per side.
    execution : Execution
        Fill time, sizing and limits. Weights beyond the limits are clipped or scaled to them.
    episode_bars : int
        Maximum number of steps of an episode. An episode starts at a random bar that leaves at least two steps, and ends
        early at the end of the data or of the regime.
    actions : {"box", "simplex", "discrete"}
        See `markets.envs.actions.Actions`.
    positions : sequence of float
        For discrete actions.
    reward : {"log_return", "mean_variance", "differential_sharpe"}, callable or Reward
        See `Reward`.

    Raises
    ------
    InputError
        When a setting is out of range, or two settings conflict.
    """

    regime: str | int | None = None
    detector: RegimeDetector | None = None
    fit_until: str | pd.Timestamp | None = None
    task: Task | TaskSet | None = None
    features: Features = field(default_factory=Features)
    costs: Costs | str = "10bp"
    execution: Execution = field(default_factory=Execution)
    episode_bars: int = 252
    actions: Literal["box", "simplex", "discrete"] = "box"
    positions: Sequence[float] = (-1, 0, 1)
    reward: str | RewardFunction | Reward = "log_return"

    @classmethod
    def of(cls, config: EnvConfig | None, options: Mapping[str, Any]) -> EnvConfig:
        """`config`, or the defaults, with `options` in place of its fields."""
        if config is not None and not isinstance(config, EnvConfig):
            raise InputError(
                f'config is {config!r}; it must be an EnvConfig, or give settings by name, such as regime="crisis"'
            )
        return replace(config or cls(), **options)

    def __post_init__(self) -> None:
        if not isinstance(self.episode_bars, (int, np.integer)) or self.episode_bars < 1:
            raise InputError(f"episode_bars is {self.episode_bars!r}; it must be a whole number of at least 1")
        for name, kind in (("features", Features), ("execution", Execution)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise InputError(f"{name} is {value!r}; give {kind.__name__}(...)")
        if self.task is not None and self.regime is not None:
            raise InputError("give a task or a regime, not both: a task already belongs to a regime")
        if self.regime is None and (self.detector is not None or self.fit_until is not None):
            given = "detector" if self.fit_until is None else "fit_until"
            raise InputError(f'{given} is for episodes in one regime; say which: regime="crisis", or its number')
        if self.detector is not None and self.fit_until is not None:
            raise InputError("give a fitted detector or fit_until, not both")
        object.__setattr__(self, "costs", Costs.parse(self.costs))
        object.__setattr__(self, "reward", Reward.of(self.reward))
