"""Adapting risk: a portfolio policy whose estimates follow the market, meta-trained beside a control whose estimates are frozen.

How fast to forget, how much to shrink, how much to hold and how wide the no-trade zone is, is learnt on tasks of the past by the
exact gradient through the account, as a function of what can be seen of the market (`strategies.portfolio.policy`). At a new
regime nothing is trained: the policy reads the market and weighs its pool of estimates accordingly.

The control answers what adapting is worth. It is of the same family and *trained* under its condition: at training its
estimates are those at each task's cut, in use those at the last bar that was known at training, and no gate reads the market. A
policy that was trained to adapt and is then kept from it would be a weaker opponent.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from torch import nn

from markets import Bars, InputError, TaskSet
from metalearner.learners.base import MetaLearner, MetaPolicy, query_scores
from metalearner.learners.rl2 import QueryUtility
from metalearner.learners.transfer import NewMarket
from metalearner.objective import TaskSampler
from metalearner.objectives.across import Across
from metalearner.objectives.pathwise import CostCurriculum, Pathwise
from metalearner.objectives.risk import MinimumVariance
from metalearner.training.algorithm import Algorithm
from metalearner.training.config import Training
from strategies import PortfolioSettings, PortfolioStrategy
from strategies.networks import named_params
from strategies.strategy import latest

_CONTROL = "control"  # folder of a saved one, and the end of the name of its checkpoint


class PortfolioUtility(QueryUtility):
    """Maximises the utility of the query by a portfolio policy.

    How much to hold is a matter of taste and has no usual value, so weight decay leaves it alone.
    """

    def parameter_groups(self, training: Training) -> list[dict[str, Any]]:
        named = dict(self.module.named_parameters())
        level = named.pop("level")
        return [
            {"params": list(named.values()), "faster": 1.0, "weight_decay": training.weight_decay},
            {"params": [level], "faster": 1.0, "weight_decay": 0.0},
        ]


class RiskPolicy(MetaPolicy, kind="risk"):
    """A portfolio policy that adapts by its estimates, with the control that was trained beside it.

    Attributes
    ----------
    control : PortfolioStrategy
        With frozen estimates.
    """

    control: PortfolioStrategy

    def adapt(self, task: Any) -> Any:
        """The policy as a strategy, with unchanged weights: it estimates on the bars that it is shown.

        Raises
        ------
        InputError
            When `task` is not a `Bars`, has too few bars for an estimate, or bars of another length than those of training.
        """
        if not isinstance(task, Bars):
            raise InputError(f"adapting needs Bars, not {type(task).__name__}; for a Task, pass `task.support`")
        self._check_like_training(task)
        self.policy.settings.require(task, more=1)
        return self._deploy(self.policy, self.name)

    def unadapted(self) -> PortfolioStrategy:
        """The control: trained with frozen estimates, and holding those at its `seen_until`, the last bar known at training."""
        return self.control

    def evaluate(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query, with estimates that follow the market."""
        return self._scores(self.policy, tasks)

    def evaluate_unadapted(self, tasks: TaskSet) -> np.ndarray:
        """Utility per bar on each query of the control's policy, with the estimates at the query's start."""
        return self._scores(self.control.policy, tasks)

    def _transferred(self, market: NewMarket) -> Self:
        other = super()._transferred(market)
        policy = market.policy(self.control.policy)
        market.earned(policy, lambda tasks: other._scores(policy, tasks), other.support)
        other.control = PortfolioStrategy(policy, self.control.name, other.seen_until).frozen_at(market.bars)
        return other

    def _scores(self, policy: Any, tasks: TaskSet) -> np.ndarray:
        sampler = self.objective.sampler(tasks, policy, self.context)
        return query_scores(sampler, policy, named_params(policy), np.random.default_rng(0))

    def _save_more(self, folder: Path) -> None:
        self.control.save(folder / _CONTROL)

    def _config(self) -> dict[str, Any]:
        return {"context": self.context}

    def _restore(self, config: dict[str, Any], folder: Path) -> None:
        self.context = config["context"]
        self.control = PortfolioStrategy.load(folder / _CONTROL)


def _charged_at_once() -> Pathwise:
    # a portfolio trades from the first step on, so that costs need no curriculum
    return Pathwise(utility=MinimumVariance(), symbols=0, curriculum=CostCurriculum(free=0.0, ramp=0.0))


@dataclass(frozen=True)
class AdaptiveRisk(MetaLearner):
    """Meta-learning of how to adapt risk. Further attributes are those of `MetaLearner`.

    Attributes
    ----------
    policy : PortfolioSettings
    objective : Pathwise
        By default of the variance, with costs charged from the first step on. To learn how much to hold, give
        ``Pathwise(utility=CertaintyEquivalent(5), symbols=0, ...)`` and a policy with exposure ``target``.
    training : Training
        By default with few tasks a step and a weight decay of 1: Adam moves a parameter by its gradient's mean over its size,
        which is as large as tasks differ, so decay holds it at that ratio. What the tasks do not agree on stays near zero, where
        the policy is the textbook's; so nothing is selected on validation tasks, and they, the latest, are trained on too.
    context : int
        Bars of each path before the first that counts, in which its first portfolio is bought.

    Raises
    ------
    InputError
        When `policy` is not a `PortfolioSettings`, or does not adapt, or could hold nothing where that is best: with exposure
        ``target``, of the variance alone.
    """

    policy: Any = field(default_factory=PortfolioSettings)
    objective: Any = field(default_factory=_charged_at_once)
    training: Training = field(
        default_factory=lambda: Training(
            steps=150,
            batch=4,
            learning_rate=0.03,
            weight_decay=1.0,
            schedule="cosine",
            evaluate_every=50,
            keep="last",
            evidence=None,
            on_validation=True,
        )
    )
    context: int = 5
    name: str = "adaptive risk"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.policy, PortfolioSettings) or not self.policy.adapts:
            raise InputError(
                f"{self.name}: policy is {self.policy!r}; it must be PortfolioSettings(...) that adapt (the control is trained "
                "beside them)"
            )
        if self.policy.exposure == "target" and isinstance(getattr(self.objective, "utility", None), MinimumVariance):
            raise InputError(
                f"{self.name}: an account in cash has the least variance, so a policy with exposure 'target' would learn to hold "
                "nothing; use exposure='full', or another utility, such as CertaintyEquivalent()"
            )

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Algorithm:
        return PortfolioUtility(policy, sampler)

    def fit(self, tasks: Any, validation: Any, *, checkpoint: str | Path | None = None, **options: Any) -> RiskPolicy:
        """Train the policy, and then its control; arguments as for `MetaLearner.fit`.

        The control has its own checkpoint, with ``-control`` appended to the file's stem.
        """
        across = isinstance(validation, Across)
        meta = super().fit(tasks, validation, checkpoint=checkpoint, **options)
        assert isinstance(meta, RiskPolicy)
        beside = None if checkpoint is None else Path(checkpoint).with_stem(f"{Path(checkpoint).stem}-{_CONTROL}")
        control = _Control(
            replace(self.policy, adapts=False), self.objective, self.training, self.context, f"{self.name}, unadapted"
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*cannot support a tilt")  # the policy has said so
            fitted = control.fit(tasks, validation, checkpoint=beside, **options)
        # The last bar known, which the last task may end before: estimates that are older by that much would be unfair to it.
        known = (
            latest(each.tasks.bars.index[-1] for each in validation.universes) if across else validation.bars.index[-1]
        )
        meta.control = PortfolioStrategy(fitted.policy, fitted.name, known)
        if not across:  # else it is known only at use which universe is traded
            meta.control = meta.control.frozen_at(validation.bars)
        return meta

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> RiskPolicy:
        assert isinstance(trained, PortfolioUtility)
        return RiskPolicy(self.name, trained.policy, self.context, self.objective, seen_until, history)


@dataclass(frozen=True)
class _Control(MetaLearner):
    """Trains the control."""

    def algorithm(self, policy: nn.Module, sampler: TaskSampler) -> Algorithm:
        return PortfolioUtility(policy, sampler)

    def deploy(
        self, trained: Algorithm, selected: Algorithm, seen_until: pd.Timestamp | None, history: pd.DataFrame
    ) -> RiskPolicy:
        assert isinstance(trained, PortfolioUtility)
        return RiskPolicy(self.name, trained.policy, self.context, self.objective, seen_until, history)
