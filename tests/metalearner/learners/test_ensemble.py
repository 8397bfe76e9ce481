import errno
import os

import numpy as np
import pytest

from markets import InputError
from metalearner import MAML, PPO, RL2, Ensemble, Training, load_meta
from strategies import Blend, PolicySettings

LEARNER = MAML(
    PolicySettings(memory="none", hidden=4), training=Training(steps=2, evaluate_every=2, seed=5, evidence=None)
)


@pytest.fixture(scope="module")
def ensemble(tasks):
    return Ensemble(LEARNER, members=2).fit(*tasks, progress=False)


def test_an_ensemble_is_the_mean_of_its_members_plans(ensemble, tasks, bars):
    assert ensemble.name == "2 × MAML"
    first = LEARNER.fit(*tasks, progress=False)
    assert [m.fingerprint == first.fingerprint for m in ensemble.members] == [True, False]
    for what in (lambda m: m.adapt(bars[:1400]), lambda m: m.unadapted()):
        aims = [what(m).plan(bars).aim for m in ensemble.members]
        np.testing.assert_allclose(what(ensemble).plan(bars).aim, np.mean(aims, axis=0), atol=1e-12)
    assert ensemble.unadapted().name == "2 × MAML, unadapted"


def test_save_and_load(ensemble, bars, tmp_path):
    again = load_meta(ensemble.save(tmp_path / "e"))
    assert type(again) is type(ensemble)
    assert (again.name, again.fingerprint, again.seen_until) == (
        ensemble.name,
        ensemble.fingerprint,
        ensemble.seen_until,
    )
    np.testing.assert_array_equal(again.adapt(bars).plan(bars).aim, ensemble.adapt(bars).plan(bars).aim)
    (tmp_path / "e" / "1" / "meta.json").unlink()
    with pytest.raises(InputError, match="1: no trained model there"):
        load_meta(tmp_path / "e")


def test_what_adapted_can_be_saved_and_trades_the_same(ensemble, bars, tmp_path):
    """`regimeshift adapt` on a saved ensemble ended in an AttributeError."""
    adapted = ensemble.adapt(bars[:1400])
    again = Blend.load(adapted.save(tmp_path / "adapted"))
    assert again.name == adapted.name
    np.testing.assert_array_equal(again.plan(bars).aim, adapted.plan(bars).aim)


def test_remembers_the_last_bar_that_any_member_saw(ensemble, tasks):
    assert ensemble.seen_until == max(m.seen_until for m in ensemble.members) == max(t.times[2] for t in tasks[1])


def test_regression_the_tilt_of_every_member_shrinks(ensemble, bars):
    """The tilt of the first member's policy was shrunk, which the ensemble does not use."""
    none = ensemble.shrunk(0.0, "none")
    held = none.adapt(bars).plan(bars)
    np.testing.assert_array_equal(held.aim, none.unadapted().plan(bars).aim)  # the base, with and without adaptation
    assert np.abs(held.aim - ensemble.adapt(bars).plan(bars).aim).max() > 0


def test_members_have_checkpoints_of_their_own(ensemble, tasks, tmp_path):
    again = Ensemble(LEARNER, members=2).fit(*tasks, progress=False, checkpoint=tmp_path / "c.safetensors")
    assert again.fingerprint == ensemble.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c-0.safetensors", "c-1.safetensors"]
    resumed = Ensemble(LEARNER, members=2).fit(
        *tasks, progress=False, checkpoint=tmp_path / "c.safetensors", resume=True
    )
    assert resumed.fingerprint == ensemble.fingerprint


def test_the_learner_must_trade():
    for wrong in (RL2, RL2(objective=PPO())):
        with pytest.raises(InputError, match="needs a learner that trades"):
            Ensemble(wrong)


def test_needs_members():
    with pytest.raises(InputError, match="at least 1"):
        Ensemble(LEARNER, members=0)


def test_regression_an_ensemble_is_replaced_as_a_whole(ensemble, tmp_path, monkeypatch):
    """Members were written in place: a full disk left some of each ensemble."""
    folder = ensemble.save(tmp_path / "e")
    other, last = ensemble.shrunk(0.5, "other"), ensemble.members[1]

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(other.members[1], "save", full)
        with pytest.raises(InputError, match="No space left on device"):
            other.save(folder)
    assert load_meta(folder).fingerprint == ensemble.fingerprint
    assert load_meta(folder / "1").fingerprint == last.fingerprint
    assert load_meta(other.save(folder)).fingerprint == other.fingerprint
