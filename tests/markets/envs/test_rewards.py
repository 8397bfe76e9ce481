import gymnasium
import numpy as np
import pytest

from markets import InputError, MarketEnv


def test_rewards(bars):
    aim = np.array([0.3, 0.3, 0.3])
    env = MarketEnv(bars, reward="mean_variance")
    env.reset(seed=2)
    growth = np.exp(log_returns(bars, aim, 5)) - 1
    found = [env.step(aim)[1] for _ in range(5)]
    np.testing.assert_allclose(found, growth - 0.5 * growth**2, rtol=1e-9, atol=1e-12)
    env = MarketEnv(bars, reward=lambda before, after: after - before)
    _, info = env.reset(seed=2)
    start = info["equity"]
    earned = sum(env.step(aim)[1] for _ in range(5))
    assert earned == pytest.approx(env._accounts.equity[0] - start)
    with pytest.raises(InputError, match="reward 'luck' is unknown"):
        MarketEnv(bars, reward="luck")


def log_returns(bars, aim, steps):
    env = MarketEnv(bars)
    env.reset(seed=2)
    return np.array([env.step(aim)[1] for _ in range(steps)])


def test_differential_sharpe_follows_its_definition(bars):
    """D_t of Moody and Saffell from its definition, for one account."""
    aim, eta = np.array([0.3, 0.3, 0.3]), 1 / 252
    returns = np.exp(log_returns(bars, aim, 30)) - 1
    a = b = 0.0
    expected = []
    for r in returns:
        variance = b - a * a
        expected.append((b * (r - a) - 0.5 * a * (r * r - b)) / variance**1.5 if variance > 1e-12 else 0.0)
        a, b = a + eta * (r - a), b + eta * (r * r - b)
    env = MarketEnv(bars, reward="differential_sharpe")
    env.reset(seed=2)
    np.testing.assert_allclose([env.step(aim)[1] for _ in range(30)], expected, rtol=1e-6)


def test_regression_a_reward_may_keep_and_change_what_it_is_given(bars):
    """A reward function that returned its argument returned the account's array, which the next episode changed."""

    def wealth(before, after):
        after += 0.0
        return after

    env = gymnasium.make_vec(
        "regimeshift/Market-v0", 2, bars=bars, reward=wealth, episode_bars=3,
        autoreset_mode="SameStep",
    )  # fmt: skip
    env.reset(seed=0)
    for _ in range(3):
        _, reward, _, truncated, infos = env.step(np.full((2, 3), 0.3))
    assert truncated.all()
    assert reward.tolist() == infos["final_info"]["equity"].tolist()
    masks = infos["_final_obs"]
    env.reset()
    assert masks.all()  # arrays returned earlier are not changed by a reset


def test_a_function_that_gives_one_number_for_all_accounts_is_refused(bars):
    env = MarketEnv(bars, reward=lambda before, after: 1.0)
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"the reward function gave shape \(\); it must be \(1,\), one per account"):
        env.step(np.zeros(3))
