import numpy as np
import pytest

from markets.synthetic import DriftMomentum, HiddenMarkov
from metalearner.evaluation import recipes
from metalearner.evaluation.scores import by_bars, by_steps, ceiling_scores, fraction_of_ceiling, task_scores
from strategies.optimal import DriftMomentumFilter

FAMILY = DriftMomentum(length=40)


def test_the_fraction_of_the_ceiling_is_a_ratio_of_means_with_its_interval():
    rng = np.random.default_rng(0)
    ceiling = rng.normal(1.0, 0.5, 400)
    found = fraction_of_ceiling(np.stack([0.8 * ceiling, 0.9 * ceiling]), ceiling)
    assert found.mean == pytest.approx(0.85)
    assert (found.low, found.high) == pytest.approx((0.8, 0.9))
    alone = fraction_of_ceiling(0.7 * ceiling[None] + rng.normal(0, 0.2, 400), ceiling)
    assert 0 < alone.low < alone.mean < alone.high < 1


def test_the_ceiling_is_judged_on_the_query_alone():
    episodes = FAMILY.sample(5, 0)
    weights, returns = DriftMomentumFilter(FAMILY).follow(episodes)[:, :40], episodes.returns[..., 0]
    profit = weights * returns[:, 1:]
    expected = (profit - 0.5 * profit**2)[:, 9:].mean(axis=1)
    np.testing.assert_allclose(ceiling_scores(episodes, 10), expected)


@pytest.mark.parametrize("name", ["RL2", "MAML"])
def test_scores_are_the_familys_reward_of_the_deployed_strategy(name):
    """Scores from the account agree, task by task, with the family's formula applied to the plan of `adapt`."""
    learner = recipes.learner(name, FAMILY, quick=True)
    meta = learner.fit(*(FAMILY.sample(64, s).tasks(20) for s in (1, 2)), progress=False)
    episodes = FAMILY.sample(3, 3)
    tasks = episodes.tasks(20)
    found = task_scores(meta, tasks)
    for i, task in list(enumerate(tasks))[1:]:  # the first task has too few past bars for the gradient steps
        if name == "MAML":
            meta.inner = type(meta.inner)(**{**vars(meta.inner), "support": 20})
            strategy = meta.adapt(task.support)
            aim = strategy.plan(tasks.bars.with_past()).aim[task.cut - 1 : task.stop - 1, 0]
        else:
            meta.context = 41  # the memory covers the whole episode
            alone = tasks.bars.with_past()[task.start - 1 : task.stop].without_past()
            aim = [meta.policy(*_inputs(meta, alone, t)).aim[0, -1, 0].item() for t in range(20, 41)]
        reward = FAMILY.reward(np.asarray(aim)[None], episodes.returns[i : i + 1, 19:, 0]).mean()
        assert found[i] == pytest.approx(reward, abs=2e-4)


def _inputs(meta, bars, t):
    import torch

    features = torch.from_numpy(meta.policy.settings.features.compute(bars)).float()[None, 1 : t + 1]
    return features, torch.zeros((*features.shape[:3], 3), dtype=torch.float64)


def test_curves_have_one_row_per_point():
    learner = recipes.learner("fine-tune", FAMILY, quick=True)
    meta = learner.fit(*(FAMILY.sample(64, s).tasks(20) for s in (1, 2)), progress=False)
    bars = by_bars([meta, meta], FAMILY, tasks=300, query=30, seed=0, seen=(5, 10))
    assert bars.index.tolist() == [5, 10]
    assert (bars["low"] <= bars["mean"]).all()
    assert (bars["mean"] <= bars["high"]).all()
    steps = by_steps([meta], FAMILY, tasks=20, support=20, seed=0, steps=(0, 2))
    judged = DriftMomentum(length=39).sample(20, [0, 20])
    expected = meta.evaluate_unadapted(judged.tasks(20)).mean() / ceiling_scores(judged, 20).mean()
    assert steps.loc[0, "mean"] == pytest.approx(expected)


def test_without_memory_every_bar_is_the_first():
    family = HiddenMarkov(length=30)
    learner = recipes.learner("RL2", family, quick=True)
    meta = learner.fit(*(family.sample(64, s).tasks(1) for s in (1, 2)), progress=False)
    tasks = family.sample(4, 3).tasks(5)
    assert np.abs(meta.evaluate_unadapted(tasks) - task_scores(meta, tasks)).max() > 0
