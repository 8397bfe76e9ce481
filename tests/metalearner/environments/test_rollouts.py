from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from families import TwoArms, Walk
from gymnasium.vector import SyncVectorEnv

from benchmarks.published_envs import Bandit, Grid, Point, SeedWorld
from markets import InputError
from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.rollouts import SeedBatch, rollout
from metalearner.environments.tasks import Environments
from metalearner.objectives.policy_gradient import PPO
from strategies.networks import Shape, named_params, stack

SEEDS = np.array([3, 8, 5, 12, 7])
TENSORS = (
    "x",
    "observation",
    "following",
    "action",
    "log_prob",
    "value",
    "reward",
    "done",
    "alive",
    "episode",
    "after",
)


def met(family, memory="gru", seeds=SEEDS, params=None, **options):
    torch.manual_seed(0)
    policy = ActorCritic(Shape(memory=memory, hidden=6), Environments(family).spaces)
    params = named_params(policy) if params is None else params(policy)
    return rollout(policy, params, Environments(family), SeedBatch.of(seeds), 4, **options)


def same(a, b, rows=slice(None)):
    for name in TENSORS:
        ours, theirs = getattr(a, name)[rows], getattr(b, name)
        torch.testing.assert_close(ours[:, :, : theirs.shape[2]], theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # an unbounded Box is intended
@pytest.mark.parametrize("memory", ["gru", "none"])
@pytest.mark.parametrize(
    "family", [Bandit(horizon=4), Point(horizon=4), SeedWorld(horizon=3), Grid(horizon=4)], ids=str
)
def test_vector_and_scalar_environments_give_the_same_rollout(family, memory):
    same(
        met(family, memory, trials=3, episodes_per_trial=2),
        met(lambda seed: family(seed), memory, trials=3, episodes_per_trial=2),
    )


@pytest.mark.parametrize("family", [Walk, SeedWorld()], ids=["walk", "seed world"])
def test_a_task_meets_the_same_whatever_tasks_are_beside_it(family):
    whole = met(family, trials=2, episodes_per_trial=2)
    for rank in range(2):
        same(whole, met(family, seeds=SEEDS[rank::2], trials=2, episodes_per_trial=2), slice(rank, None, 2))


@pytest.mark.parametrize("memory", ["gru", "none"])
def test_stacked_parameters_act_as_one_set_does(memory):
    copies = partial(met, SeedWorld(), memory, trials=2, episodes_per_trial=2)
    same(copies(), copies(params=lambda policy: stack(named_params(policy), list(named_params(policy)), len(SEEDS))))


def test_what_is_read_is_what_happened():
    """Inputs are observation, last action, reward and end, kept across episodes and time limits."""
    found = met(Walk, trials=3, episodes_per_trial=3)
    places, last = found.x[..., :4], found.x[..., 4:]
    assert (last[:, :, 0] == 0).all()
    torch.testing.assert_close(places, found.observation)
    torch.testing.assert_close(last[:, :, 1:, 2], found.reward[:, :, :-1])
    torch.testing.assert_close(last[:, :, 1:, 3], found.done[:, :, :-1].float())
    chosen = torch.nn.functional.one_hot(found.action, 2).float()
    torch.testing.assert_close(last[:, :, 1:, :2], chosen[:, :, :-1])
    within = ~found.done[:, :, :-1]
    torch.testing.assert_close(found.following[:, :, :-1][within], found.observation[:, :, 1:][within])
    assert (found.following[found.terminated].argmax(-1) == torch.from_numpy(2 + SEEDS % 2)[
        found.terminated.nonzero()[:, 0]
    ]).all()  # fmt: skip


def test_every_trial_has_its_episodes():
    found = met(Walk, trials=3, episodes_per_trial=3)
    assert ((found.done & found.alive).sum(-1) == 3).all()
    assert not found.alive[:, :, 1:][(found.episode >= 3)[:, :, 1:]].any()
    torch.testing.assert_close(sum(found.returns(k) for k in range(3)), found.returns())
    assert (found.returns() <= 3).all()


@pytest.mark.parametrize("memory", ["gru", "none"])
def test_only_time_limits_are_followed_by_anything(memory):
    found = met(Walk, memory, trials=8, episodes_per_trial=2)
    limits = found.alive & found.done & ~found.terminated
    if memory == "gru":
        limits &= found.episode == 1
    assert limits.any()
    assert (found.terminated & found.alive).any()
    assert (found.after[limits] != 0).all()
    assert (found.after[~limits] == 0).all()


def test_what_follows_a_time_limit_is_worth_what_the_critic_says_of_it():
    """It is the value of the final observation, with the memory of all preceding steps."""
    torch.manual_seed(0)
    family = partial(Walk, horizon=2)
    policy = ActorCritic(Shape(hidden=6), Environments(family).spaces)
    found = rollout(policy, named_params(policy), Environments(family), SeedBatch.of(SEEDS), 4, trials=8)
    limits = found.alive[..., -1] & found.done[..., -1] & ~found.terminated[..., -1]
    last = policy.lately(found.action[:, :, -1:], found.reward[:, :, -1:], torch.zeros_like(found.done[:, :, -1:]))
    with torch.no_grad():
        going_on = torch.cat([found.x, policy.inputs(found.following[:, :, -1:], last)], 2)
        expected = policy(going_on)[1][:, :, -1]
    torch.testing.assert_close(found.after[..., -1][limits], expected[limits])


def test_an_endless_episode_is_cut():
    found = met(partial(Walk, horizon=10**6), trials=2, max_steps=3)
    assert found.reward.shape[2] == 3
    assert found.done[..., -1][found.alive[..., -1]].all()
    cut = found.alive[..., -1] & ~found.terminated[..., -1]
    assert (found.after[..., -1][cut] != 0).all()


def test_seeds_of_training_and_judging_do_not_meet():
    sampled = Environments(TwoArms).sample(np.random.default_rng(0), 1000)
    assert sampled.min() >= 2**31
    few = Environments(TwoArms, range(5))
    assert sorted(few.sample(np.random.default_rng(0), 9)) == list(range(5))
    assert Environments.of(few) is few
    assert "0x" not in Environments(lambda seed: TwoArms(seed)).identity
    assert replace(few, seeds=range(6)).identity != few.identity


def test_wrong_tasks_are_named():
    with pytest.raises(InputError, match="makes no environments"):
        Environments.of(3)
    policy = PPO().policy(Shape(), TwoArms)
    with pytest.raises(InputError, match="must have fixed seeds"):
        PPO().sampler(TwoArms, policy, 1).all_tasks()


def test_regression_closures_of_one_name_are_told_apart():
    """A checkpoint of one family must not be resumed with another."""

    def family(pays):
        return lambda seed: TwoArms(seed, (0.0, pays))

    one, same, other = (Environments(family(pays), range(3)).identity for pays in (1.0, 1.0, -50.0))
    assert one == same
    assert one != other
    for wrong in ([], 5):
        with pytest.raises(InputError, match="needs a sequence of at least one"):
            Environments(TwoArms, wrong)
    with pytest.raises(InputError, match="made None, which is not a gymnasium environment"):
        _ = Environments(lambda seed: None, [0]).spaces


def test_regression_a_vector_that_resets_within_a_step_of_its_own_is_refused():
    """The reset was counted as a step, with an action that was not taken."""

    def family(seed):
        return Walk(seed)

    family.vector = lambda seeds: SyncVectorEnv([partial(Walk, int(s)) for s in seeds])
    with pytest.raises(InputError, match="within the same step"):
        Environments(family, range(3)).vector(np.arange(3))


def test_regression_a_cut_at_a_time_limit_is_a_cut(monkeypatch):
    """The last allowed step is bootstrapped, whether or not an episode ends there as well."""
    after = [met(partial(Walk, horizon=5), episodes_per_trial=3, max_steps=most).after[..., -1] for most in (9, 10)]
    assert all((last != 0).any() for last in after)


def test_regression_observations_may_start_at_any_number():
    from gymnasium.spaces import Discrete

    from metalearner.environments.distributions import Spaces

    spaces = Spaces.of(Discrete(3, start=1), Discrete(2))
    np.testing.assert_array_equal(spaces.read(np.array([1, 3])), [[1, 0, 0], [0, 0, 1]])
