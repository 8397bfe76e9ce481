import json

import numpy as np
import pytest
import torch
from families import Walk
from gymnasium.spaces import Box, Dict, Discrete

from markets import InputError
from metalearner import PPO, RL2, Environments, Training
from metalearner.environments.actor_critic import ActorCritic
from metalearner.environments.agent import Agent
from metalearner.environments.distributions import Categorical, DiagonalGaussian, Spaces
from strategies.networks import Shape

BOX = Box(np.array([-1.0, 0.0, -np.inf], np.float32), np.array([1.0, 4.0, np.inf], np.float32))
SPACES = {
    "discrete": Spaces.of(Discrete(4), Discrete(3, start=2)),
    "box": Spaces.of(Box(-1, 1, (2, 2)), BOX),
}


def built(kind, memory, **options):
    torch.manual_seed(0)
    policy = ActorCritic(Shape(memory=memory, hidden=8, layers=1), SPACES[kind], **options)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return policy.eval()


def play(agent, kind, steps=5):
    rng, out = np.random.default_rng(0), []
    for t in range(steps):
        out.append(agent.act(int(rng.integers(4)) if kind == "discrete" else rng.random((2, 2))))
        agent.observe(rng.random(), t == 2)
    return np.array(out)


@pytest.mark.parametrize("memory", ["none", "gru", "transformer", "belief"])
@pytest.mark.parametrize("kind", SPACES)
def test_an_agent_step_by_step_agrees_with_the_rollout(kind, memory):
    policy = built(kind, memory)
    x = torch.randn(3, 2, 6, policy.body.layers[0].in_features - policy.body.memory.width)
    head, value, _ = policy(x)
    state, heads, values = None, [], []
    for t in range(6):
        h, v, state = policy(x[:, :, t : t + 1], state)
        heads.append(h)
        values.append(v)
    torch.testing.assert_close(torch.cat(heads, 2), head, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(values, 2), value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("kind", SPACES)
def test_save_and_load(kind, memory, tmp_path):
    agent = Agent(built(kind, memory, critic=memory == "gru", initial_std=0.3), 9, "mine")
    again = Agent.load(agent.save(tmp_path / "a"))
    assert (again.name, again.context, again.fingerprint) == ("mine", 9, agent.fingerprint)
    np.testing.assert_array_equal(play(again, kind), play(agent, kind))


def test_what_is_no_agent(tmp_path):
    with pytest.raises(InputError, match="not a saved agent"):
        Agent.load(tmp_path)
    folder = Agent(built("box", "gru"), 9).save(tmp_path / "a")
    config = json.loads((folder / "agent.json").read_text())
    config["settings"]["hidden"] = 4
    (folder / "agent.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="do not belong together"):
        Agent.load(folder)


def test_memory_lives_until_it_is_told_to_forget():
    agent = Agent(built("box", "gru"), 9)
    first = play(agent, "box")
    assert np.abs(play(agent, "box") - first).max() > 1e-4
    agent.forget()
    np.testing.assert_array_equal(play(agent, "box"), first)


def test_a_context_of_one_step_remembers_nothing():
    agent, seen = Agent(built("box", "gru"), 1), np.ones((2, 2))
    first = agent.act(seen)
    agent.observe(3.0, True)
    np.testing.assert_array_equal(agent.act(seen), first)


def test_actions_are_those_of_the_space():
    for kind, space in (("discrete", Discrete(3, start=2)), ("box", BOX)):
        agent = Agent(built(kind, "none", initial_std=5.0), 1, rng=np.random.default_rng(0))
        actions = play(agent, kind, 50)
        assert all(space.contains(a) for a in actions)
        assert len(np.unique(actions, axis=0)) > 2
    assert play(agent, "box", 50)[:, 2].max() > 1  # an unbounded action is not limited to 1


def test_distributions_are_those_of_torch():
    rng = np.random.default_rng(0)
    logits, out, log_std = torch.randn(7, 3), torch.randn(7, 2), torch.randn(2)
    one, box = Categorical(3), DiagonalGaussian((-1.0, -1.0), (1.0, 1.0), (2,))
    head, theirs = one.head(logits, None), torch.distributions.Categorical(logits=logits)
    action = one.sample(head, one.noise(rng, 7))
    torch.testing.assert_close(one.log_prob(head, action), theirs.log_prob(action))
    torch.testing.assert_close(one.entropy(head), theirs.entropy())
    head, theirs = box.head(out, log_std), torch.distributions.Normal(out, log_std.exp())
    action = box.sample(head, box.noise(rng, 7))
    torch.testing.assert_close(box.log_prob(head, action), theirs.log_prob(action).sum(-1))
    torch.testing.assert_close(box.entropy(head), theirs.entropy().sum(-1))
    many = one.sample(logits[:1].log_softmax(-1).expand(20_000, 3), one.noise(rng, 20_000))
    assert np.abs(np.bincount(many) / 20_000 - logits[0].softmax(-1).numpy()).max() < 0.015


def test_unknown_spaces_are_named():
    with pytest.raises(InputError, match="actions are Dict"):
        Spaces.of(Box(0, 1, (1,)), Dict())
    with pytest.raises(InputError, match="observations are Dict"):
        Spaces.of(Dict(), Discrete(2))


def test_an_agent_with_a_memory_is_told_what_its_actions_pay():
    """An agent that was not given rewards silently failed to adapt."""
    policy = ActorCritic(Shape(memory="gru", hidden=4), Environments(Walk).spaces)
    agent = Agent(policy, 5)
    with pytest.raises(InputError, match="has not acted"):
        agent.observe(0.0, False)
    agent.act(0)
    with pytest.raises(InputError, match="call observe"):
        agent.act(0)
    agent.observe(0.0, False)
    agent.act(0)
    plain = Agent(ActorCritic(Shape(memory="none", hidden=4), Environments(Walk).spaces), 1)
    assert plain.act(0) == plain.act(0)


def test_regression_adapt_takes_no_step_in_the_users_environment():
    """`RL2.adapt` made the environment, reset it and took random actions, which would be orders in a live environment."""
    built = []

    def family(seed):
        built.append(seed)
        return Walk(seed)

    training = Training(steps=1, batch=2, evaluate_every=1)
    meta = RL2(policy=Shape(hidden=4), objective=PPO(episodes_per_trial=2), training=training).fit(
        family, Environments(family, range(2)), progress=False
    )
    built.clear()
    agent = meta.adapt(lambda: family(7))
    assert isinstance(agent, Agent)
    assert built == []
    for wrong in (family, Walk(7), "walk"):
        with pytest.raises(InputError, match="without arguments, as lambda"):
            meta.adapt(wrong)
