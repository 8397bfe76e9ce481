"""`risk_share`: what share of the known optimum the learner of risk reaches, in a synthetic market."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from markets import Execution, TaskSet, simulate
from markets.synthetic import SwitchingCovariance
from metalearner.learners.risk import AdaptiveRisk
from metalearner.objectives.pathwise import CostCurriculum, Pathwise
from metalearner.objectives.risk import MinimumVariance
from metalearner.training.config import Training
from strategies import Pool, PortfolioSettings
from strategies.optimal import SwitchingCovarianceFilter

# Half-lives for regimes that last a hundred bars, each of which is decided on.
POOL = Pool(volatilities=(5, 10, 20, 40, 80), correlations=(10, 20, 40, 80), window=160, every="bar", shortest=20)


@dataclass(frozen=True)
class RiskShare:
    """Variances on fresh episodes, in the order of the ladder, and the share of the optimum.

    Attributes
    ----------
    variance : dict of str to float
        Per bar, in units of the calm half's: of one who knows the next bar's regime, of the filter (the optimum), of the learner,
        of its static pool, of its control (trained with frozen estimates), and of the best weights that never change.
    share : float
        ``(constant − learner) / (constant − filter)``: 1 is the optimum, 0 is what can be had without adapting.
    error : float
        Its standard error over episodes, by the jackknife.
    episodes : int
    """

    variance: dict[str, float]
    share: float
    error: float
    episodes: int


def risk_share(
    family: SwitchingCovariance | None = None, *, seed: int = 0, steps: int = 150, training: int = 6, fresh: int = 20
) -> RiskShare:
    """Train `AdaptiveRisk` on episodes of a family, and measure it on fresh ones by their accounts.

    Parameters
    ----------
    family : SwitchingCovariance, optional
    seed : int
        Of the episodes and the training.
    steps : int
        Training steps.
    training, fresh : int
        Episodes to train on and to be measured on. All of a kind follow one another in one series of bars.

    Returns
    -------
    RiskShare
    """
    family = family or SwitchingCovariance()
    known = family.sample(training, (seed, 0)).bars()
    tasks = TaskSet.from_windows(known, support=POOL.shortest, query=120, warmup=POOL.window)
    account = Pathwise(
        costs=family.costs, utility=MinimumVariance(), symbols=0, curriculum=CostCurriculum(free=0.0, ramp=0.0)
    )
    learner = AdaptiveRisk(policy=PortfolioSettings(pool=POOL), objective=account)
    settings: Training = replace(learner.training, steps=steps, seed=seed)
    middle = known.index[len(known) // 2]
    meta = replace(learner, training=settings).fit(*tasks.split(middle, embargo=0), progress=False)

    optimum = SwitchingCovarianceFilter(family)
    episodes = family.sample(fresh + 1, (seed, 1))
    bars = episodes.bars()
    state = episodes.hidden["state"]
    ahead = np.append(state.ravel()[1:], 0)  # the last row earns nothing
    plans = {
        "next regime known": np.vstack([optimum.weights(np.array([0.5])), optimum.weights(ahead)]),
        "filter": optimum.plan(bars),
        "adaptive risk": meta.adapt(known).plan(bars),
        "static pool": meta.shrunk(0.0, "static pool").adapt(known).plan(bars),
        "unadapted": meta.unadapted().plan(bars),
        "best constant weights": np.broadcast_to(optimum.weights(np.array(0.5)), bars.shape),
    }
    square = {}
    for name, plan in plans.items():
        equity = simulate(bars, plan, costs=family.costs, execution=Execution()).equity[0]
        earned = (np.diff(equity) / equity[:-1] / family.scale).reshape(state.shape)
        square[name] = (earned[1:, 1:] ** 2).mean(axis=1)  # the first episode warms the estimates
    found = np.array([square[name] for name in ("best constant weights", "adaptive risk", "filter")])
    share = _share(found.mean(axis=1))
    without = [_share(np.delete(found, k, axis=1).mean(axis=1)) for k in range(fresh)]
    error = float(np.sqrt((fresh - 1) * np.var(without)))
    return RiskShare({name: float(each.mean()) for name, each in square.items()}, share, error, fresh)


def _share(variances: np.ndarray) -> float:
    constant, learner, optimum = variances
    return float((constant - learner) / (constant - optimum))
