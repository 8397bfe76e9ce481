from dataclasses import replace

import numpy as np
import pytest
import torch
from families import Walk

from markets import InputError
from markets.synthetic import DriftMomentum
from metalearner import PPO, Environments, Latent, Training, load_meta
from metalearner.evaluation import recipes
from metalearner.learners.latent import BeliefPolicy
from strategies import PolicySettings
from strategies.networks import Shape

FAMILY = DriftMomentum(drift=0.8, momentum=0.01, length=40)


def untrained():
    """The learner's algorithm on three tasks."""
    torch.manual_seed(0)
    learner, tasks = recipes.learner("latent", FAMILY), FAMILY.sample(3, 0).tasks(1)
    return learner.algorithm(learner.objective.policy(learner.policy, tasks), tasks)


@pytest.fixture(scope="module")
def fitted():
    """A belief policy trained briefly on strong drifts, on the evidence bound only."""
    training = Training(steps=150, batch=32, learning_rate=1e-2, weight_decay=0.0, evaluate_every=150, evidence=None)
    learner = replace(recipes.learner("latent", FAMILY), training=training, weight=10.0)
    return learner.fit(FAMILY.sample(512, 1).tasks(1), FAMILY.sample(32, 2).tasks(1), progress=False)


def test_the_belief_tells_tasks_apart_and_grows_certain(fitted):
    episodes = FAMILY.sample(60, 3)
    mean, std = fitted.belief(episodes.bars())
    assert mean.shape == std.shape == (1 + 60 * 41, 1, 4)
    first, last = 1 + 41 * np.arange(60) + 1, 1 + 41 * np.arange(60) + 40
    fitted_mu = np.linalg.lstsq(np.column_stack([mean[last, 0], np.ones(60)]), episodes.hidden["mu"], rcond=None)[0]
    read = np.column_stack([mean[last, 0], np.ones(60)]) @ fitted_mu
    assert np.corrcoef(read, episodes.hidden["mu"])[0, 1] > 0.6
    assert std[last].min(axis=-1).mean() < std[first].min(axis=-1).mean()


def test_a_belief_reads_nothing_later(fitted):
    bars = FAMILY.sample(2, 4).bars()
    whole, cut = fitted.belief(bars), fitted.belief(bars[:30])
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a[:30], b, atol=1e-6)


def test_save_load_and_plot(fitted, tmp_path):
    bars = FAMILY.sample(1, 5).bars()
    again = load_meta(fitted.save(tmp_path / "m"))
    assert isinstance(again, BeliefPolicy)
    np.testing.assert_array_equal(again.belief(bars)[0], fitted.belief(bars)[0])
    assert len(fitted.plot_belief(bars).data) == 3 * 4


def test_the_bound_of_a_belief_that_says_nothing_is_that_of_the_noise():
    """If the posterior equals the prior, the KL divergence is zero and the bound is the decoder's likelihood."""
    algorithm = untrained()
    for parameter in [*algorithm.policy.body.memory.posterior.parameters(), *algorithm.module["decoder"].parameters()]:
        torch.nn.init.zeros_(parameter)
    seen, steps = torch.randn(3, 1, 20, 2), torch.tensor([[20], [9], [1]])
    found = algorithm.evidence(seen, steps, np.arange(3), np.random.default_rng(7))
    key = int(np.random.default_rng(7).integers(2**31))
    expected = []
    for task, length in enumerate((20, 9)):
        bar = (np.random.default_rng([key, task]).random((1, 2, 16))[0, 1] * (length - 1)).astype(int)
        expected.append(-0.5 * (seen[task, 0, bar + 1] ** 2).sum(-1).mean())
    torch.testing.assert_close(found, torch.stack([*expected, torch.tensor(0.0)]))


def test_regression_the_bound_is_of_what_was_met_whichever_process_has_it():
    """The bound included steps after a sequence's end, whose number depended on the other tasks of the process."""
    algorithm = untrained()
    seen, steps = torch.randn(3, 1, 20, 2), torch.tensor([[12], [20], [7]])
    whole = algorithm.evidence(seen, steps, np.arange(3), np.random.default_rng(7))
    seen[0, 0, 12:] = 100.0
    two = [0, 2]
    part = algorithm.evidence(seen[two, :, :12], steps[two], np.array(two), np.random.default_rng(7))
    torch.testing.assert_close(part, whole[two])


def test_regression_the_bound_weighs_as_much_as_the_utility_of_its_minibatch():
    """The bound lacked the minibatch weight by which the utility is multiplied."""
    learner = Latent(
        policy=Shape(memory="belief", hidden=6),
        objective=PPO(minibatches=4, epochs=1, episodes_per_trial=2),
        weight=1.0,
    )
    policy = learner.objective.policy(learner.policy, Walk)
    algorithm = learner.algorithm(policy, learner.sampler(policy, Environments(Walk, range(8))))
    tasks = algorithm.sampler.all_tasks()
    algorithm.sampler.utility = lambda policy, params, part: torch.zeros(len(part.tasks))
    algorithm.evidence = lambda seen, steps, task_ids, rng: torch.ones(len(task_ids))
    losses = [loss.item() for loss in algorithm.losses(tasks, 8, np.random.default_rng(0))]
    assert losses == pytest.approx([-1.0] * 4)


def test_its_memory_is_a_belief():
    with pytest.raises(InputError, match="memory='belief'"):
        Latent(policy=PolicySettings(memory="gru"))
