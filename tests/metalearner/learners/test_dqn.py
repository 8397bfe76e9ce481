from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from families import Walk

from benchmarks.published_envs import Point
from markets import InputError
from metalearner import DQN, PPO, Environments, Training, load_meta
from metalearner.learners.dqn import Replay
from strategies.networks import Shape

JUDGED = Environments(Walk, range(8))
LEARNER = DQN(training=Training(steps=12, batch=8, evaluate_every=6, weight_decay=0.0, device="cpu"), memory=300)


def test_it_learns_which_way_to_walk():
    history = LEARNER.fit(Walk, JUDGED, progress=False).history
    assert history["validation"].iloc[-1] == 1.0


def test_its_values_are_those_of_the_best_policy():
    """The optimal value: γ to the power of the number of steps left."""
    family = partial(Walk, horizon=50)
    training = replace(LEARNER.training, steps=40, evaluate_every=40, learning_rate=5e-3)
    learner = replace(LEARNER, training=training, memory=2000, objective=replace(LEARNER.objective, discount=0.8))
    lengths_of_three = Environments(family, range(0, 80, 2))
    policy = learner.fit(lengths_of_three, lengths_of_three, progress=False).policy
    worth = policy.body(torch.eye(4)[:2, None])[0][:, 0]
    exact = torch.tensor([[0.64, 0.8], [0.64, 1.0]])
    torch.testing.assert_close(worth.detach(), exact, rtol=0, atol=0.1)


class Stop(Exception):
    pass


def test_an_interrupted_training_ends_in_the_same_bits(tmp_path):
    path = tmp_path / "c.safetensors"
    whole = LEARNER.fit(Walk, JUDGED, progress=False)

    def interrupt(_, step):
        if step == 6:
            raise Stop

    with pytest.raises(Stop):
        LEARNER.fit(Walk, JUDGED, progress=False, checkpoint=path, log=interrupt)
    resumed = LEARNER.fit(Walk, JUDGED, progress=False, checkpoint=path, resume=True)
    assert whole.fingerprint == resumed.fingerprint
    assert whole.history.equals(resumed.history)


def test_a_saved_agent_acts_the_same(tmp_path):
    meta = LEARNER.fit(Walk, JUDGED, progress=False)
    again = load_meta(meta.save(tmp_path / "m"))
    task = partial(Walk, 1)
    assert [again.adapt(task).act(i) for i in range(4)] == [meta.adapt(task).act(i) for i in range(4)]


def test_memory_keeps_the_last():
    replay = Replay(5, 1)
    for first in (0, 4, 8):
        steps = torch.arange(first, first + 4)
        row = steps[:, None].float()
        replay.add(seen=row, following=row + 1, action=steps, reward=-steps, ongoing=torch.ones(4))
    assert sorted(replay.action.tolist()) == [7, 8, 9, 10, 11]
    sampled = replay.sample(np.random.default_rng(0), 50)
    assert set(sampled["action"].tolist()) == {7, 8, 9, 10, 11}
    torch.testing.assert_close(sampled["seen"][:, 0] + 1, sampled["following"][:, 0])


@pytest.mark.filterwarnings("ignore")  # an unbounded Box is intended
def test_unsupported_settings_are_refused():
    for wrong, family in (
        (LEARNER, Point()),
        (replace(LEARNER, policy=Shape()), Walk),
        (replace(LEARNER, objective=PPO()), Walk),
    ):
        with pytest.raises(InputError, match="DQN needs environments with discrete actions"):
            wrong.fit(family, Environments(family, [0]), progress=False)
