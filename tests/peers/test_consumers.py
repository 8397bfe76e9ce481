"""Learners of the gymnasium ecosystem train on ours for some updates, and are paid what the ledger says."""

import gymnasium
import numpy as np
import pytest
import samples
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

from markets import VectorMarketEnv, simulate

sb3 = pytest.importorskip("stable_baselines3")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
OPTIONS = {"episode_bars": 40}


@pytest.fixture(scope="module")
def two():
    return samples.regime_bars(700, 2, seed=3)


def test_stable_baselines3_ppo(two):
    from stable_baselines3.common.evaluation import evaluate_policy

    from markets.sb3 import StableVecEnv

    envs = StableVecEnv(8, bars=two, **OPTIONS)
    envs.seed(1)
    model = sb3.PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=2, seed=0).learn(1024)
    assert model.num_timesteps >= 1024
    rewards, lengths = evaluate_policy(model, envs, n_eval_episodes=8, return_episode_rewards=True)
    assert np.isfinite(rewards).all()
    assert max(lengths) <= 40


def test_stable_baselines3_sees_the_end_of_data_and_the_ledger(two):
    from markets.sb3 import StableVecEnv

    envs = StableVecEnv(3, bars=two, **OPTIONS)
    envs.seed(5)
    envs.reset()
    first, earned, done = envs.get_attr("_accounts")[0].row.copy(), np.zeros(3), np.zeros(3, dtype=bool)
    rng, plan = np.random.default_rng(0), []
    while not done.any():
        plan.append(rng.uniform(0, 0.5, (3, 2)))
        _, reward, done, infos = envs.step(plan[-1])
        earned += reward
    b = int(np.argmax(done))
    assert infos[b]["TimeLimit.truncated"]
    assert infos[b]["terminal_observation"].shape == envs.observation_space.shape
    length = len(plan) + 1
    span = two[int(first[b]) : int(first[b]) + length]
    aim = np.vstack([np.array(plan)[:, b], np.zeros((1, 2))])
    ledger = simulate(span, aim).equity[0]
    assert infos[b]["equity"] == pytest.approx(ledger[-1], rel=1e-12)
    assert earned[b] == pytest.approx(np.log(ledger[-1] / ledger[0]), abs=1e-5)  # rewards are float32 there
    assert infos[b]["episode"]["l"] == length - 1


def test_sb3_contrib_recurrent_ppo(two):
    contrib = pytest.importorskip("sb3_contrib")
    from markets.sb3 import StableVecEnv

    envs = StableVecEnv(4, bars=two, **OPTIONS)
    model = contrib.RecurrentPPO("MlpLstmPolicy", envs, n_steps=16, batch_size=32, n_epochs=1, seed=0).learn(256)
    assert model.num_timesteps >= 256


def test_torchrl(two):
    pytest.importorskip("torchrl")
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    check_env_specs(GymWrapper(gymnasium.make("regimeshift/Market-v0", bars=two, **OPTIONS)))
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
        wrapped = GymWrapper(VectorMarketEnv(4, two, autoreset_mode=mode, **OPTIONS))
        check_env_specs(wrapped)
        rollout = wrapped.rollout(60, break_when_any_done=False)
        assert torch.isfinite(rollout["next", "reward"]).all()
        assert rollout["next", "truncated"].any()


def test_gymnasiums_own_wrappers(two):
    envs = RecordEpisodeStatistics(VectorMarketEnv(4, two, **OPTIONS))
    envs = NormalizeObservation(envs)
    envs.reset(seed=0)
    finished = []
    for _ in range(90):
        _, _, _, _, infos = envs.step(np.full((4, 2), 0.3))
        if "episode" in infos:
            finished += infos["episode"]["l"][infos["_episode"]].tolist()
    assert len(finished) >= 8
    assert max(finished) <= 40


def test_a_plain_loop_in_the_manner_of_cleanrl(two):
    """Policy gradient with a value baseline, written out; the policy moves and everything stays finite."""
    torch.manual_seed(0)
    envs = gymnasium.make_vec("regimeshift/Market-v0", num_envs=16, bars=two, **OPTIONS)
    width = envs.single_observation_space.shape[0]
    actor, critic = torch.nn.Linear(width, 2), torch.nn.Linear(width, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-2)
    before = actor.weight.detach().clone()
    observation, _ = envs.reset(seed=1)
    for _ in range(5):
        logs, values, rewards = [], [], []
        for _ in range(16):
            seen = torch.as_tensor(observation)
            choice = torch.distributions.Normal(torch.tanh(actor(seen)), 0.2)
            action = choice.sample()
            observation, reward, *_ = envs.step(action.clamp(-1, 1).double().numpy())
            logs.append(choice.log_prob(action).sum(-1))
            values.append(critic(seen)[:, 0])
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
        gain = torch.stack(rewards).flip(0).cumsum(0).flip(0) - torch.stack(values)
        loss = -(torch.stack(logs) * gain.detach()).mean() + gain.pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(actor.weight).all()
    assert not torch.equal(before, actor.weight)
