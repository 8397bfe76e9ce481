"""The one table of what is compared: baselines, the pool, and learners with the controls that were trained beside them.

A contender is built for the costs and the account of a universe. What learns is trained anew at the start of each fold, on its
universe alone or, where `Contender.across` says so, on all universes that were known then. Its control is another contender: the
same family, *trained* without memory or steps, or with estimates frozen at the fold's start. Some learners train theirs beside
them; such a control is a way (`Contender.way`) to deploy the models of (`Contender.of`) the learner. What is shown and is no
control is another way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.real_market.described import described
from benchmarks.real_market.frozen import FrozenAtFolds
from benchmarks.real_market.variants import Way
from markets import Costs, Execution
from metalearner import RL2, AdaptiveRisk, CostCurriculum, Pathwise, Training
from metalearner import MinimumVariance as LeastVariance
from metalearner.objectives.utilities import Utility
from strategies import (
    EqualWeight,
    InverseVolatility,
    MinimumVariance,
    Momentum,
    MomentumBlend,
    PolicySettings,
    PortfolioSettings,
    Strategy,
    VolatilityTarget,
)
from strategies.rules.covariances import (
    Covariance,
    ExpandingCovariance,
    ExponentialCovariance,
    LedoitWolfCovariance,
    PooledCovariance,
    RegimeAdjustedCovariance,
)

Role = Literal["baseline", "pool", "adapted", "control", "shown"]


@dataclass(frozen=True)
class Setting:
    """What a contender is built for.

    Attributes
    ----------
    costs : Costs
    execution : Execution
    seed : int
        Of trainings.
    quick : bool
        Whether trainings may be too short to learn anything.
    """

    costs: Costs
    execution: Execution
    seed: int = 0
    quick: bool = False


@dataclass(frozen=True)
class Contender:
    """A row of the table.

    Attributes
    ----------
    name : str
    role : {"baseline", "pool", "adapted", "control", "shown"}
        ``baseline`` and ``pool`` are what rung 3 is about, ``adapted`` what is tried, ``control`` what it is compared with;
        ``shown`` stands in the tables and is compared with nothing.
    build : callable or None
        A strategy, or a learner, from a `Setting`; None for one that is `of` another.
    control, base : str
        For ``adapted``: names of its control, and of what it must not harm.
    across : bool
        Whether it is trained on all universes known at a fold's start.
    seeds : int
        Trainings per fold, whose plans are averaged; the Sharpe ratios of single seeds are shown too.
    on : tuple of str
        Universes that it trades; empty for all.
    of, way : str
        The learner whose models these are, and how they are deployed; see `benchmarks.real_market.variants`. It is trained,
        and trades, as that one is.
    """

    name: str
    role: Role
    build: Callable[[Setting], Any] | None
    control: str = ""
    base: str = ""
    across: bool = False
    seeds: int = 1
    on: tuple[str, ...] = ()
    of: str = ""
    way: Way = "control"

    def trades(self, universe: str, protocol: Sequence[str]) -> bool:
        """Whether it trades a universe: its own, or a user's, which is not of the protocol."""
        return not self.on or universe in self.on or universe not in protocol


def _volatility_target(setting: Setting) -> Strategy:
    return VolatilityTarget(EqualWeight(), 0.1, 21, largest=setting.execution.gross)


def _least_variance(covariance: Covariance) -> Callable[[Setting], Strategy]:
    return lambda setting: MinimumVariance(252, "week", covariance)


def _rl2(setting: Setting) -> RL2:
    steps = 4 if setting.quick else 80
    training = Training(steps=steps, evaluate_every=min(steps, 20), evidence=None, seed=setting.seed)
    objective = Pathwise(costs=setting.costs, execution=setting.execution)
    return RL2(PolicySettings(), objective, training, context=60, control="trained")


def _risk(setting: Setting) -> AdaptiveRisk:
    policy = PortfolioSettings(limit=setting.execution.gross)
    return _adaptive(setting, policy, LeastVariance())


def _adaptive(setting: Setting, policy: PortfolioSettings, utility: Utility) -> AdaptiveRisk:
    objective = Pathwise(
        costs=setting.costs,
        execution=setting.execution,
        utility=utility,
        symbols=0,
        curriculum=CostCurriculum(0.0, 0.0),
    )
    learner = AdaptiveRisk(policy=policy, objective=objective)
    steps = 4 if setting.quick else learner.training.steps
    training = replace(
        learner.training, seed=setting.seed, steps=steps, evaluate_every=min(steps, learner.training.evaluate_every)
    )
    return replace(learner, training=training)


def _frozen(setting: Setting) -> FrozenAtFolds:
    return FrozenAtFolds(MinimumVariance(252, "week", PooledCovariance()))


def variant(of: Contender, name: str, role: Role, way: Way) -> Contender:
    """The models of a learner, deployed in another way."""
    return replace(of, name=name, role=role, build=None, control="", base="", of=of.name, way=way)


_RISK = Contender("adaptive risk", "adapted", _risk, "risk, frozen", "min var, pool")
_RISK_ACROSS = Contender("risk across", "adapted", _risk, "risk across, frozen", "min var, pool", across=True)
_RL2 = Contender("RL2", "adapted", _rl2, "RL2 without memory", "inverse volatility")
_WIDE = Contender("RL2 across", "adapted", _rl2, "RL2 across, no memory", "inverse volatility", across=True)

CONTENDERS: tuple[Contender, ...] = (
    Contender("equal weight", "baseline", lambda _: EqualWeight()),
    Contender("inverse volatility", "baseline", lambda _: InverseVolatility()),
    Contender("volatility target", "baseline", _volatility_target),
    Contender("momentum 252", "baseline", lambda _: Momentum(252)),
    Contender("momentum blend", "baseline", lambda _: MomentumBlend()),
    Contender("min var, EWMA", "baseline", _least_variance(ExponentialCovariance(63))),
    Contender("min var, expanding", "baseline", _least_variance(ExpandingCovariance())),
    Contender("min var, Ledoit–Wolf", "baseline", _least_variance(LedoitWolfCovariance())),
    Contender("min var, regime-adj.", "baseline", _least_variance(RegimeAdjustedCovariance())),
    Contender("min var, pool", "pool", _least_variance(PooledCovariance())),
    Contender("min var, frozen", "control", _frozen),
    _RISK,
    variant(_RISK, "risk, frozen", "control", "control"),
    _RISK_ACROSS,
    variant(_RISK_ACROSS, "risk across, frozen", "control", "control"),
    _RL2,
    variant(_RL2, "RL2 without memory", "control", "control"),
    variant(_RL2, "RL2, cleared", "shown", "cleared"),
    variant(_RL2, "RL2, another's past", "shown", "others_past"),
    _WIDE,
    variant(_WIDE, "RL2 across, no memory", "control", "control"),
)
"""In the order of the tables."""


def descriptions(contenders: Sequence[Contender] = CONTENDERS) -> dict[str, Any]:
    """All settings of contenders by name, for the protocol; costs and accounts are the universes'."""
    setting = Setting(Costs(), Execution())
    found = {}
    for c in contenders:
        rows = {
            "role": c.role,
            "control": c.control,
            "base": c.base,
            "across": c.across,
            "seeds": c.seeds,
            "on": list(c.on),
        }
        what = {"of": c.of, "way": c.way} if c.build is None else {"settings": described(c.build(setting))}
        found[c.name] = rows | what
    return found
