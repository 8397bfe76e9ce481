"""Models are kept by what they were trained with and on, and found again."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.real_market import models
from benchmarks.real_market.described import described, fingerprint
from benchmarks.real_market.models import Kept, cuts
from benchmarks.real_market.task_cuts import RecentTasks
from markets import Bars
from metalearner import RL2, Across, Training, Universe
from strategies import EqualWeight, Momentum, PolicySettings, VolatilityTarget


def bars(days=1200, seed=0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((days, 3)), axis=0))
    return Bars.make(pd.bdate_range("2010-01-04", periods=days), ["a", "b", "c"], close)


LEARNER = RL2(PolicySettings(hidden=4), training=Training(steps=2, evaluate_every=2, evidence=None), context=10)


@pytest.fixture(scope="module")
def tasks():
    return RecentTasks()(bars())


@dataclass(frozen=True)
class Refuses:
    """A learner that was trained, and must not be again."""

    learner: object

    def fit(self, *_, **__):
        raise AssertionError("trained twice")


def test_a_kept_model_is_read_and_is_the_same(tmp_path, tasks, monkeypatch):
    kept = Kept(LEARNER, "mine", tmp_path)
    first = kept.fit(*tasks, progress=False)
    monkeypatch.setattr(RL2, "fit", Refuses.fit)
    second = kept.fit(*tasks, progress=False)
    assert first.fingerprint == second.fingerprint
    assert first.seen_until == second.seen_until
    assert models.kept(tmp_path) == (1, 0)


def test_a_model_that_was_not_finished_is_trained_again(tmp_path, tasks):
    """What a killed training leaves is a folder without ``meta.json``."""
    kept = Kept(LEARNER, "mine", tmp_path)
    kept.place(*tasks).mkdir(parents=True)
    (kept.place(*tasks) / ".saving.1-1").mkdir()
    assert kept.fit(*tasks, progress=False).fingerprint == Kept(LEARNER, "x", tmp_path / "x").fit(*tasks).fingerprint


def test_the_place_depends_on_settings_seed_and_bars(tmp_path, tasks):
    places = {
        Kept(learner, "mine", tmp_path).place(*given)
        for learner in (LEARNER, LEARNER.with_seed(1), replace(LEARNER, context=11))
        for given in (tasks, RecentTasks(query=62)(bars()), RecentTasks()(bars(1201)), RecentTasks()(bars(seed=1)))
    }
    assert len(places) == 12
    assert Kept(LEARNER, "another name", tmp_path).place(*tasks) in places
    assert Kept(LEARNER, "mine", tmp_path).with_seed(1).place(*tasks) in places


def test_models_of_other_code_are_counted(tmp_path, tasks):
    kept = Kept(LEARNER, "mine", tmp_path)
    kept.fit(*tasks, progress=False)
    path = kept.place(*tasks) / "trained.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": "older"}))
    assert models.kept(tmp_path) == (1, 1)


def test_cuts_of_several_universes_are_those_of_each(tasks):
    (one, *costs), (other, *_) = cuts(Across((Universe(tasks[0], "10bp"), Universe(tasks[1]))))
    assert (one, other) == (cuts(tasks[0]), cuts(tasks[1]))
    assert costs == ["10bp", None]


def test_settings_are_described_in_plain_json():
    found = described(VolatilityTarget(Momentum(126), 0.2))
    assert found["target"] == 0.2
    assert found["strategy"] == {
        "class": "strategies.rules.simple.Momentum", "name": "momentum 126", "warmup": 126, "window": 126
    }  # fmt: skip
    assert json.loads(json.dumps(described(LEARNER)))["training"]["steps"] == 2
    assert described(float("inf")) == "inf"
    assert described(np.float64(0.5)) == 0.5
    assert described([np.int64(3), (1, None, True)]) == [3, [1, None, True]]


def test_descriptions_tell_settings_apart():
    same = {fingerprint(EqualWeight()), fingerprint(EqualWeight())}
    assert len(same) == 1
    assert len({fingerprint(Momentum(n)) for n in (21, 63)}) == 2
    assert len({fingerprint(np.arange(n)) for n in (2, 3)}) == 2


def test_what_has_no_settings_is_refused():
    with pytest.raises(TypeError, match="no settings to describe"):
        described(lambda: 0)


def test_anothers_past_is_all_but_the_last_bar():
    from benchmarks.real_market.variants import Exchanged

    class Echo(torch.nn.Module):
        settings, shrink = None, torch.tensor(1.0)

        def forward(self, features, base, last=None):
            return features

    features = torch.arange(2 * 3 * 4 * 1, dtype=torch.float64).reshape(2, 3, 4, 1)
    found = Exchanged(Echo())(features, features[..., 0])
    assert torch.equal(found[:, -1], features[:, -1])
    assert torch.equal(found[:, :-1, 1:], features[:, :-1, :-1])
    assert torch.equal(found[:, :-1, 0], features[:, :-1, -1])
