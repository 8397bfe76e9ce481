"""Environments continue bit-identically after copying, pickling and transfer to another process."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from joblib import Parallel, delayed

from markets import Execution, MarketEnv, Reward, TaskEnv, VectorMarketEnv

RULES = {"episode_bars": 9, "execution": Execution(gross=3, borrowing=True), "reward": "differential_sharpe"}
COPIES = [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))]  # safe: only this test's own bytes


def went_on(env, steps=25, seed=1):
    """Everything `env` returns over some steps, resets included."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        found.append((observation, reward, terminated, truncated, info["equity"], info["row"]))
        if not isinstance(env, VectorMarketEnv) and (terminated or truncated):
            found.append((env.reset()[0],))
    return found


def same(a, b):
    assert len(a) == len(b)
    for one, two in zip(a, b, strict=True):
        for x, y in zip(one, two, strict=True):
            np.testing.assert_array_equal(x, y)


def begun(kind, bars, tasks):
    env = {
        "market": lambda: MarketEnv(bars, **RULES),
        "vector": lambda: VectorMarketEnv(4, bars, **RULES),
        "task": lambda: TaskEnv(tasks[0], episodes=2, **RULES),
    }[kind]()
    env.reset(seed=5)
    env.action_space.seed(0)
    went_on(env, 5, seed=0)
    return env


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("kind", ["market", "vector", "task"])
def test_regression_a_copy_continues_bit_identically(kind, copied, bars, tasks):
    """Copies broke views into a shared array: equity of 1,000,000 became 935,652, or 0."""
    env = begun(kind, bars, tasks)
    other = copied(env)
    same(went_on(env), went_on(other))
    twin = copied(env)
    for array in (twin._accounts if hasattr(twin, "_accounts") else twin._env._accounts).panel.arrays:
        assert not array.flags.writeable


def test_a_copy_shares_no_state(bars, tasks):
    env = begun("market", bars, tasks)
    other = copy.deepcopy(env)
    before = env._accounts.money.copy()
    went_on(other)
    np.testing.assert_array_equal(env._accounts.money, before)
    assert other._accounts.panel is env._accounts.panel  # constant data is shared


def test_other_processes_continue_bit_identically(bars, tasks):
    env = begun("market", bars, tasks)
    there = Parallel(n_jobs=2)(delayed(went_on)(copy.deepcopy(env)) for _ in range(2))
    here = went_on(env)
    for found in there:
        same(found, here)


def test_gymnasiums_processes_step_as_one_does(bars):
    makers = [lambda: MarketEnv(bars, **RULES)] * 2
    envs, alone = AsyncVectorEnv(makers), gymnasium.vector.SyncVectorEnv(makers)
    try:
        np.testing.assert_array_equal(envs.reset(seed=3)[0], alone.reset(seed=3)[0])
        rng = np.random.default_rng(0)
        for _ in range(20):
            action = rng.uniform(-1, 1, (2, 3))
            for a, b in zip(envs.step(action)[:4], alone.step(action)[:4], strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        envs.close()


def test_regression_environments_may_share_a_reward(bars):
    """All environments shared one array of moments, so the second continued with the Sharpe ratio of the first."""
    reward = Reward("differential_sharpe")
    alone = MarketEnv(bars, reward=Reward("differential_sharpe"))
    one, two = MarketEnv(bars, reward=reward), VectorMarketEnv(3, bars, reward=reward)
    for env in (alone, one, two):
        env.reset(seed=2)
    rng = np.random.default_rng(0)
    for _ in range(10):
        aim = rng.uniform(0, 0.3, 3)
        expected = alone.step(aim)[1]
        assert one.step(aim)[1] == expected
        assert two.step(np.tile(aim, (3, 1)))[1][0] == expected
