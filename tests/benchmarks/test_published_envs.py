import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from benchmarks.published_envs import Bandit, Grid, Point, SeedWorld

FAMILIES = [Bandit(), Bandit(arms=3, horizon=7), Point(), Point(horizon=6), SeedWorld(), Grid(), Grid(size=3)]
SEEDS = [5, 11, 11, 2**40, 0]


@pytest.mark.filterwarnings("ignore")  # a Box from 0 to 0, and one without bounds, are intended
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_passes_gymnasiums_own_checks(family):
    check_env(family(3), skip_render_check=True)


@pytest.mark.parametrize("episodes", [None, 7, [3, 1, 4, 1, 5]], ids=["task's own", "int", "list"])
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_vector_steps_as_the_scalar_environments_do(family, episodes):
    ours = family.vector(SEEDS)
    theirs = SyncVectorEnv([lambda s=s: family(s) for s in SEEDS], autoreset_mode=AutoresetMode.SAME_STEP)
    theirs.action_space.seed(0)
    np.testing.assert_array_equal(ours.reset(seed=episodes)[0], theirs.reset(seed=episodes)[0])
    ended = 0
    for _ in range(3 * family.horizon + 2):
        action = theirs.action_space.sample()
        (*mine, mine_info), (*other, other_info) = ours.step(action), theirs.step(action)
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b)
        assert ("final_obs" in mine_info) == ("final_obs" in other_info)
        if "final_obs" in mine_info:
            done = mine_info["_final_obs"]
            np.testing.assert_array_equal(done, other_info["_final_obs"])
            np.testing.assert_array_equal(mine_info["final_obs"][done], np.stack(other_info["final_obs"][done]))
            ended += done.sum()
    assert ended >= 3 * len(SEEDS)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_a_seed_is_a_task_and_its_episodes(family):
    def path(seed):
        env = family(seed)
        env.action_space.seed(1)
        first = env.reset()[0]
        return [first, *(np.append(*env.step(env.action_space.sample())[:2]) for _ in range(family.horizon - 1))]

    for a, b in zip(path(4), path(4), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (family.vector([4]).tasks != family.vector([9]).tasks).any()


def test_reset_mask_begins_the_chosen_alone():
    envs = SeedWorld().vector(range(4))
    before = envs.step(np.zeros((4, 2)))[0]
    after = envs.reset(options={"reset_mask": np.array([True, False, False, True])})[0]
    np.testing.assert_array_equal(after[1:3], before[1:3])
    assert (after[[0, 3]] != before[[0, 3]]).all()


def test_seeds_must_be_as_many_as_environments():
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        Grid().vector(range(3)).reset(seed=[1, 2])


def test_bandit_ends_for_good_and_pays_the_arms_share():
    family = Bandit(arms=4, horizon=50)
    envs = family.vector(range(400))
    reward = [envs.step(np.full(400, 2))[1] for _ in range(49)]
    assert abs(np.mean(reward, axis=0) - envs.tasks[:, 2]).mean() < 0.08
    *_, terminated, truncated, _ = envs.step(np.full(400, 2))
    assert terminated.all()
    assert not truncated.any()


def known_goal_return(family, n, action):
    """Mean return of the first episode under ``action(state, task)``."""
    envs = family.vector(range(n))
    state, total, alive = envs.reset()[0], np.zeros(n), np.ones(n, dtype=bool)
    for _ in range(family.horizon):
        state, reward, terminated, truncated, _ = envs.step(action(state, envs.tasks))
        total += reward * alive
        alive &= ~(terminated | truncated)
    return total.mean()


def test_points_anchors():
    """CEILINGS.md, section 6: staying at the origin −38.26, walking to a known goal −0.507."""
    assert known_goal_return(Point(), 20_000, lambda x, goal: 0 * goal) == pytest.approx(-38.26, abs=0.3)
    assert known_goal_return(Point(), 20_000, lambda x, goal: goal - x) == pytest.approx(-0.507, abs=0.01)


def test_the_seeds_world_ends_outside_of_its_box_and_pays_the_distance():
    env = SeedWorld()(1)
    target, state = env._envs.tasks[0], env.reset()[0]
    steps = 0
    terminated = truncated = False
    while not (terminated or truncated):
        state, reward, terminated, truncated, _ = env.step(np.array([1.0, 0.0]))
        assert reward == pytest.approx(-np.abs(state - target).sum(), abs=1e-6)
        assert terminated == (abs(state) > 5).any()
        steps += 1
    assert terminated
    assert steps < 10


def test_grids_goal_pays_wherever_it_is():
    family = Grid()
    goals = {tuple(family.vector([s]).tasks[0]) for s in range(500)}
    assert len(goals) == 24
    assert (0, 0) not in goals
    best = known_goal_return(family, 500, lambda x, goal: np.array([0] * 500))
    assert best == pytest.approx(-1.5)

    def straight(x, goal):
        right, up = (goal - np.rint((x + 1) * 2)).T
        return np.select([right > 0, up > 0], [2, 1], 0)

    distance = family.vector(range(500)).tasks.sum(1)
    expected = np.mean(-0.1 * (distance - 1) + 15 - (distance - 1))
    assert known_goal_return(family, 500, straight) == pytest.approx(expected)


def test_actions_outside_of_the_box_are_clipped():
    for family in (Point(), SeedWorld()):
        far, near = family.vector([1]), family.vector([1])
        edge = family.action_space.high[None]
        np.testing.assert_array_equal(far.step(9 * edge)[0], near.step(edge)[0])
    assert isinstance(Grid().action_space, Discrete)
