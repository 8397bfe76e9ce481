"""Compile numba's kernels once, before the workers start: ``python warm.py account|others``, into ``NUMBA_CACHE_DIR``.

Each worker then begins with a copy, where each would have compiled all of them by itself (`conftest.pytest_configure`).
"""

import sys

import numpy as np
import pandas as pd
import samples


def account() -> None:
    """The kernels of the account: paths, orders, steps, the adjoint; and those of portfolio layers."""
    import torch

    from markets import Costs, Execution, Ledger, MarketEnv, Plan, VectorMarketEnv, simulate
    from markets.accounting.differentiable import TensorPlan, equity_paths
    from markets.accounting.market import make_market
    from strategies.portfolio.layers import minimum_variance, risk_parity

    bars = samples.regime_bars(400, 3, seed=1)
    aim = np.full(bars.shape, 0.3)
    plan = Plan(aim, 0.1 * aim, 0.5 + aim)
    simulate(bars, plan)
    Ledger.of(bars, plan)
    for env in (MarketEnv(bars, episode_bars=5), VectorMarketEnv(4, bars, episode_bars=5)):
        env.reset(seed=0)
        env.step(env.action_space.sample())
    market, rules = make_market(bars, Costs.parse("10bp"), Execution())
    wants = torch.full((2, 50, 3), 0.3, dtype=torch.float64, requires_grad=True)
    equity_paths(market, rules, np.zeros(2, dtype=np.int64), TensorPlan(wants), money=1e6).equity.sum().backward()
    covariance, known = torch.eye(3, dtype=torch.float64)[None], torch.ones(1, 3, dtype=torch.bool)
    for layer in (minimum_variance, risk_parity):
        layer(covariance, known)


def others() -> None:
    """Bars, features, regimes, quality and known optima."""
    from markets import (
        Bars,
        ChangePoints,
        Features,
        HiddenMarkovRegimes,
        JumpRegimes,
        VolatilityTrendRegimes,
        check,
    )
    from markets.synthetic import FAMILIES
    from strategies.ladder import ladder

    bars = samples.regime_bars(400, 2, seed=1)
    for some in (bars, samples.gappy_bars(np.random.default_rng(0), 300, 2)):
        _ = some.marks, some.listed, some.resample("W-FRI")
    features = Features.standard(horizons=(1, 3), volatility=8, short_volatility=3, averages=(5,))
    features.compute(bars)
    features.stream(bars)
    detectors = (
        HiddenMarkovRegimes(2, restarts=1),
        VolatilityTrendRegimes(2, trend=0),
        JumpRegimes(2),
        ChangePoints(2),
    )
    for detector in detectors:
        fitted = detector.fit(bars)
        fitted.filter(bars).table(bars)
        fitted.hindsight(bars)
    spiked = pd.DataFrame(bars.close)
    spiked.iloc[200] *= 3
    check(Bars.make(bars.index, bars.symbols, spiked.to_numpy()))
    for family in FAMILIES:
        ladder(family.with_length(30), episodes=3)


if __name__ == "__main__":
    {"account": account, "others": others}[sys.argv[1]]()
