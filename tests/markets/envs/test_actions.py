import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from markets import InputError, MarketEnv, VectorMarketEnv
from markets.envs.actions import Actions


def test_wrong_actions_are_named(bars):
    env = MarketEnv(bars)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action of environment 0 at 1 is nan"):
        env.step(np.array([0.1, np.nan, 0.1]))
    with pytest.raises(ValueError, match=r"actions have shape \(1, 2\), but \(1, 3\) is needed"):
        env.step(np.zeros(2))
    with pytest.raises(InputError, match="actions 'words' are unknown; use box, simplex or discrete"):
        MarketEnv(bars, actions="words")


def test_simplex_actions_are_weights_and_cash(bars):
    env = MarketEnv(bars, actions="simplex")
    env.reset(seed=0)
    assert env.action_space.shape == (4,)
    env.step(np.array([0.0, 0.0, 0.0, -1e3]))
    np.testing.assert_allclose(
        env._accounts.shares[0] @ env._accounts.market.mark[env._accounts.row[0] - 1], 1e6, rtol=0.05
    )
    env.reset(seed=0)
    env.step(np.array([0.0, 0.0, 0.0, 1e3]))
    assert not env._accounts.shares.any()


def test_discrete_actions_are_positions(bars):
    env = MarketEnv(bars.select(["S0"]), actions="discrete", positions=(-0.5, 0, 1))
    assert env.action_space.n == 3
    _, info = env.reset(seed=0)
    row = info["row"]
    env.step(2)
    assert env._accounts.shares[0, 0] > 0
    assert row + 1 == env._accounts.row[0]
    env.step(0)
    assert env._accounts.shares[0, 0] < 0
    with pytest.raises(ValueError, match="action of environment 0 is 3; there are 3 positions"):
        env.step(3)
    many = VectorMarketEnv(4, bars, actions="discrete")
    many.reset(seed=0)
    many.step(many.action_space.sample())
    check_env(MarketEnv(bars, actions="discrete"), skip_render_check=True)


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize("action", [0.7, np.nan, -1, 3])
def test_regression_what_is_no_position_is_refused(symbols, action):
    """0.7 was taken for 0, or ended in an IndexError."""
    actions = Actions("discrete", (-1, 0, 1), symbols, False)
    one = np.float64(action) if symbols == 1 else np.full(2, action, dtype=np.float64)
    with pytest.raises(ValueError, match="there are 3 positions"):
        actions.one(one)
