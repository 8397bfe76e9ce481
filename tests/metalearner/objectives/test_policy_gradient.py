from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from families import TwoArms, Walk

from markets import InputError
from metalearner import (
    MAML,
    PPO,
    REINFORCE,
    RL2,
    Environments,
    FineTune,
    Inner,
    Latent,
    Reptile,
    Scratch,
    Training,
    load_meta,
)
from metalearner.objectives.policy_gradient import advantages
from strategies.networks import Shape, named_params

SHORT = Training(steps=4, batch=6, evaluate_every=2, weight_decay=0.0, device="cpu", largest_gradient=0.5)
JUDGED = Environments(Walk, range(8))


def weights(meta):
    return torch.cat([p.detach().flatten() for p in meta.policy.parameters()])


def test_advantages_are_those_of_a_plain_loop():
    rng, steps, discount, gae_lambda = np.random.default_rng(0), 12, 0.9, 0.7
    reward, value, after = (torch.from_numpy(rng.normal(size=(3, 4, steps))) for _ in range(3))
    end = torch.from_numpy(rng.random((3, 4, steps)) < 0.2)
    end[..., -1] = True
    alive = torch.arange(steps) < torch.from_numpy(rng.integers(3, steps + 1, (3, 4)))[..., None]
    found = advantages(reward, value, after, end, alive, discount, gae_lambda)
    for i, j in np.ndindex(3, 4):
        for t in range(steps):
            expected, weight = 0.0, 1.0
            for k in range(t, steps):
                if not alive[i, j, k]:
                    break
                following = after[i, j, k] if end[i, j, k] else value[i, j, k + 1]
                expected += weight * (reward[i, j, k] + discount * following - value[i, j, k])
                weight *= discount * gae_lambda
                if end[i, j, k]:
                    break
            assert float(found[i, j, t]) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("memory", ["gru", "none"])
def test_advantages_run_across_episodes_only_with_a_memory(memory):
    objective = PPO(episodes_per_trial=2, normalise=False, discount=1.0, gae_lambda=1.0, baseline="none")
    policy = objective.policy(Shape(memory=memory), Walk)
    sampler = objective.sampler(JUDGED, policy, 1)
    met = sampler.collect(policy, named_params(policy), sampler.all_tasks(), "query", np.random.default_rng(0))
    first = met.rollout.returns() if memory == "gru" else met.rollout.returns(0)
    torch.testing.assert_close(met.advantage[..., 0], first)


def test_reinforce_has_the_gradient_of_the_expected_reward():
    """With two arms, dE[r]/dlogits is known in closed form."""
    objective = REINFORCE(trials=4_000)
    policy = objective.policy(Shape(memory="none", layers=0), partial(TwoArms, pays=(1.0, 3.0)))
    policy.body.last.bias.data = torch.tensor([0.4, -0.2])
    policy.body.last.weight.data.zero_()
    sampler = objective.sampler(Environments(partial(TwoArms, pays=(1.0, 3.0)), [0]), policy, 1)
    batch = sampler.collect(policy, named_params(policy), sampler.all_tasks(), "query", np.random.default_rng(0))
    (found,) = torch.autograd.grad(sampler.utility(policy, named_params(policy), batch).sum(), [policy.body.last.bias])
    bias = torch.tensor([0.4, -0.2], requires_grad=True)
    (exact,) = torch.autograd.grad((bias.softmax(-1) * torch.tensor([1.0, 3.0])).sum(), [bias])
    torch.testing.assert_close(found, exact, rtol=0, atol=0.05)  # the standard error is 0.016


@pytest.mark.parametrize("objective", [REINFORCE(), REINFORCE(trials=8), PPO(clip=10, epochs=1, minibatches=2)])
def test_regression_short_episodes_have_no_extra_weight(objective):
    """One arm pays 1 and ends at once, the other pays 3 and ends after ten steps; gradient ascent must prefer the second."""

    class Patience(TwoArms):
        def reset(self, **options):
            self.left = 0
            return super().reset(**options)

        def step(self, action):
            if not self.left:
                self.left = 10 if action else 1
            self.left -= 1
            shown = np.ones(1, np.float32) if self.left == 0 else np.zeros(1, np.float32)
            return shown, 1.0 if not action and not self.left else 0.3, not self.left, False, {}

    objective = replace(objective, discount=1.0, normalise=False, baseline="none", entropy=0.0)
    policy = objective.policy(Shape(memory="none", layers=0), Patience)
    policy.body.last.weight.data.zero_()
    policy.body.last.bias.data.zero_()
    sampler = objective.sampler(Environments(Patience, range(3000 // objective.trials)), policy, 1)
    rng = np.random.default_rng(0)
    batch = sampler.collect(policy, named_params(policy), sampler.all_tasks(), "query", rng)
    loss = sum(
        sampler.utility(policy, named_params(policy), part).sum() for (part,) in sampler.minibatches([batch], rng)
    )
    (found,) = torch.autograd.grad(loss, [policy.body.last.weight])
    assert found[1, 0] > 0 > found[0, 0]


@pytest.mark.parametrize("trials", [1, 3])
def test_two_processes_find_the_gradient_that_one_finds(trials, monkeypatch):
    """Gradients of the shards add up, minibatch by minibatch, if the moments of all advantages are shared."""
    objective = PPO(trials=trials, episodes_per_trial=2, epochs=2, minibatches=2)
    policy = objective.policy(Shape(hidden=6), Walk)
    sampler = objective.sampler(JUDGED, policy, 1)

    def batch_of(rank, ranks):
        tasks, rng = sampler.all_tasks().shard(rank, ranks), np.random.default_rng(5)
        return sampler.collect(policy, named_params(policy), tasks, "query", rng), rng

    def gradients(batch, rng):
        for (part,) in sampler.minibatches([batch], rng):
            found = torch.autograd.grad(
                -sampler.utility(policy, named_params(policy), part).sum() / 8, list(named_params(policy).values())
            )
            yield torch.cat([g.flatten() for g in found])

    alone = list(gradients(*batch_of(0, 1)))
    assert len(alone) == 4
    asked = []  # the sums that each process requests; each receives the total of both
    monkeypatch.setattr("metalearner.objectives.policy_gradient.summed", lambda x: asked.append(x) or x)
    for rank in range(2):
        batch, rng = batch_of(rank, 2)
        next(sampler.minibatches([batch], rng))
    count, total = ((a + b) for a, b in zip(asked[:2], asked[len(asked) // 2 :][:2], strict=True))
    steps = asked[4] + asked[9] if trials == 1 else None
    mean = total / count

    def squares_of(rank):
        batch, _ = batch_of(rank, 2)
        alive = batch.rollout.alive
        held = torch.where(alive, batch.advantage.double(), 0.0)
        own_mean = held.sum((1, 2), keepdim=True) / alive.sum((1, 2), keepdim=True)
        centre = mean if trials == 1 else own_mean
        return torch.where(alive, (batch.advantage - centre) ** 2, 0.0).sum()

    squares = squares_of(0) + squares_of(1)

    def both():
        totals = {0: count, 1: total, 2: count, 3: squares, 4: steps}
        calls = iter(range(5))
        return lambda x: totals[next(calls)]

    shards = []
    for rank in range(2):
        monkeypatch.setattr("metalearner.objectives.policy_gradient.summed", both())
        shards.append(list(gradients(*batch_of(rank, 2))))
    for whole, a, b in zip(alone, *shards, strict=True):
        torch.testing.assert_close(a + b, whole, rtol=1e-5, atol=1e-6)


def test_ppo_learns_which_way_to_walk():
    learner = RL2(
        policy=Shape(memory="none", hidden=8),
        objective=PPO(trials=2),
        training=replace(SHORT, steps=25, batch=16, evaluate_every=25, learning_rate=1e-2, schedule="linear"),
    )
    history = learner.fit(Walk, JUDGED, progress=False).history
    assert history["validation"].iloc[0] < 0.8
    assert history["validation"].iloc[-1] > 0.95


LEARNERS = {
    "RL2": RL2(policy=Shape(hidden=6), objective=PPO(episodes_per_trial=2), training=SHORT),
    "MAML": MAML(
        policy=Shape(memory="none", hidden=6), objective=PPO(trials=4, baseline="linear", epochs=2, minibatches=2),
        inner=Inner(steps=2, step_size=(0.5, 0.1)), order=2, learn_step_sizes=True, every_update=True, training=SHORT,
    ),
    "first order": MAML(
        policy=Shape(memory="none", hidden=6), objective=PPO(trials=4), inner=Inner(steps=1), training=SHORT
    ),
    "Reptile": Reptile(policy=Shape(memory="none", hidden=6), objective=PPO(trials=4), inner=Inner(steps=1), training=SHORT),
    "FineTune": FineTune(
        policy=Shape(memory="none", hidden=6), objective=REINFORCE(trials=4), inner=Inner(steps=1),
        step_sizes=(0.1, 1.0), training=SHORT,
    ),
    "Latent": Latent(policy=Shape(memory="belief", hidden=6), objective=PPO(episodes_per_trial=2), training=SHORT),
    "Scratch": Scratch(
        policy=Shape(memory="none", hidden=6), objective=PPO(trials=4),
        inner=Inner(steps=2, optimizer="adam"), step_sizes=(0.01, 0.1), training=SHORT,
    ),
}  # fmt: skip


def acts(agent, steps=12):
    environment, out = Walk(5), []
    observation, _ = environment.reset(seed=1)
    for _ in range(steps):
        action = agent.act(observation)
        observation, reward, terminated, truncated, _ = environment.step(action)
        agent.observe(reward, terminated or truncated)
        out.append(action)
        if terminated or truncated:
            observation, _ = environment.reset()
    return out


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_adapts_and_is_kept(name, tmp_path):
    meta = LEARNERS[name].fit(Walk, JUDGED, progress=False)
    again = load_meta(meta.save(tmp_path / "m"))
    assert (again.fingerprint, again.objective) == (meta.fingerprint, meta.objective)
    task = partial(Walk, 5)
    agent = meta.adapt(task)
    assert again.adapt(task).fingerprint == agent.fingerprint
    assert (agent.fingerprint == meta.fingerprint) == (name in ("RL2", "Latent"))
    assert acts(agent) == acts(again.adapt(task))
    assert meta.unadapted().act(0) in (0, 1)


def test_learnt_step_sizes_have_one_row_per_update():
    learner = LEARNERS["MAML"]
    before = learner.inner.sizes
    assert before == (0.5, 0.1)
    sizes = learner.fit(Walk, JUDGED, progress=False).step_sizes
    for size in sizes.values():
        assert len(size) == 2
    moved = torch.cat([(s - torch.tensor(before).view(-1, *[1] * (s.ndim - 1))).flatten() for s in sizes.values()])
    assert moved.abs().max() > 0


def test_wrong_settings_are_named():
    for wrong, message in (
        ({"baseline": "mean"}, "baseline 'mean' is unknown"),
        ({"episodes_per_trial": 0}, "episodes_per_trial is 0"),
        ({"discount": 1.5}, "discount is 1.5"),
        ({"clip": 0.0}, "clip is 0.0"),
    ):
        with pytest.raises(InputError, match=message):
            PPO(**wrong)
    with pytest.raises(InputError, match="step_size above 0"):
        Inner(step_size=(0.1, 0.0))
    assert Inner(steps=3, step_size=[0.5, 0.1]).sizes == (0.5, 0.1, 0.1)
    assert Training(steps=4, learning_rate=1.0, schedule="linear").rate(3) == 0.25


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", ["RL2", "MAML"])
def test_an_interrupted_training_ends_in_the_same_bits(name, tmp_path):
    learner, path = LEARNERS[name], tmp_path / "c.safetensors"
    whole = learner.fit(Walk, JUDGED, progress=False)

    def interrupt(_, step):
        if step == 2:
            raise Stop

    with pytest.raises(Stop):
        learner.fit(Walk, JUDGED, progress=False, checkpoint=path, log=interrupt)
    resumed = learner.fit(Walk, JUDGED, progress=False, checkpoint=path, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.history.equals(resumed.history)


def test_a_reward_that_is_no_number_is_named():
    broken, learner = partial(TwoArms, pays=(np.nan, np.nan)), RL2(Shape(hidden=4), REINFORCE(), SHORT)
    with pytest.raises(FloatingPointError, match=r"step 0: the gain of the task of seed \d+ at its step 0"):
        learner.fit(broken, Environments(TwoArms, [1]), progress=False)
    with pytest.raises(FloatingPointError, match="validation task 0 is not finite"):
        learner.fit(TwoArms, Environments(broken, [1]), progress=False)


def test_regression_a_support_is_not_weighted_by_its_minibatch():
    """The support was weighted too, so inner steps were larger in training than in adaptation, and MAML learnt nothing."""
    objective = PPO(trials=2, minibatches=4, epochs=1, baseline="linear")
    policy = objective.policy(Shape(memory="none", hidden=6), Walk)
    sampler, rng = objective.sampler(JUDGED, policy, 1), np.random.default_rng(0)
    support, query = (
        sampler.collect(policy, named_params(policy), sampler.all_tasks(), p, rng) for p in ("support", "query")
    )
    whole = sampler.utility(policy, named_params(policy), support)
    for part, judged in sampler.minibatches([support, query], rng):
        torch.testing.assert_close(sampler.utility(policy, named_params(policy), part), whole[part.tasks.places])
        assert (part.weight, judged.weight) == (1.0, 4.0)
