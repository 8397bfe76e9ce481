from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples
import torch

from markets import Bars, Execution, InputError, TaskSet
from metalearner import MAML, RL2, Across, Inner, KnownAcross, Latent, Pathwise, Training, Universe, load_meta
from strategies import Policy, PolicySettings
from strategies.networks import named_params, stack

TRAINING = Training(steps=3, batch=5, evaluate_every=3)


@pytest.fixture(scope="module")
def other():
    return TaskSet.from_windows(samples.regime_bars(1200, 5, seed=8), support=40, query=30)


@pytest.fixture(scope="module")
def both(tasks, other):
    return Across((Universe(tasks[0]), Universe(other, "50bp", Execution(gross=0.5))))


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    policy = Policy(PolicySettings(memory="none")).eval()
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return policy


def values(sampler, policy, tasks, params=None):
    params = params or named_params(policy)
    with torch.no_grad():
        return sampler.utility(policy, params, sampler.collect(policy, params, tasks, "query", None)).numpy()


def test_utilities_are_those_of_each_universe_with_its_costs(both, tasks, other, policy):
    found = values(sampler := Pathwise().sampler(both, policy, 20), policy, sampler.all_tasks())
    alone = Pathwise().sampler(tasks[0], policy, 20)
    dear = replace(Pathwise(), costs="50bp", execution=Execution(gross=0.5)).sampler(other, policy, 20)
    np.testing.assert_array_equal(found[: len(tasks[0])], values(alone, policy, alone.all_tasks()))
    np.testing.assert_array_equal(found[len(tasks[0]) :], values(dear, policy, dear.all_tasks()))


def test_universes_have_the_same_share_of_a_batch(both, policy):
    sampler = Pathwise().sampler(both, policy, 20)
    counts = np.array([
        [len(part) for part in sampler.sample(np.random.default_rng(k), 5, 1.0).parts] for k in range(40)
    ])  # fmt: skip
    assert (counts.sum(axis=1) == 5).all()
    assert counts.min() == 2
    assert abs(counts.mean(axis=0)[0] - 2.5) < 0.3


def test_a_part_of_a_batch_has_the_values_of_its_tasks(both, policy):
    """As processes shard it, and with as few as one task, which leaves a universe without any."""
    sampler = Pathwise().sampler(both, policy, 20)
    batch = sampler.sample(np.random.default_rng(0), 8, 1.0)
    whole = values(sampler, policy, batch)
    np.testing.assert_allclose(values(sampler, policy, batch.shard(1, 2)), whole[1::2], rtol=1e-6)
    np.testing.assert_array_equal(batch.shard(1, 2).task_ids, batch.task_ids[1::2])
    np.testing.assert_allclose(values(sampler, policy, batch[-1:]), whole[-1:], rtol=1e-6)


def test_parameters_of_each_task_stay_with_it(both, policy):
    sampler = Pathwise().sampler(both, policy, 20)
    batch = sampler.sample(np.random.default_rng(0), 4, 1.0)
    name = "body.last.bias"
    params = dict(stack(named_params(policy), [name], 4))
    params[name] = params[name] + torch.arange(4.0)[:, None] / 4
    found = values(sampler, policy, batch, params)
    for k in range(4):
        one = {**named_params(policy), name: params[name][k]}
        np.testing.assert_allclose(found[k], values(sampler, policy, batch[k : k + 1], one)[0], rtol=1e-5)


@pytest.mark.parametrize(
    "learner",
    [
        RL2(context=20, training=TRAINING),
        MAML(inner=Inner(steps=1, support=20), training=replace(TRAINING, evidence=None)),
    ],
)
def test_one_policy_is_trained_on_all_and_deployed_on_any(learner, tasks, other, bars, tmp_path):
    training, validation = other.split(validation=other[20].times[1])
    meta = learner.fit(
        Across((Universe(tasks[0]), Universe(training, "50bp"))), Across((Universe(tasks[1]), Universe(validation))),
        progress=False,
    )  # fmt: skip
    assert meta.seen_until == max(tasks[1][-1].times[2], validation.tasks[-1].times[2])
    again = load_meta(meta.save(tmp_path / "m"))
    for deployed in (bars, other.bars):
        assert again.adapt(deployed).plan(deployed).aim.shape == deployed.shape
    if isinstance(learner, RL2):
        late = replace(learner, training=replace(TRAINING, keep="last", evidence=None, on_validation=True))
        parts = Across((Universe(training), Universe(tasks[0]))), Across((Universe(validation), Universe(tasks[1])))
        assert late.fit(*parts, progress=False).seen_until == meta.seen_until
        assert len(meta.evaluate(Across((Universe(other),)))) == len(other)


def test_the_first_and_later_halves_of_validation_are_halves_of_each_universe(tasks, other, monkeypatch):
    learner = RL2(context=20, training=TRAINING)
    choosing, judging = learner._split(Across((Universe(tasks[1]), Universe(other))))
    assert [len(u.tasks) for u in judging.universes] == [len(tasks[1]) // 2, len(other) // 2]
    for early, late in zip(choosing.universes, judging.universes, strict=True):
        assert early.tasks[-1].cut < late.tasks[0].cut


def test_only_what_is_known_of_other_universes_is_cut():
    ours, others = samples.regime_bars(1000, 3, seed=1), samples.regime_bars(900, 4, seed=2)
    late = Bars.make(others.index + pd.Timedelta(days=5000), others.symbols, others.close)

    def cut(known):
        return TaskSet.from_windows(known, support=30, query=30).split(known.index[-200], embargo=0)

    known = ours[:800]
    training, validation = KnownAcross(cut, ((ours, "1bp", None), (others, "2bp", None), (late, None, None)))(known)
    assert [u.costs for u in training.universes] == ["1bp", "2bp"]  # the third does not exist yet
    assert max(task.times[2] for each in (training, validation) for task in each) <= known.index[-1]
    with pytest.raises(InputError, match="no universe has enough bars"):
        KnownAcross(cut, ((late, None, None),))(known)


def test_settings_are_checked(tasks, other):
    with pytest.raises(InputError, match="at least one"):
        Across(())
    aware = other.bars.index.tz_localize("UTC")
    zoned = TaskSet.from_windows(Bars.make(aware, other.bars.symbols, other.bars.close), support=40, query=30)
    with pytest.raises(InputError, match="time zone"):
        Across((Universe(tasks[0]), Universe(zoned)))
    with pytest.raises(InputError, match="time zone"):
        KnownAcross(lambda known: tasks, ((tasks[0].bars, None, None), (zoned.bars, None, None)))


def test_training_and_validation_are_across_the_same_universes(tasks, both):
    training = replace(TRAINING, keep="last", evidence=None, on_validation=True)
    for pair in ((both, tasks[1]), (tasks[0], both), (both, Across((Universe(tasks[1]),)))):
        with pytest.raises(InputError, match=r"across \d universes and validation across \d; give both"):
            RL2(context=20, training=training).fit(*pair, progress=False)
    with pytest.raises(InputError, match="a belief is inferred from the symbols of one universe"):
        Latent(context=20, training=TRAINING).fit(both, both, progress=False)


def test_a_checkpoint_of_other_costs_in_a_universe_is_refused(tasks, other, tmp_path):
    learner, place = RL2(context=20, training=replace(TRAINING, evidence=None)), tmp_path / "c.safetensors"
    learner.fit(*[Across((Universe(each), Universe(other, "1bp"))) for each in tasks], checkpoint=place, progress=False)
    dear = [Across((Universe(each), Universe(other, "50bp"))) for each in tasks]
    with pytest.raises(InputError, match="checkpoint"):
        learner.fit(*dear, checkpoint=place, resume=True, progress=False)
