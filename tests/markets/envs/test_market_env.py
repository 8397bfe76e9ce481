import gymnasium
import numpy as np
import pytest
import samples
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from markets import Execution, HiddenMarkovRegimes, InputError, MarketEnv, TaskEnv, VectorMarketEnv, simulate
from markets.synthetic import DriftMomentum


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("regime", [None, "crisis"])
def test_gymnasium_finds_nothing_wrong(bars, regime):
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
    env = gymnasium.make(
        "regimeshift/Market-v0", bars=bars, regime=regime, detector=detector if regime else None, render_mode="ansi"
    )
    check_env(env.unwrapped)


def test_make_vec_makes_the_native_one(bars):
    envs = gymnasium.make_vec("regimeshift/Market-v0", num_envs=7, bars=bars)
    assert isinstance(envs.unwrapped, VectorMarketEnv)
    observation, _ = envs.reset(seed=1)
    assert observation.shape == (7, 3 * 8 + 3)
    assert envs.step(envs.action_space.sample())[1].shape == (7,)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_vector_environment_is_bit_identical_to_many_scalar_ones(bars, mode):
    n, options = 5, {"episode_bars": 7, "execution": Execution(gross=30, borrowing=True)}
    ours = VectorMarketEnv(n, bars, autoreset_mode=mode, **options)
    theirs = SyncVectorEnv([lambda: MarketEnv(bars, **options)] * n, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] == ours.autoreset_mode == mode
    same(ours.reset(seed=3), theirs.reset(seed=3))
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.uniform(-25, 25, (n, 3)) * (rng.random((n, 1)) < 0.3)  # large enough for ruin
        ours_step, theirs_step = ours.step(action), theirs.step(action)
        same(ours_step, theirs_step)
        done = ours_step[2] | ours_step[3]
        if mode == AutoresetMode.DISABLED and done.any():
            with pytest.raises(ResetNeeded, match="are done"):
                ours.step(action)
            same(ours.reset(options={"reset_mask": done}), theirs.reset(options={"reset_mask": done}))


def same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray) and a.dtype == object:
        for x, y in zip(a, b, strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_array_equal(x, y)
    else:
        np.testing.assert_array_equal(a, b)


def test_rewards_are_what_the_backtest_earns(bars):
    env = MarketEnv(bars, episode_bars=50)
    _, info = env.reset(seed=4)
    first, rng = info["row"], np.random.default_rng(0)
    aim = rng.uniform(0, 0.4, (51, 3))
    rewards = [env.step(row)[1] for row in aim[:50]]
    equity = simulate(bars[first : first + 51], aim).equity[0]
    np.testing.assert_allclose(rewards, np.diff(np.log(equity)), rtol=1e-12, atol=1e-14)


def test_end_of_data_is_truncation_and_ruin_is_termination(bars):
    env = MarketEnv(bars, episode_bars=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(3))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    env = MarketEnv(bars, execution=Execution(gross=1e6, borrowing=True), costs=0.1)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(np.full(3, 1e4))
    assert (reward, terminated, truncated) == (-10.0, True, False)
    assert info["equity"] <= 0


def test_an_episode_never_passes_the_last_bar(bars):
    env = MarketEnv(bars, episode_bars=10_000)
    env.reset(seed=1)
    steps = 0
    while not env.step(np.zeros(3))[3]:
        steps += 1
    assert env._accounts.row[0] == len(bars) - 1
    assert steps > 0


def test_regime_episodes_stay_in_their_regime(bars):
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
    labels = detector.filter(bars).labels
    env = MarketEnv(bars, regime="crisis", detector=detector)
    assert env._accounts.spans == MarketEnv(bars, regime=1, detector=detector)._accounts.spans  # given by its label
    for seed in range(10):
        _, info = env.reset(seed=seed)
        rows, done = [info["row"]], False
        while not done:
            *_, done, info = env.step(np.zeros(3))
            rows.append(info["row"])
        assert (labels[rows] == 1).all()


def test_a_task_is_an_environment(tasks):
    training, _ = tasks
    env = MarketEnv(task=training[0])
    _, info = env.reset(seed=0)
    assert training[0].start <= info["row"] < training[0].stop


def test_a_seed_gives_the_same_episode_and_another_seed_another(bars):
    env = MarketEnv(bars)
    rows = [env.reset(seed=s)[1]["row"] for s in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_wrong_options_are_named(bars):
    with pytest.raises(InputError, match="regime 'panic' is unknown; the detector's are calm, normal, crisis"):
        MarketEnv(bars, regime="panic", fit_until="2004")
    with pytest.raises(InputError, match="autoreset_mode 'Never' is unknown"):
        VectorMarketEnv(2, bars, autoreset_mode="Never")
    with pytest.raises(InputError, match="episode_bars is 0"):
        MarketEnv(bars, episode_bars=0)
    with pytest.raises(InputError, match="synthetic has 100 bars, but 255 are needed"):
        MarketEnv(samples.regime_bars(100, 1, seed=0))
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        VectorMarketEnv(3, bars).reset(seed=[1, 2])
    with pytest.raises(ValueError, match="reset_mask must be a bool array"):
        VectorMarketEnv(3, bars).reset(options={"reset_mask": np.zeros(3, dtype=bool)})


def test_regression_a_regime_environment_never_trades_what_its_detector_was_fitted_on(bars):
    """The detector was fitted on the whole span, so the labels of a crisis used later bars."""
    with pytest.warns(UserWarning, match=r"fitted on 2001-01-01 to 2003-11-14, the first half of synthetic"):
        half = MarketEnv(bars, regime=1)
    assert half.fitted_until == bars.index[749]
    assert min(first for first, _ in half._accounts.spans) >= 750
    stated = MarketEnv(bars, regime="normal", fit_until="2003")
    assert stated.fitted_until == bars[:"2003"].index[-1]
    labels = HiddenMarkovRegimes().fit(bars[:"2003"]).filter(bars).labels
    for seed in range(5):
        _, info = stated.reset(seed=seed)
        assert bars.index[info["row"]] > stated.fitted_until
        assert labels[info["row"]] == 1
    cut = MarketEnv(bars[:1400], regime="normal", fit_until="2003")
    assert [span for span in stated._accounts.spans if span[1] < 1390] == [
        span for span in cut._accounts.spans if span[1] < 1390
    ]  # later bars do not change earlier labels
    given = MarketEnv(bars, regime=0, detector=HiddenMarkovRegimes(2, restarts=2).fit(bars[:900]))
    assert given.fitted_until is None
    with pytest.raises(InputError, match="give a fitted detector or fit_until, not both"):
        MarketEnv(bars, regime=0, detector=HiddenMarkovRegimes(), fit_until="2003")


@pytest.mark.parametrize("regime", [None, "crisis"])
def test_regression_no_episode_is_a_single_step(bars, regime):
    """Up to 5 % were, at the end of a regime, so that no step showed the consequence of a decision."""
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
    env = VectorMarketEnv(2000, bars, regime=regime, detector=detector if regime else None, autoreset_mode="Disabled")
    env.reset(seed=0)
    _, _, _, first, _ = env.step(np.zeros((2000, 3)))
    _, _, _, second, _ = env.step(np.zeros((2000, 3)))
    assert not first.any()
    assert second.any()  # the shortest episodes have two steps


def test_regression_an_episode_that_is_over_cannot_be_stepped(bars):
    env = MarketEnv(bars, episode_bars=2)
    with pytest.raises(ResetNeeded, match="never started"):
        env.step(np.zeros(3))
    env.reset(seed=0)
    env.step(np.zeros(3))
    assert env.step(np.zeros(3))[3]
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(3))
    with pytest.raises(ResetNeeded):
        VectorMarketEnv(2, bars).step(np.zeros((2, 3)))


def test_seeds_may_be_numpys(bars):
    a, b = MarketEnv(bars).reset(seed=3)[1]["row"], MarketEnv(bars).reset(seed=np.int64(3))[1]["row"]
    envs = VectorMarketEnv(2, bars)
    rows = [envs.reset(seed=s)[1]["row"].tolist() for s in (3, np.int64(3), np.array([3, 4]))]
    assert a == b == rows[0][0]
    assert rows[0] == rows[1] == rows[2]


def test_weights_beyond_the_limits_are_scaled_and_counted(bars):
    env = MarketEnv(bars)
    env.reset(seed=0)
    *_, info = env.step(np.full(3, 1.0))
    assert info["scaled"] == 1
    held = env._accounts.shares[0] * env._accounts.market.mark[env._accounts.row[0]]
    assert held.sum() <= env._accounts.equity[0] * 1.001
    *_, info = env.step(np.full(3, 0.2))
    assert info["scaled"] == 1


def test_pictures(bars):
    env = MarketEnv(bars, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(20):
        env.step(np.full(3, 0.2))
    picture = env.render()
    assert picture.shape == (360, 480, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 0


def test_a_meta_episode_keeps_its_task(tasks):
    env = TaskEnv(tasks[0], episodes=3)
    check_env(env, skip_render_check=True)
    observation, info = env.reset(seed=1)
    task, over, steps, first = info["task"], 0, 0, info["row"]
    assert observation[-1] == 0
    done = False
    while not done:
        observation, reward, terminated, truncated, info = env.step(np.full(3, 0.2))
        done = terminated or truncated
        over += info["episode_over"]
        steps += 1
        assert info["task"] == task
        assert observation[-2] == np.float32(reward)
        if info["episode_over"] and not done:
            assert info["row"] == first  # the same stretch again, with a new account
            assert info["equity"] == 1e6
    length = tasks[0][task].stop - tasks[0][task].start - 1
    assert (over, steps) == (3, 3 * length)


def test_episodes_of_a_set_run_through_its_tasks_from_their_first_bars():
    family = DriftMomentum(length=5)
    episodes = family.sample(4, 0)
    tasks = episodes.tasks(1)
    rules = {"features": family.features, "costs": family.costs, "execution": family.execution}
    envs = VectorMarketEnv(64, task=tasks, episode_bars=5, autoreset_mode="SameStep", **rules)
    seen, info = envs.reset(seed=0)
    assert set(info["row"]) == {t.start for t in tasks}
    which = (info["row"] - 1) // 6
    for t in range(5):
        np.testing.assert_allclose(seen[:, 0], episodes.returns[which, t, 0], rtol=1e-4, atol=1e-5)
        seen, _, _, truncated, info = envs.step(np.zeros((64, 1)))
    assert truncated.all()
    assert set(info["row"]) == {t.start for t in tasks}  # restarted at the first bar of a task
