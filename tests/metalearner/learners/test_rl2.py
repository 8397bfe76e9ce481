from dataclasses import replace

import numpy as np
import pytest

from backtests import walk_forward
from markets import Features, InputError
from markets.features import Earned, Return
from metalearner import RL2, Ensemble, Latent, Training, load_meta
from strategies import PolicySettings

TRAINING = Training(steps=4, batch=4, evaluate_every=2, evidence=None)
LEARNER = RL2(context=20, training=TRAINING, control="trained")


@pytest.fixture(scope="module")
def trained(tasks):
    return LEARNER.fit(*tasks, progress=False)


def test_the_control_is_trained_without_a_memory(trained, tasks, bars):
    control = trained.control
    assert control.policy.settings == replace(trained.policy.settings, memory="none")
    alone = LEARNER.without_memory().fit(*tasks, progress=False)
    unadapted = trained.unadapted()
    assert unadapted.name == "RL2, unadapted"
    np.testing.assert_array_equal(unadapted.plan(bars).aim, alone.adapt(bars).plan(bars).aim)
    np.testing.assert_allclose(trained.evaluate_unadapted(tasks[1]), alone.evaluate(tasks[1]))


def test_the_trained_policy_does_not_depend_on_its_control(trained, tasks, bars):
    meta = replace(LEARNER, control="cleared").fit(*tasks, progress=False)
    np.testing.assert_array_equal(meta.adapt(bars).plan(bars).aim, trained.adapt(bars).plan(bars).aim)
    assert meta.control is None
    assert set(meta.controls()) == {"unadapted"}
    np.testing.assert_array_equal(meta.unadapted().plan(bars).aim, meta.cleared().plan(bars).aim)


def test_a_cleared_memory_is_called_that(trained, bars):
    assert set(trained.controls()) == {"unadapted", "memory cleared"}
    cleared = trained.controls()["memory cleared"]
    assert (cleared.name, cleared.context) == ("RL2, memory cleared", 1)
    assert np.abs(cleared.plan(bars).aim - trained.unadapted().plan(bars).aim).max() > 0


def test_the_control_is_saved_and_shrunk_with_the_policy(trained, bars, tmp_path):
    again = load_meta(trained.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.unadapted().plan(bars).aim, trained.unadapted().plan(bars).aim)
    none = again.shrunk(0.0, "none")
    np.testing.assert_array_equal(none.unadapted().plan(bars).aim, none.adapt(bars).plan(bars).aim)  # both the base
    assert float(trained.control.policy.shrink) == 1


def test_members_of_an_ensemble_have_their_controls(tasks, bars, tmp_path):
    meta = Ensemble(LEARNER, 2).fit(*tasks, progress=False, checkpoint=tmp_path / "c.safetensors")
    assert {p.name for p in tmp_path.glob("c*.safetensors")} == {
        f"c-{k}{control}.safetensors" for k in (0, 1) for control in ("", "-control")
    }
    mean = np.mean([m.control.adapt(bars).plan(bars).aim for m in meta.members], axis=0)
    np.testing.assert_allclose(meta.unadapted().plan(bars).aim, mean)
    assert meta.controls()["memory cleared"].name == "2 × RL2, memory cleared"
    again = load_meta(meta.save(tmp_path / "e"))
    np.testing.assert_array_equal(again.unadapted().plan(bars).aim, meta.unadapted().plan(bars).aim)


def test_the_control_of_a_latent_policy_has_no_belief(tasks):
    learner = Latent(context=20, training=TRAINING, control="trained")
    control = learner.fit(*tasks, progress=False).control
    assert (control.kind, control.policy.settings.memory) == ("rl2", "none")


def test_a_walk_forward_shows_all_controls(bars):
    result = walk_forward([LEARNER], bars[1300:], costs="1bp", every=50, controls=True, progress=False)
    assert [one.name for one in result] == ["RL2", "RL2, unadapted", "RL2, memory cleared"]


def test_weights_that_a_memory_writes_have_a_plain_control():
    policy = PolicySettings(head="hyper")
    assert replace(LEARNER, policy=policy).without_memory().policy.head == "plain"
    with pytest.raises(InputError, match="control is 'none'"):
        RL2(control="none")


def test_features_that_are_a_memory_are_not_the_controls(tasks, bars):
    features = Features((Return(5), Earned(100, (10,), 20)))
    policy = PolicySettings(memory="none", features=features)
    meta = RL2(policy, training=TRAINING, context=1, control="trained").fit(*tasks, progress=False)
    assert meta.control.policy.settings.features == Features((Return(5),))
    assert set(meta.controls()) == {"unadapted"}  # there is nothing to clear
    short, strategy = bars[-60:], meta.adapt(bars)
    alone = bars[-(60 + strategy.warmup) :].without_past()[-60:]
    # its warm-up is as long as its features reach
    np.testing.assert_allclose(strategy.plan(alone).aim, strategy.plan(short).aim, atol=1e-9)
