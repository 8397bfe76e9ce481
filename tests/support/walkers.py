"""A learner that learns in a moment, and what a test of the engine runs: in a module, so that workers can import it."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from markets import Bars, TaskSet
from strategies import EqualWeight, Momentum, Plan, Strategy


class Tilted(Strategy):
    """Equal weight, tilted towards one vector of weights."""

    name, warmup = "tilted", 1

    def __init__(self, tilt: np.ndarray):
        self.tilt = tilt

    def plan(self, bars: Bars) -> Plan:
        base = EqualWeight().plan(bars).aim
        return Plan(base * (1 + self.tilt), np.full(bars.shape, 0.01))


class MeanPolicy:
    """Tilts by the mean return of training, plus that of the bars it adapts to."""

    name = "mean"

    def __init__(self, prior: np.ndarray, seen_until: pd.Timestamp, seed: int):
        self.prior, self.seen_until, self.seed = prior, seen_until, seed

    def adapt(self, bars: Bars) -> Strategy:
        close = bars.with_past().close[-60:]
        return Tilted(np.tanh(self.prior + 100 * np.diff(np.log(close), axis=0).mean(axis=0)))

    def unadapted(self) -> Strategy:
        return Tilted(np.tanh(self.prior))


@dataclass(frozen=True)
class MeanLearner:
    """Learns the mean return of each symbol on the query bars of its tasks.

    `dies_once`, if given, is a file: the process that makes it kills itself, as if it had been killed.
    """

    scale: float = 100.0
    seed: int = 0
    name: str = "mean"
    dies_once: str = ""

    def with_seed(self, seed: int) -> "MeanLearner":
        return replace(self, seed=seed)

    def fit(self, tasks: TaskSet, validation: TaskSet, *, progress: bool) -> MeanPolicy:
        if self.dies_once and not Path(self.dies_once).exists():
            Path(self.dies_once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        means = [np.diff(np.log(task.query.close), axis=0).mean(axis=0) for task in (*tasks, *validation)]
        noise = np.random.default_rng(self.seed).normal(0, 1e-3, len(means[0]))
        last = max(task.times[2] for task in (*tasks, *validation))
        return MeanPolicy(self.scale * np.mean(means, axis=0) + noise, last, self.seed)


def study(dies_once: str = "") -> list:
    """Strategies of each kind."""
    return [MeanLearner(dies_once=dies_once), Momentum(50), EqualWeight()]
