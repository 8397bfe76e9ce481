import errno
import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import metalearner.learners.base
from backtests import walk_forward
from markets import Bars, InputError, TaskSet
from metalearner import (
    LEARNERS,
    MAML,
    RL2,
    Ensemble,
    FineTune,
    Inner,
    Latent,
    Pathwise,
    Reptile,
    RollingRetrain,
    Scratch,
    Training,
    load_meta,
)
from metalearner.learners.inner_loop import ByGradient
from strategies import PolicySettings


def test_save_and_load(meta, bars, tmp_path):
    again = load_meta(meta.save(tmp_path / "m"))
    assert (type(again), again.name, again.objective) == (type(meta), meta.name, meta.objective)
    np.testing.assert_array_equal(again.adapt(bars).plan(bars).aim, meta.adapt(bars).plan(bars).aim)


def test_a_folder_without_a_model_is_refused(tmp_path, meta):
    with pytest.raises(InputError, match="no trained model there"):
        load_meta(tmp_path / "none")
    folder = meta.save(tmp_path / "m")
    config = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**config, "learner": "oracle"}))
    with pytest.raises(InputError, match="learner 'oracle' is not known"):
        load_meta(folder)


def test_shrunk_changes_the_tilt_alone(meta, bars):
    none = meta.shrunk(0.0, "none")
    assert (none.name, meta.name) == ("none", "RL2")
    whole = meta.shrunk(1.0, "whole")  # what validation chose for `meta` itself may be 0
    assert np.abs(none.adapt(bars).plan(bars).aim - whole.adapt(bars).plan(bars).aim).max() > 0


def test_fine_tuning_moves_the_weights_by_what_it_saw(tasks, bars):
    training = Training(steps=6, evaluate_every=3, evidence=-1e9)
    meta = FineTune(training=training).fit(*tasks, progress=False)
    before = meta.unadapted().plan(bars).aim
    early, late = meta.adapt(bars[:700]), meta.adapt(bars[:1200])
    assert np.abs(early.plan(bars).aim - before).max() > 0
    assert np.abs(early.plan(bars).aim - late.plan(bars).aim).max() > 0
    np.testing.assert_array_equal(meta.unadapted().plan(bars).aim, before)  # adapting does not change the original
    again = meta.adapt(bars[:700])
    np.testing.assert_array_equal(again.plan(bars).aim, early.plan(bars).aim)


def test_regression_a_tilt_of_zero_says_which_evidence_it_lacked(tasks, tmp_path):
    training = Training(steps=2, evaluate_every=2, evidence=1e9)
    meta = FineTune(inner=Inner(steps=1), training=training, step_sizes=()).fit(*tasks, progress=False)
    later = len(tasks[1]) // 2
    test = meta.tilt_test
    assert (test.share, test.threshold, test.tasks) == (0.0, 1e9, later)
    assert meta.remark == (
        f"pre-train + fine-tune holds its base (inverse volatility): on the later half of validation ({later} tasks) the gain of "
        f"its tilt has a t-statistic of {test.statistic:.2f}, and more than inf is wanted, as rare by chance as 1e+09 with many "
        "tasks (--evidence, Training.evidence)."
    )
    assert load_meta(meta.save(tmp_path / "m")).tilt_test == test
    assert "the factor on its tilt is 0" in meta.shrunk(0.0, "still").remark
    assert meta.shrunk(1.0, "whole").remark == ""


def test_the_tilt_of_fine_tuning_is_judged_after_its_steps(tasks, monkeypatch):
    """The tilt was tested before the steps, so useless initial weights were dropped even if the steps improved them."""
    judged = []

    def select_shrinkage(policy, algorithm, evidence, progress):
        judged.append((algorithm, algorithm.scores(np.random.default_rng(0)).numpy()))

    monkeypatch.setattr(metalearner.learners.base, "select_shrinkage", select_shrinkage)
    learner = FineTune(inner=Inner(steps=2), training=Training(steps=3, evaluate_every=3), step_sizes=(0.1, 1.0))
    meta = learner.fit(*tasks, progress=False)
    (algorithm, scores), later = judged[0], TaskSet(tasks[1].tasks[(len(tasks[1]) + 1) // 2 :])
    assert algorithm.inner == meta.inner  # the step size was selected before, on the earlier tasks
    assert len(scores) == len(later)
    before = (
        learner.algorithm(meta.policy, learner.sampler(meta.policy, later))
        .scores(np.random.default_rng(0))
        .detach()
        .numpy()
    )
    assert np.abs(scores - before).max() > 0


def test_adapting_reads_nothing_later(tasks, bars):
    """Adapting gives the same result whatever bars follow in the full data set."""
    training = Training(steps=3, evaluate_every=3, evidence=-1e9)
    meta = FineTune(training=training).fit(*tasks, progress=False)
    whole, cut = meta.adapt(bars[:700]), meta.adapt(bars[:700].without_past())
    np.testing.assert_array_equal(whole.plan(bars).aim, cut.plan(bars).aim)
    with pytest.raises(InputError, match="bars, but"):
        meta.adapt(bars[:300])


def test_seen_until_is_the_last_bar_used(meta, tasks, bars, tmp_path):
    last = max(t.times[2] for t in tasks[1])
    assert meta.seen_until == last
    assert load_meta(meta.save(tmp_path / "m")).seen_until == last
    assert meta.adapt(bars).seen_until == last


def test_too_few_bars_to_adapt_on(meta, bars):
    with pytest.raises(InputError, match="has 260 bars, but 273 are needed"):
        meta.adapt(bars[:260])


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_every_learner_adapts_is_saved_and_is_itself_again(tasks, bars, tmp_path, name):
    training = Training(steps=2, batch=4, evaluate_every=2, evidence=-1e9)
    learner = LEARNERS[name](training=training)
    if hasattr(learner, "inner"):
        learner = replace(learner, inner=replace(learner.inner, steps=3))
    if hasattr(learner, "fewest"):
        learner = replace(learner, fewest=2, gate_steps=2)
    meta = learner.fit(*tasks, progress=False)
    adapted = meta.adapt(bars[:1400])
    plan = adapted.plan(bars[1400:])
    assert plan.aim.shape == bars[1400:].shape
    again = load_meta(meta.save(tmp_path / "m"))
    assert (type(again), again.objective, again.fingerprint) == (type(meta), meta.objective, meta.fingerprint)
    np.testing.assert_array_equal(again.adapt(bars[:1400]).plan(bars[1400:]).aim, plan.aim)
    # the unadapted strategy has the same weights, whatever was adapted in between
    np.testing.assert_array_equal(again.unadapted().plan(bars[1400:]).aim, meta.unadapted().plan(bars[1400:]).aim)


def test_regression_steps_and_memories_do_not_mix(tasks):
    """A policy with a memory would be trained with it but deployed without it."""
    for kind in (MAML, FineTune, Scratch):
        with pytest.raises(InputError, match="the policy's memory is 'gru'"):
            kind(policy=PolicySettings()).fit(*tasks, progress=False)
    with pytest.raises(InputError, match="set the inner optimizer to sgd"):
        MAML(order=2, inner=Inner(optimizer="adam"))


def test_regression_a_memory_without_context_is_not_deployed(tasks, bars):
    training = Training(steps=1, batch=4, evaluate_every=1, evidence=None)
    meta = RL2(context=1, training=training).fit(*tasks, progress=False)
    with pytest.raises(InputError, match="would forget every bar"):
        meta.adapt(bars)
    assert RL2(context=1, deployed=30, training=training).fit(*tasks, progress=False).adapt(bars).context == 30


def test_regression_support_zero_uses_all_bars(tasks, bars):
    training = Training(steps=1, batch=4, evaluate_every=1, evidence=None)
    inner = Inner(steps=2, step_size=1.0, support=0)
    meta = FineTune(inner=inner, step_sizes=(), training=training).fit(*tasks, progress=False)
    assert meta.adapt(bars[:700]).fingerprint != meta.unadapted().fingerprint


def test_regression_scratch_must_earn_its_tilt_too(tasks):
    training = Training(evidence=1e9)
    meta = Scratch(training=training, inner=Inner(steps=2, optimizer="adam")).fit(*tasks, progress=False)
    assert float(meta.policy.shrink) == 0.0


def test_a_loaded_history_is_what_was_saved(meta, tmp_path):
    again = load_meta(meta.save(tmp_path / "m"))
    assert again.history["step"].tolist() == meta.history["step"].tolist()


def test_too_few_validation_tasks_are_said_before_the_training(tasks):
    """With a single task to test the tilt, the base was always held, without a warning."""
    few = TaskSet(tasks[1].tasks[:3])
    with pytest.warns(UserWarning, match="3 validation tasks cannot support a tilt"):
        RL2(context=20, training=Training(steps=1)).fit(tasks[0], few, progress=False)
    RL2(context=20, training=Training(steps=1, evidence=None)).fit(tasks[0], few, progress=False)


def test_the_global_generator_is_left_alone_by_learners_that_draw_more_than_a_policy(tasks):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Latent(context=20, training=Training(steps=1)).fit(*tasks, progress=False)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: RL2(context=0), "context is 0"),
        (lambda: RL2(deployed=-1), "deployed is -1"),
        (lambda: Latent(deployed=-1), "deployed is -1"),
        (lambda: MAML(objective="sharpe"), "objective is 'sharpe'"),
        (lambda: Reptile(inner=Inner(optimizer="adam")), "needs at least one plain gradient step"),
    ],
)
def test_invalid_learner_settings_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_regression_a_fingerprint_tells_how_it_adapts(tasks):
    """The registry uses the fingerprint to find the backtest of a model."""
    learner = MAML(inner=Inner(steps=1), training=Training(steps=2, evaluate_every=2, evidence=None))
    meta = learner.fit(*tasks, progress=False)
    one = meta.fingerprint
    meta.inner = replace(meta.inner, steps=5)
    assert meta.fingerprint != one
    meta.step_sizes = {"body.last.weight": torch.ones(5, 2, 8)}
    two = meta.fingerprint
    meta.step_sizes = {"body.last.weight": 2 * torch.ones(5, 2, 8)}
    assert len({one, two, meta.fingerprint}) == 3


def test_rolling_retraining_is_weighed_on_the_window_that_it_retrains_on(tasks, bars):
    learner = RollingRetrain(inner=Inner(steps=1, support=200, optimizer="adam"))
    policy = learner.objective.policy(learner.policy, tasks[1])
    sampler = learner.sampler(policy, tasks[1])
    support = sampler.collect(policy, {}, sampler.all_tasks(), "support")
    assert (support.counted.sum(1) == 200).all()
    query = sampler.collect(policy, {}, sampler.all_tasks(), "query")
    assert query.counted.sum(1).tolist() == [t.stop - t.cut for t in tasks[1]]
    with pytest.raises(InputError, match="are needed"):  # before training, not after
        RollingRetrain(inner=Inner(support=5000)).fit(*tasks, progress=False)


def test_regression_an_incomplete_model_is_not_taken_for_a_finished_one(tasks, tmp_path, monkeypatch):
    """A process killed between writing meta.json and the step sizes left a model that looked finished but was unreadable."""
    meta = MAML(training=Training(steps=1, evidence=None), learn_step_sizes=True).fit(*tasks, progress=False)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("metalearner.learners.inner_loop.write_tensors", killed)
        with pytest.raises(KeyboardInterrupt):
            meta.save(tmp_path / "m")
    assert not (tmp_path / "m" / "meta.json").exists()
    folder = meta.save(tmp_path / "m")
    assert load_meta(folder).fingerprint == meta.fingerprint
    written = {path.stat().st_mode for path in folder.iterdir()}
    assert len(written) == 1  # all files have the same permissions


def test_models_of_which_a_file_is_lost(tasks, tmp_path):
    learner = MAML(training=Training(steps=1, evidence=None), learn_step_sizes=True)
    folder = learner.fit(*tasks, progress=False).save(tmp_path / "m")
    (folder / "step_sizes.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match="a file cannot be read"):
        load_meta(folder)
    (folder / "step_sizes.safetensors").unlink()
    with pytest.raises(InputError, match="step_sizes"):
        load_meta(folder)
    (folder / "meta.json").unlink()
    with pytest.raises(InputError, match="but an adapted strategy"):
        load_meta(folder)


def test_regression_a_utility_of_ones_own_is_saved_and_loaded(tasks, tmp_path, monkeypatch):
    """It was saved, and then taken for no trained model at all."""
    from metalearner.objectives.utilities import LogWealth, Utility

    monkeypatch.setattr(Utility, "kinds", dict(Utility.kinds))

    class HalfWealth(LogWealth):
        def __call__(self, growth, counted, unit, weights=None):
            return 0.5 * super().__call__(growth, counted, unit, weights)

    learner = FineTune(objective=Pathwise(utility=HalfWealth()), training=Training(steps=1, evaluate_every=1))
    saved = learner.fit(*tasks, progress=False).save(tmp_path / "model")
    assert isinstance(load_meta(saved).objective.utility, HalfWealth)
    del Utility.kinds["HalfWealth"]
    with pytest.raises(InputError, match=r"utility 'HalfWealth' is not known .*import the module that defines it"):
        load_meta(saved)


def test_regression_a_setting_of_another_version_is_not_ignored(meta, tmp_path):
    folder = meta.save(tmp_path / "model")
    config = json.loads((folder / "meta.json").read_text())
    config["objective"]["risk"] = 2.0
    (folder / "meta.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="unexpected keyword argument 'risk'"):
        load_meta(folder)


def test_a_meta_policy_needs_a_kind():
    with pytest.raises(TypeError, match=r'class Mine\(MetaPolicy, kind="mine"\)'):
        type("Mine", (metalearner.learners.base.MetaPolicy,), {})


def test_regression_a_learner_without_a_kind_of_its_own_does_not_replace_its_parent():
    """It took its parent's name among the saved models, and read what the parent had saved."""
    kinds = metalearner.learners.base.MetaPolicy.kinds
    before = dict(kinds)
    for kind in ({}, {"kind": "gradient"}):
        with pytest.raises(TypeError, match=r"needs a kind|two kinds of MetaPolicy called gradient"):
            type("Mine", (ByGradient,), {}, **kind)
    assert kinds == before


ONE = Training(steps=1, evaluate_every=1, evidence=None)
STEP = Inner(steps=1, support=60)
BY_GRADIENT = {
    "MAML": MAML(training=ONE, inner=STEP),
    "ANIL": MAML.anil(training=ONE, inner=STEP),
    "CAVIA": MAML.cavia(training=ONE, inner=STEP),
    "Reptile": Reptile(training=ONE, inner=STEP),
    "fine-tune": FineTune(training=ONE, inner=STEP, step_sizes=()),
    "scratch": Scratch(training=ONE, inner=STEP, step_sizes=()),
    "rolling": RollingRetrain(training=ONE, inner=STEP),
    "ensemble": Ensemble(MAML(training=ONE, inner=STEP), members=2),
}


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_regression_bars_that_were_adapted_to_are_in_sample(name, tasks, bars, tmp_path):
    """`seen_until` stayed at the end of meta-training, and a backtest on what was adapted to gave no warning."""
    meta = BY_GRADIENT[name].fit(*tasks, progress=False)
    adapted, last = meta.adapt(bars[:1450]), bars.index[1449]
    assert meta.seen_until < last
    assert adapted.seen_until == last
    assert type(adapted).load(adapted.save(tmp_path / "adapted")).seen_until == last
    assert meta.unadapted().seen_until == meta.seen_until
    with pytest.warns(UserWarning, match=f"has learnt from bars up to {last}"):
        walk_forward([adapted], bars[1400:], progress=False)
    assert meta.adapt(bars[: meta.seen_until]).seen_until == meta.seen_until  # training saw these bars too


@pytest.mark.parametrize("name", ["MAML", "ensemble", "RL2"])
def test_regression_a_model_is_not_adapted_to_bars_of_another_length(name, meta, tasks, bars, tmp_path):
    """A model of daily bars was adapted to hourly ones, and to times with a zone, without a word."""
    meta = meta if name == "RL2" else BY_GRADIENT[name].fit(*tasks, progress=False)
    hourly = Bars.make(pd.date_range("2026-01-01", periods=len(bars), freq="h"), bars.symbols, bars.close, name="fx")
    aware = Bars.make(bars.index.tz_localize("UTC"), bars.symbols, bars.close, name="zoned")
    folder = meta.save(tmp_path / "m")
    for model in (meta, load_meta(folder)):
        model.adapt(bars)
        with pytest.raises(InputError, match=r"bars of fx are 1 hour apart; .* was trained on bars 1 day apart: train"):
            model.adapt(hourly)
        with pytest.raises(
            InputError, match=r"times of zoned are in a time zone, and those .* trained on have no time zone"
        ):
            model.adapt(aware)
    for path in folder.rglob("meta.json"):  # of earlier versions, which do not say
        config = json.loads(path.read_text())
        config.pop("trained_on", None)
        path.write_text(json.dumps(config))
    load_meta(folder).adapt(hourly)


def test_a_memory_learns_nothing_from_what_it_reads(meta, bars):
    assert meta.adapt(bars).seen_until == meta.seen_until


def test_regression_a_full_disk_leaves_the_old_model(meta, tasks, tmp_path, monkeypatch):
    """The old meta.json stood beside new weights, which loads as neither."""
    folder = meta.save(tmp_path / "model")
    (folder / "regimes.json").write_text("{}")

    def full(path, config):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    other = BY_GRADIENT["MAML"].fit(*tasks, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(metalearner.learners.base, "write_config", full)
        with pytest.raises(InputError, match="No space left on device") as refusal:
            other.save(folder)
    assert "\n" not in str(refusal.value)
    assert load_meta(folder).fingerprint == meta.fingerprint
    assert load_meta(other.save(folder)).fingerprint == other.fingerprint
    assert (folder / "regimes.json").exists()  # what is not the model's stays


def test_training_on_validation_is_training_on_all_tasks(tasks, bars):
    training = Training(steps=3, evaluate_every=3, evidence=None, keep="last")
    learner = RL2(context=20, training=replace(training, on_validation=True))
    whole = TaskSet(tasks[0].tasks + tasks[1].tasks)
    expected = RL2(context=20, training=training).fit(whole, tasks[1], progress=False)
    found = learner.fit(*tasks, progress=False)
    np.testing.assert_array_equal(found.adapt(bars).plan(bars).aim, expected.adapt(bars).plan(bars).aim)
    with pytest.raises(InputError, match="evidence=None with it"):
        Training(on_validation=True)
