"""The account against whole episodes of Gym-Trading-Env: weights that hold exactly after fees, traded when they change."""

import numpy as np
import pandas as pd
import pytest

from markets import Bars, Costs, Execution, Plan, simulate

environments = pytest.importorskip("gym_trading_env.environments")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


def case(seed):
    rng = np.random.default_rng(seed)
    length = int(rng.integers(5, 60))
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, length)))
    positions = [-1, 0, 1] if rng.random() < 0.5 else [-0.7, -0.2, 0, 0.3, 0.5, 1]
    actions = rng.integers(0, len(positions), length - 1)
    return close, positions, actions, float(rng.choice([0, 0.001, 0.01]))


def theirs(close, positions, actions, fee):
    index = pd.date_range("2020-01-01", periods=len(close))
    frame = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0, "feature_x": 0.0}, index=index
    )
    env = environments.TradingEnv(
        df=frame, positions=positions, initial_position=0, trading_fees=fee, borrow_interest_rate=0,
        portfolio_initial_value=1000, verbose=0,
    )  # fmt: skip
    env.reset(seed=0)
    for action in actions:
        _, _, done, truncated, _ = env.step(int(action))
        if done or truncated:
            break
    return np.array(env.historical_info["portfolio_valuation"], dtype=float)


def ours(close, positions, actions, fee):
    """A buy pays the fee in units of the asset, f / (1 − f) of what is bought; a sell pays it in money."""
    index = pd.date_range("2020-01-01", periods=len(close))
    bars = Bars.make(index, ["X"], close[:, None])
    wanted = np.array([positions[a] for a in actions], dtype=float)
    aim = np.append(wanted, 0)[:, None]
    before = np.append(0.0, wanted[:-1])
    band = np.append(np.where(wanted == before, np.inf, 0.0), np.inf)[:, None]  # traded only when the action changes
    costs = Costs(commission=fee, buy_tax=fee / (1 - fee) - fee)
    execution = Execution(fill="same_close", sizing="post_fee", cash=1000, gross=np.inf, borrowing=True)
    return simulate(bars, Plan(aim, band), costs=costs, execution=execution).equity[0]


@pytest.mark.parametrize("block", range(5))
def test_whole_episodes_agree(block):
    for seed in range(block * 50, block * 50 + 50):
        expected, found = theirs(*case(seed)), ours(*case(seed))
        np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-9, err_msg=f"seed {seed}")
        assert len(expected) >= len(found) - 1


def test_their_interest_overwrites_instead_of_accumulating():
    """A fault by its own documentation ("borrow_interest_rate: per step"): ten bars short cost the interest of one.

    Ours accrues bar by bar. Both numbers are pinned.
    """
    close, rate = np.full(12, 10.0), 0.001
    frame = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0, "feature_x": 0.0}
    env = environments.TradingEnv(
        df=pd.DataFrame(frame, index=pd.date_range("2020-01-01", periods=12)), positions=[-1, 0], initial_position=0,
        trading_fees=0, borrow_interest_rate=rate, portfolio_initial_value=1000, verbose=0,
    )  # fmt: skip
    env.reset(seed=0)
    for _ in range(10):
        env.step(0)
    assert env.historical_info["portfolio_valuation"][-1] == pytest.approx(1000 - 1000 * rate, rel=1e-6)
    bars = Bars.make(pd.date_range("2020-01-01", periods=12), ["X"], close[:, None])
    aim, band = np.full((12, 1), -1.0), np.full((12, 1), np.inf)
    band[0] = 0
    costs = Costs(borrow_rate=rate * 365.25)
    execution = Execution(fill="same_close", cash=1000, gross=np.inf, borrowing=True)
    paths = simulate(bars, Plan(aim, band), costs=costs, execution=execution)
    assert paths.equity[0, 10] == pytest.approx(1000 - 10 * 1000 * rate, rel=1e-6)
