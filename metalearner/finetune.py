"""Multi-task pre-training, then a few gradient steps on the support: the baseline that so often wins.

One policy without memory is trained on all tasks; to adapt, its parameters take K plain gradient steps of the same
utility on the last `support` bars::

    θ' = θ + lr ∇ utility(θ; support),   K times
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from markets import Bars, TaskSet
from metalearner.base import Log, MetaLearner, MetaPolicy
from metalearner.objectives import Pathwise
from metalearner.rl2 import pretrain, seen_until
from metalearner.training import Training
from strategies import PolicySettings, PolicyStrategy

SUPPORT = 120
STEPS = 5
STEP_SIZE = 0.1


class FineTunePolicy(MetaPolicy):
    """A policy without memory that takes gradient steps on what it saw last."""

    learner = "finetune"

    def adapt(self, bars: Bars) -> PolicyStrategy:
        held = bars.with_past()
        self.policy.settings.features.require(held, more=SUPPORT)
        policy, training = copy.deepcopy(self.policy).train(), self.training
        recent = bars.without_past(keep=self.policy.settings.features.lookback + 2 * SUPPORT).with_past()
        rows = np.array([len(recent)])
        support = Pathwise(
            recent, rows - SUPPORT, rows, policy.settings, 1, training.costs, training.execution, training.utility
        )
        for _ in range(STEPS):
            utility = support(policy, np.array([0])).mean()
            policy.zero_grad()
            utility.backward()
            with torch.no_grad():
                for parameter in policy.parameters():
                    if parameter.grad is not None:
                        parameter.add_(parameter.grad, alpha=STEP_SIZE)
        return self._strategy(policy.eval(), 1, self.name)

    def unadapted(self) -> PolicyStrategy:
        """The pre-trained weights, no gradient step taken."""
        return self._strategy(self.policy, 1, f"{self.name}, unadapted")


@dataclass(frozen=True)
class FineTune(MetaLearner):
    """Pre-train on all tasks, fine-tune on the support.

    Attributes
    ----------
    policy : PolicySettings
        Without memory.
    training : Training
    name : str
    """

    policy: PolicySettings = field(default_factory=lambda: PolicySettings(memory="none"))
    training: Training = field(default_factory=Training)
    name: str = "pre-train + fine-tune"

    def fit(
        self,
        tasks: TaskSet,
        validation: TaskSet,
        *,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        log: Log | None = None,
    ) -> FineTunePolicy:
        policy, history = pretrain(
            self.policy, 1, self.training, tasks, validation, "pre-training",
            checkpoint=checkpoint, resume=resume, progress=progress, log=log,
        )  # fmt: skip
        return FineTunePolicy(self.name, policy, 1, self.training, seen_until(tasks, validation), history)
