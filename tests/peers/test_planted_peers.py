"""What stable-baselines3's agents see and do in `Planted` is what they are judged by."""

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from benchmarks.planted_peers import POSITIONS, agent_weights, environment, peer
from markets import load
from markets.synthetic import Planted

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
FAMILY = Planted(load("stocks")["1994":"1999"], (2.0,), length=140)


class Scripted:
    """Alternates between the positions, and notes what it saw."""

    def __init__(self):
        self.seen = []

    def predict(self, seen, state, first, deterministic):
        self.seen.append(seen.copy())
        return np.full(len(seen), len(self.seen) % 3), state


def test_agents_are_judged_on_what_they_saw_in_training():
    """Observations in the environment against those of the judge, and rewards against the family's."""
    episodes = FAMILY.sample(1, 0)
    world, script = environment(episodes), Scripted()
    weights = agent_weights(script, episodes, frames=1)
    seen, rewards = [world.reset()[0]], []
    for t in range(FAMILY.length):
        now, reward, *_ = world.step(np.full(world.num_envs, (t + 1) % 3))
        seen.append(now[0])
        rewards.append(reward[0])
    for t in range(1, FAMILY.length):
        np.testing.assert_allclose(seen[t], script.seen[t][0], atol=2e-3)  # a weight drifts a little between trades
    expected = FAMILY.reward(weights[:, :-1], episodes.returns[..., 0])[0]
    np.testing.assert_allclose(rewards, expected, atol=0.01)
    assert [POSITIONS[(t + 1) % 3] for t in range(5)] == weights[0, :5].tolist()


@pytest.mark.parametrize("name", ["PPO", "RecurrentPPO"])
def test_peers_train_and_choose(name):
    weights = peer(name, FAMILY.sample(8, 0), seed=0, budget=0.01)(FAMILY.sample(3, 1))
    assert weights.shape == (3, FAMILY.length + 1)
    assert set(np.unique(weights)) <= set(POSITIONS)
