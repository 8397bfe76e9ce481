"""RL²: the policy's memory is the learner.

A recurrent policy is trained over whole tasks with the memory kept from the support into the query, so that what it has
seen of the regime is in its memory when it is judged; adapting is reading (Duan et al., "RL²: fast reinforcement learning
via slow reinforcement learning", arXiv 1611.02779). Here the market is not moved by the trader, so the policy gradient is
exact (`metalearner.objectives`)::

    maximise over θ   E_task [ utility of the account over the query | memory of the last `context` bars ]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from markets import Bars, TaskSet
from metalearner.base import Log, MetaLearner, MetaPolicy
from metalearner.objectives import Pathwise
from metalearner.training import Training, earned_share, train
from strategies import Policy, PolicySettings, PolicyStrategy
from strategies.policy import with_shrink


class RL2Policy(MetaPolicy):
    """A recurrent policy: it has adapted to whatever its last `context` bars were."""

    learner = "rl2"

    def adapt(self, bars: Bars) -> PolicyStrategy:
        self.policy.settings.features.require(bars.with_past(), more=self.context)
        return self._strategy(self.policy, self.context, self.name)

    def unadapted(self) -> PolicyStrategy:
        """The same weights with the memory cleared at every bar: all that is taken away is what it has seen."""
        return self._strategy(self.policy, 1, f"{self.name}, unadapted")


@dataclass(frozen=True)
class RL2(MetaLearner):
    """Recurrent meta-learning with exact gradients through the simulator.

    Attributes
    ----------
    policy : PolicySettings
    context : int
        Bars of memory.
    training : Training
    name : str
    """

    policy: PolicySettings = field(default_factory=PolicySettings)
    context: int = 60
    training: Training = field(default_factory=Training)
    name: str = "RL2"

    def fit(
        self,
        tasks: TaskSet,
        validation: TaskSet,
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        log: Log | None = None,
    ) -> RL2Policy:
        policy, history = pretrain(
            self.policy, self.context, self.training, tasks, validation, f"meta-training {self.name}",
            checkpoint=checkpoint, resume=resume, progress=progress, log=log,
        )  # fmt: skip
        return RL2Policy(self.name, policy, self.context, self.training, seen_until(tasks, validation), history)


def pretrain(settings: PolicySettings, context: int, training: Training, tasks: TaskSet, validation: TaskSet, title: str,
             **options):  # fmt: skip
    """One policy for all tasks: trained, the best on validation kept, the tilt shrunk by validation.

    The earlier half of the validation tasks chooses the weights, the later half decides on the tilt: evidence from tasks
    that have already chosen would be flattered.
    """
    half = (len(validation) + 1) // 2
    choosing = TaskSet(validation.tasks[:half])
    judging = TaskSet(validation.tasks[half:]) if len(validation) > 1 else choosing
    about = (settings, context, training.costs, training.execution, training.utility)
    on_tasks, on_choosing, on_judging = (Pathwise.of_tasks(t, *about) for t in (tasks, choosing, judging))
    with torch.random.fork_rng(devices=[]):  # the start of the weights is seeded; the caller's generator is left alone
        torch.manual_seed(training.seed)
        policy = Policy(settings)
    history = train(policy, training, on_tasks, on_choosing, title=title, **options)
    return with_shrink(policy, earned_share(policy, on_judging, training.evidence)), history


def seen_until(*sets: TaskSet) -> pd.Timestamp:
    """Last bar of any task."""
    return max(task.times[2] for tasks in sets for task in tasks)
