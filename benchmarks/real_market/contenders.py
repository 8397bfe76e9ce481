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
from benchmarks.real_market.task_cuts import LongTasks
from benchmarks.real_market.variants import Way
from markets import Costs, Execution, Features
from markets.features import Earned
from metalearner import (
    RL2,
    AdaptiveRisk,
    CertaintyEquivalent,
    CostCurriculum,
    LogVariance,
    MeanVariance,
    Pathwise,
    Training,
)
from metalearner.objectives.utilities import Utility
from strategies import (
    EqualWeight,
    InverseVolatility,
    MinimumVariance,
    Momentum,
    MomentumBlend,
    PolicySettings,
    PortfolioPolicy,
    PortfolioSettings,
    PortfolioStrategy,
    Strategy,
    TrendFollowing,
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
    tasks : LongTasks or None
        How the known bars are cut for it; None as the protocol says.
    invested : bool
        Whether it is always fully invested. Variances are compared between such alone: cash has none.
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
    tasks: LongTasks | None = None
    invested: bool = True
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


def _pooled_minimum(setting: Setting) -> AdaptiveRisk:
    return _adaptive(setting, PortfolioSettings(), LogVariance())


def _minimum_across(setting: Setting) -> AdaptiveRisk:
    learner = _pooled_minimum(setting)
    several = replace(learner.training, batch=10, weight_decay=0.3)  # about two tasks of each universe a step
    return replace(learner, training=several)


def _mean_variance(setting: Setting) -> PortfolioSettings:
    signal: Literal["long", "trend"] = "trend" if setting.execution.gross > 1 else "long"
    return PortfolioSettings(
        "mean_variance", "target", signal, target=0.1, limit=setting.execution.gross, volatility=VOLATILITY
    )


def _pooled_mean_variance(setting: Setting, target: float = 1.0) -> Strategy:
    # by default as much risk as the learner may take, so that drawdowns can be compared
    return PortfolioStrategy(PortfolioPolicy(replace(_mean_variance(setting), target=target)))


def _calmer_pool(setting: Setting) -> Strategy:
    """As much risk as the learner begins with: more of it can cost certainty equivalent, which rung 3 must not gain by."""
    return _pooled_mean_variance(setting, _mean_variance(setting).target)


def _certain(setting: Setting) -> AdaptiveRisk:
    return _adaptive(setting, _mean_variance(setting), CertaintyEquivalent(5.0))


def _adaptive(setting: Setting, policy: PortfolioSettings, utility: Utility) -> AdaptiveRisk:
    objective = Pathwise(
        costs=setting.costs,
        execution=setting.execution,
        utility=utility,
        symbols=0,
        curriculum=CostCurriculum(0.0, 0.0),
    )
    return _trained(AdaptiveRisk(policy=policy, objective=objective), setting)


def _trend(setting: Setting) -> RL2:
    signs = (21, 63, 126, 252)
    memory = (*(Earned(window, signs) for window in (63, 252, 756)), Earned(756), Earned(1260))
    features = Features((*Features().parts, *memory))
    policy = PolicySettings(
        base="trend_following", tilt="position", memory="none", hidden=16, band=0.2, features=features
    )
    objective = Pathwise(
        costs=setting.costs,
        execution=setting.execution,
        utility=MeanVariance(0.2),
        unit=0.0025,
        symbols=8,
        curriculum=CostCurriculum(0.3, 0.3),
    )
    training = Training(
        steps=200,
        batch=48,
        learning_rate=3e-3,
        schedule="linear",
        evaluate_every=200,
        evidence=None,
        keep="last",
        on_validation=True,
    )
    return _trained(RL2(policy, objective, training, context=1, control="trained"), setting)


def _trained(learner: Any, setting: Setting) -> Any:
    """The learner with the seed of a setting, and next to no steps where it is quick."""
    training = replace(learner.training, seed=setting.seed)
    if setting.quick:
        training = replace(training, steps=4, evaluate_every=4)
    return replace(learner, training=training)


def _frozen(setting: Setting) -> FrozenAtFolds:
    return FrozenAtFolds(MinimumVariance(252, "week", PooledCovariance()))


def variant(of: Contender, name: str, role: Role, way: Way) -> Contender:
    """The models of a learner, deployed in another way."""
    return replace(of, name=name, role=role, build=None, control="", base="", of=of.name, way=way)


VOLATILITY = 0.15  # per year; what a mean-variance book may have at most, by its own estimates
_LONG = LongTasks()
_POOL = "min var, pool"
_RISK = Contender("adaptive min var", "adapted", _pooled_minimum, "min var, trained frozen", _POOL, tasks=_LONG)
_WIDE = Contender(
    "min var across", "adapted", _minimum_across, "min var across, frozen", _POOL, across=True, tasks=_LONG
)
_CERTAIN = Contender(
    "adaptive mean-var",
    "adapted",
    _certain,
    "mean-var, trained frozen",
    "mean-var, pool",
    seeds=5,
    tasks=_LONG,
    invested=False,
)
_TREND = Contender(
    "trend, 5 years", "adapted", _trend, "trend, no memory", "trend following", seeds=5, on=("futures",), invested=False
)
_RL2 = Contender("RL2", "adapted", _rl2, "RL2 without memory", "inverse volatility", on=("stocks",), invested=False)

CONTENDERS: tuple[Contender, ...] = (
    Contender("equal weight", "baseline", lambda _: EqualWeight()),
    Contender("inverse volatility", "baseline", lambda _: InverseVolatility()),
    Contender("volatility target", "baseline", _volatility_target, invested=False),
    Contender("momentum 252", "baseline", lambda _: Momentum(252), invested=False),
    Contender("momentum blend", "baseline", lambda _: MomentumBlend(), invested=False),
    Contender("trend following", "baseline", lambda _: TrendFollowing(band=0.2), on=("futures", "fx"), invested=False),
    Contender("min var, EWMA", "baseline", _least_variance(ExponentialCovariance(63))),
    Contender("min var, expanding", "baseline", _least_variance(ExpandingCovariance())),
    Contender("min var, Ledoit–Wolf", "baseline", _least_variance(LedoitWolfCovariance())),
    Contender("min var, regime-adj.", "baseline", _least_variance(RegimeAdjustedCovariance())),
    Contender(_POOL, "pool", _least_variance(PooledCovariance())),
    Contender("mean-var, pool", "pool", _pooled_mean_variance, invested=False),
    Contender("mean-var, pool, 10 %", "pool", _calmer_pool, invested=False),
    Contender("min var, frozen", "control", _frozen),
    _RISK,
    variant(_RISK, "min var, trained frozen", "control", "control"),
    _WIDE,
    variant(_WIDE, "min var across, frozen", "control", "control"),
    _CERTAIN,
    variant(_CERTAIN, "mean-var, trained frozen", "control", "control"),
    _TREND,
    variant(_TREND, "trend, no memory", "control", "control"),
    _RL2,
    variant(_RL2, "RL2 without memory", "control", "control"),
    variant(_RL2, "RL2, cleared", "shown", "cleared"),
    variant(_RL2, "RL2, another's past", "shown", "others_past"),
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
            "invested": c.invested,
            "tasks": None if c.tasks is None else described(c.tasks),
        }
        what = {"of": c.of, "way": c.way} if c.build is None else {"settings": described(c.build(setting))}
        found[c.name] = rows | what
    return found
