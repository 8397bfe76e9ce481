"""`EnvConfig`: what an environment trades under, and where its episodes run."""

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
    """Settings that all environments share; each is also a keyword of theirs.

    Attributes
    ----------
    regime : str or int, optional
        Name of a regime, or its label (0 is the calmest): episodes run only where the detector's filter says so, and end
        where it ends.
    detector : RegimeDetector, optional
        Fitted. Without one, a `HiddenMarkovRegimes` is fitted on the bars up to `fit_until`, and episodes start after it.
    fit_until : str or Timestamp, optional
        Last bar that a detector is fitted on, where none is given; by default the middle of the bars, with a warning that
        says which bar that is.
    task : Task or TaskSet, optional
        Episodes run inside this task instead; of a set, each runs through one that is drawn anew, from its first bar.
    features : Features
    costs : Costs or str
        A side.
    execution : Execution
        Fill time, sizing, limits. Weights beyond its limits are scaled to them.
    episode_bars : int
        Steps at most in an episode. It starts at a random bar that leaves it two, and ends early at the end of the data or of
        the regime.
    actions : {"box", "simplex", "discrete"}
        See `markets.envs.actions.Actions`.
    positions : sequence of float
        For discrete actions.
    reward : {"log_return", "mean_variance", "differential_sharpe"}, callable or Reward
        See `Reward`.

    Raises
    ------
    InputError
        When a setting is out of range, or two do not go together.
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
            raise InputError("give a task or a regime, not both: a task lies in one regime already")
        if self.detector is not None and self.fit_until is not None:
            raise InputError("give a fitted detector or fit_until, not both")
        object.__setattr__(self, "costs", Costs.parse(self.costs))
        object.__setattr__(self, "reward", Reward.of(self.reward))
