import json

import numpy as np
import pytest

from markets import InputError
from metalearner import FineTune, Training, load_meta, shrunk


def test_save_and_load(meta, bars, tmp_path):
    again = load_meta(meta.save(tmp_path / "m"))
    assert (type(again), again.name, again.objective) == (type(meta), meta.name, meta.objective)
    np.testing.assert_array_equal(again.adapt(bars).plan(bars).aim, meta.adapt(bars).plan(bars).aim)


def test_what_is_no_model(tmp_path, meta):
    with pytest.raises(InputError, match="no trained model there"):
        load_meta(tmp_path / "none")
    folder = meta.save(tmp_path / "m")
    about = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**about, "learner": "oracle"}))
    with pytest.raises(InputError, match="not a trained model of "):
        load_meta(folder)


def test_shrunk_changes_the_tilt_alone(meta, bars):
    none = shrunk(meta, 0.0, "none")
    assert (none.name, meta.name) == ("none", "RL2")
    assert np.abs(none.adapt(bars).plan(bars).aim - meta.adapt(bars).plan(bars).aim).max() > 0


def test_fine_tuning_moves_the_weights_by_what_it_saw(tasks, bars):
    training = Training(steps=6, evaluate_every=3, evidence=-1e9)
    meta = FineTune(training=training).fit(*tasks, progress=False)
    before = meta.unadapted().plan(bars).aim
    early, late = meta.adapt(bars[:700]), meta.adapt(bars[:1200])
    assert np.abs(early.plan(bars).aim - before).max() > 0
    assert np.abs(early.plan(bars).aim - late.plan(bars).aim).max() > 0
    np.testing.assert_array_equal(meta.unadapted().plan(bars).aim, before)  # adapting leaves the original alone
    again = meta.adapt(bars[:700])
    np.testing.assert_array_equal(again.plan(bars).aim, early.plan(bars).aim)


def test_adapting_reads_nothing_later(tasks, bars):
    """The bars that are handed over hold nothing later; what was adapted on them cannot either."""
    training = Training(steps=3, evaluate_every=3, evidence=-1e9)
    meta = FineTune(training=training).fit(*tasks, progress=False)
    whole, cut = meta.adapt(bars[:700]), meta.adapt(bars[:700].without_past())
    np.testing.assert_array_equal(whole.plan(bars).aim, cut.plan(bars).aim)
    with pytest.raises(InputError, match="bars, but"):
        meta.adapt(bars[:300])


def test_what_was_seen_is_remembered(meta, tasks, bars, tmp_path):
    last = max(t.times[2] for t in tasks[1])
    assert meta.seen_until == last
    assert load_meta(meta.save(tmp_path / "m")).seen_until == last
    assert meta.adapt(bars).seen_until == last


def test_too_few_bars_to_adapt_on(meta, bars):
    with pytest.raises(InputError, match="has 260 bars, but 273 are needed"):
        meta.adapt(bars[:260])
