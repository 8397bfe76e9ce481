"""`exposure_learner`: learners with settings for exposure to one market of two regimes, for `regimeshift headroom --learner`.

Markets can be simulated without end there, so nothing is shrunk for want of data: no weight decay, no test of a tilt. What comes
out is what a learner's form can do, and an upper bound for one that has a single history of real prices to learn from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from markets import Costs, Execution, Features, InputError
from metalearner.learners import LEARNERS
from metalearner.learners.base import MetaLearner
from metalearner.objectives.pathwise import Pathwise
from metalearner.objectives.risk import CertaintyEquivalent
from strategies import PolicySettings, Pool, PortfolioSettings

RISK_STEPS, STEPS = 150, 300  # of training: of few parameters, and of a network


def exposure_learner(
    name: str,
    *,
    costs: Costs,
    execution: Execution,
    risk_aversion: float,
    pool: Pool,
    features: Features,
    volatility: int,
    seed: int = 0,
) -> MetaLearner:
    """A learner by its name on the command line.

    Parameters
    ----------
    name : str
        One of `metalearner.LEARNERS`.
    costs : Costs
    execution : Execution
        Its gross limit is the largest exposure.
    risk_aversion : float
        γ of the certainty equivalent that training maximises.
    pool : Pool
        Estimates of a portfolio policy.
    features : Features
        Inputs of a network.
    volatility : int
        Bars of a volatility.
    seed : int
        Of the training.

    Returns
    -------
    MetaLearner

    Raises
    ------
    InputError
        When the name is unknown.
    """
    if name not in LEARNERS:
        raise InputError(f"learner {name!r} is unknown; use {', '.join(LEARNERS)}")
    learner = LEARNERS[name]()
    assert isinstance(learner.objective, Pathwise)
    utility = CertaintyEquivalent(risk_aversion)
    objective = replace(learner.objective, costs=costs, execution=execution, utility=utility, symbols=0)
    options: dict[str, Any] = {"objective": objective}
    if isinstance(learner.policy, PortfolioSettings):
        options["policy"] = replace(
            learner.policy, kind="mean_variance", exposure="target", limit=execution.gross, pool=pool
        )
        training = replace(learner.training, steps=RISK_STEPS, batch=32, learning_rate=0.1)
    else:
        assert isinstance(learner.policy, PolicySettings)
        # a tilt on an account that is always invested has no gradient where the account may not hold more
        options["policy"] = replace(
            learner.policy, base="flat", base_window=volatility, features=features, limit=execution.gross
        )
        training = replace(learner.training, steps=STEPS, keep="last", evidence=None, schedule="cosine")
    options["training"] = replace(training, weight_decay=0.0, seed=seed, device="cpu")
    return replace(learner, **options)
