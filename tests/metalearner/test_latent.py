from dataclasses import replace

import numpy as np
import pytest
import torch

from markets import InputError
from markets.synthetic import DriftMomentum
from metalearner import Latent, Training, load_meta, recipes
from metalearner.latent import BeliefPolicy
from strategies import PolicySettings

FAMILY = DriftMomentum(drift=0.8, momentum=0.01, length=40)


@pytest.fixture(scope="module")
def fitted():
    """A belief that has had a little training on strong drifts, for the evidence alone."""
    training = Training(steps=150, batch=32, learning_rate=1e-2, weight_decay=0.0, evaluate_every=150, evidence=None)
    learner = replace(recipes.learner("latent", FAMILY), training=training, weight=10.0)
    return learner.fit(FAMILY.sample(512, 1).tasks(1), FAMILY.sample(32, 2).tasks(1), progress=False)


def test_the_belief_tells_tasks_apart_and_grows_certain(fitted):
    drawn = FAMILY.sample(60, 3)
    mean, spread = fitted.belief(drawn.bars())
    assert mean.shape == spread.shape == (1 + 60 * 41, 1, 4)
    first, last = 1 + 41 * np.arange(60) + 1, 1 + 41 * np.arange(60) + 40
    told = np.linalg.lstsq(np.column_stack([mean[last, 0], np.ones(60)]), drawn.hidden["mu"], rcond=None)[0]
    read = np.column_stack([mean[last, 0], np.ones(60)]) @ told
    assert np.corrcoef(read, drawn.hidden["mu"])[0, 1] > 0.6
    assert spread[last].min(axis=-1).mean() < spread[first].min(axis=-1).mean()


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
    """With the prior for a posterior there is no divergence, and what is left is the decoder's likelihood."""
    torch.manual_seed(0)
    learner = recipes.learner("latent", FAMILY)
    tasks = FAMILY.sample(3, 0).tasks(1)
    policy = learner.objective.policy(learner.policy, tasks)
    lessons = learner.lessons(policy, tasks)
    for parameter in [*policy.body.memory.posterior.parameters(), *lessons.module["decoder"].parameters()]:
        torch.nn.init.zeros_(parameter)
    seen = torch.randn(3, 1, 20, 2)
    bars = np.random.default_rng(7)
    bars.integers(2**31)
    bars.integers(0, 20, 16)
    bar = bars.integers(0, 19, 16)
    expected = -0.5 * (seen[:, 0, bar + 1] ** 2).sum(-1).mean(1)
    torch.testing.assert_close(lessons.evidence(seen, np.arange(3), np.random.default_rng(7)), expected)


def test_its_memory_is_a_belief():
    with pytest.raises(InputError, match="memory='belief'"):
        Latent(policy=PolicySettings(memory="gru"))
