"""`EnvConfig`: settings of the environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

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

    def __post_init__(self) -> None:
        if self.episode_bars < 1:
            raise InputError(f"episode_bars is {self.episode_bars}; it must be at least 1")
        if self.task is not None and self.regime is not None:
            raise InputError("give a task or a regime, not both: a task already belongs to a regime")
        if self.detector is not None and self.fit_until is not None:
            raise InputError("give a fitted detector or fit_until, not both")
        object.__setattr__(self, "costs", Costs.parse(self.costs))
        object.__setattr__(self, "reward", Reward.of(self.reward))
