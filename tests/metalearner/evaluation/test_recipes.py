import pytest

from markets.synthetic import DriftMomentum
from metalearner.evaluation.recipes import FAMILIES, episode_budget, learner, names, trained

FAMILY = DriftMomentum()


def test_every_family_has_learners_with_recipes():
    for family, skip in FAMILIES.values():
        assert skip < family.length
        for name in names(family):
            assert learner(name, family).name == name
            assert episode_budget(family, name).support < episode_budget(family, name).length


def test_a_saved_model_is_not_trained_again(tmp_path):
    first = trained("fine-tune", FAMILY, 0, True, tmp_path)
    again = trained("fine-tune", FAMILY, 0, True, tmp_path)
    assert again.meta.fingerprint == first.meta.fingerprint
    assert again.seconds == pytest.approx(first.seconds, abs=0.5)
    assert len(list(tmp_path.iterdir())) == 1
    assert trained("scratch", FAMILY, 0, True, tmp_path / "of its own").seconds > 0  # it has no checkpoint
    assert trained("fine-tune", FAMILY, 1, True, tmp_path).meta.fingerprint != first.meta.fingerprint
    assert len(list(tmp_path.glob("drift*"))) == 2


def test_training_time_is_summed_over_interruptions(tmp_path):
    """The recorded training time was only that since the last interruption."""
    whole = trained("fine-tune", FAMILY, 0, True, tmp_path)
    (place,) = tmp_path.iterdir()
    (place / "meta.json").unlink()
    (place / "seconds.txt").write_text("1000")
    again = trained("fine-tune", FAMILY, 0, True, tmp_path)
    assert again.meta.fingerprint == whole.meta.fingerprint
    assert 1000 < again.seconds < 1100
