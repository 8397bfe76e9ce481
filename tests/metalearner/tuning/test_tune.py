"""Tuning: what is best, what is pruned, what several processes and kills leave, and what no trial may see."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import planned
import pytest
from optuna.trial import TrialState
from planned import SEARCH, Planned, quality

from markets import Bars, InputError, TaskSet
from metalearner import RL2, FineTune, Inner, Training
from metalearner.tuning import OneOf, Range, tune
from metalearner.tuning.journal import AGAIN, Journal, is_lost
from metalearner.tuning.page import history, slices, write_tuning_page
from metalearner.tuning.trial import distributions


@pytest.fixture
def study(tmp_path):
    return tmp_path / "study.log"


def planned_tune(study, trials, pause=0.0, **options):
    return tune(Planned(pause=pause), None, None, trials=trials, study=study, search=SEARCH, progress=False, **options)


def test_the_best_is_that_of_the_curve_and_the_first_is_the_learner_as_it_is(study):
    found = planned_tune(study, 20)
    assert found.table.loc[0, "training.learning_rate"] == Planned().training.learning_rate
    complete = found.table[found.table["state"] == "complete"]
    assert found.score == complete["score"].max() == quality(found.settings["training.learning_rate"])
    assert found.learner.training.learning_rate == found.settings["training.learning_rate"]
    assert found.learner == replace(Planned(), training=found.learner.training)
    assert found.score > quality(2e-3)
    assert len(found.table) == 20
    assert str(found.best) in found.finding
    assert "the learner as it is (trial 0) has -0.699" in found.finding


def test_a_trial_that_is_behind_the_median_is_pruned_at_a_quarter_of_the_steps(study):
    found = planned_tune(study, 20)
    pruned = found.table[found.table["state"] == "pruned"]
    assert len(pruned)
    assert (pruned["steps"] >= 2).all()
    ahead = found.table[(found.table["state"] == "complete") & (found.table.index < 5)]["score"].median()
    assert (pruned["score"] < ahead).all(), "what was behind the first five then"
    assert pruned.index.min() >= 5
    assert found.trials == (found.table["state"].isin(["complete", "pruned"])).sum()


def test_trials_that_fail_say_why_and_count(study):
    search = {"training.learning_rate": OneOf((1e-4, 1.0, 0.002))}
    found = tune(Planned(), None, None, trials=12, study=study, search=search, progress=False)
    failed = found.table[found.table["state"] == "failed"]
    assert set(failed["reason"]) <= {"too slow", "step 1: the gradient is not finite"}
    assert len(found.table) == 12
    assert found.settings == {"training.learning_rate": 0.002}
    with pytest.raises(InputError, match="no trial has a score yet; the last one said: too slow"):
        tune(
            Planned(training=Training(steps=8, learning_rate=1e-4)), None, None, trials=1, study=f"{study}.2",
            search={"training.learning_rate": Range(1e-4, 1.5e-4)}, progress=False,
        )  # fmt: skip


def test_a_study_that_is_gone_on_with_ends_as_one_that_was_not_interrupted(study, tmp_path):
    at_once = planned_tune(tmp_path / "other.log", 12).table
    for trials in (5, 6, 12):
        found = planned_tune(study, trials)
    assert found.table.equals(at_once)
    again = planned_tune(study, 12)
    assert again.table.equals(at_once), "a study that has all its trials is only read"


def test_ctrl_c_loses_the_running_trial_alone_and_it_is_tried_again(study, monkeypatch):
    ended = []

    def interrupt(table):
        ended.append(len(table))
        if len(table) == 3:
            monkeypatch.setattr(Planned, "validate", interrupted)

    def interrupted(self, *args, **options):
        raise KeyboardInterrupt

    before = Planned.validate
    with pytest.raises(KeyboardInterrupt):
        planned_tune(study, 8, ended=interrupt)
    assert ended == [1, 2, 3]
    monkeypatch.setattr(Planned, "validate", before)
    found = planned_tune(study, 8)
    lost = found.table[found.table["state"] == "lost"]
    assert list(lost.index) == [3]
    assert len(found.table) == 9
    again = [t for t in Journal(study).study.get_trials() if t.user_attrs.get(AGAIN) == 3]
    assert [t.params for t in again] == [{"training.learning_rate": lost["training.learning_rate"].item()}]


def test_a_lost_trial_is_tried_again_once(study):
    planned_tune(study, 2)
    journal = Journal(study)
    space = distributions(Planned(), SEARCH)
    with journal.lock:
        trial = journal.study.ask(space)  # as if its process had died at once: nobody holds its lock
    for _ in range(2):
        with journal.lock:
            journal.bury()
            journal.study.ask(space)
    states = [(t.state, is_lost(t), t.user_attrs.get(AGAIN)) for t in Journal(study).study.get_trials()]
    assert states[2:] == [
        (TrialState.FAIL, True, None),
        (TrialState.FAIL, True, trial.number),
        (TrialState.RUNNING, False, None),
    ]


def test_a_trial_whose_process_lives_is_left_alone(study):
    planned_tune(study, 1)
    journal = Journal(study)
    with journal.lock:
        journal.study.enqueue_trial({"training.learning_rate": 0.01})  # not a random one, which could be refused
        trial = journal.study.ask(distributions(Planned(), SEARCH))
        alive = journal.running(trial.number)
        alive.__enter__()
    with journal.lock:
        journal.bury()
    assert journal.study.get_trials()[1].state == TrialState.RUNNING
    assert len(planned_tune(study, 2).table) == 1, "it is one of the two"
    alive.__exit__(None, None, None)
    assert planned_tune(study, 2).table["state"].tolist() == ["complete", "complete", "lost"]


@pytest.mark.process
def test_two_processes_share_a_study_and_a_kill_loses_one_trial_at_most(study):
    """Issue 15: 20 trials, one of two processes killed in the middle."""
    command = [sys.executable, planned.__file__, str(study), "20", "0.1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        while not study.exists() or study.read_text().count('"op_code":6') < 8:  # trials that began or ended
            assert all(process.poll() is None for process in both)
            time.sleep(0.05)
        both[0].send_signal(signal.SIGKILL)
        output, _ = both[1].communicate(timeout=120)
    finally:
        for process in both:
            process.kill()
    assert both[1].returncode == 0
    found = planned_tune(study, 20, pause=0.1)
    states = found.table["state"].value_counts()
    assert states.get("lost", 0) <= 1
    assert len(found.table) - states.get("lost", 0) == 20, "all others are there, and none twice"
    assert int(output.split()[0]) == both[1].pid
    workers = {line.split('"worker_id":"')[1].split('"')[0] for line in study.read_text().splitlines()}
    assert len(workers) > 2, "both took part"
    assert not list(study.parent.glob("*.running"))


@pytest.mark.slow
@pytest.mark.process
def test_jobs_are_processes(study):
    found = planned_tune(study, 6, jobs=2)
    assert len(found.table) == 6
    workers = {line.split('"worker_id":"')[1].split('"')[0] for line in study.read_text().splitlines()}
    assert len(workers) > 2


def test_a_study_of_something_else_is_refused(study):
    planned_tune(study, 2)
    for learner, search, words in (
        (Planned(context=30), SEARCH, "a study with context 60, and here it is 30"),
        (
            Planned(),
            {"training.learning_rate": Range(1e-4, 0.1, log=True)},
            "a study with a search of training.learning_rate in",
        ),
        (RL2(training=Training(steps=8)), SEARCH, "a study with learner Planned, and here it is RL2"),
    ):
        with pytest.raises(InputError, match=f"study.log: {words}"):
            tune(learner, None, None, trials=2, study=study, search=search, progress=False)
    assert len(planned_tune(study, 2).table) == 2


def poisoned(bars: Bars, after: int) -> Bars:
    """The same bars up to a row, and absurd ones after it."""
    close = bars.close.copy()
    close[after:] *= np.exp(np.random.default_rng(0).normal(0, 0.2, close[after:].shape).cumsum(axis=0))
    return Bars.make(bars.index, bars.symbols, close, name=bars.name)


def with_bars(tasks: TaskSet, bars: Bars) -> TaskSet:
    return replace(tasks, tasks=tuple(replace(task, bars=bars) for task in tasks))


def test_trials_see_nothing_of_what_tests_the_result(bars, tasks):
    """The later half of validation, which tests the tilt, and what comes after: absurd prices there change no figure."""
    training, validation = tasks
    chosen = (len(validation) + 1) // 2
    seen = max(task.stop for task in [*training, *validation.tasks[:chosen]])
    other = poisoned(validation.bars.with_past(), seen)
    learner = RL2(context=20, training=Training(steps=4, batch=4, evaluate_every=2))
    curves = []

    def log(metrics, step):
        curves[-1].append((step, metrics["validation"]))

    scores = []
    for held in (validation.bars.with_past(), other):
        curves.append([])
        sets = [with_bars(each, held) for each in (training, validation)]
        scores.append(learner.validate(*sets, log=log, progress=False))
    assert scores[0] == scores[1]
    assert curves[0] == curves[1]
    assert scores[0] == learner.fit(training, validation, progress=False).history["validation"].max()


def test_a_learner_without_meta_training_and_one_by_steps_are_scored_after_adapting(tasks):
    training, validation = tasks
    learner = FineTune(
        inner=Inner(steps=2, support=20), training=Training(steps=2, batch=4, evidence=None), step_sizes=(0.1,)
    )
    meta = learner.fit(training, validation, progress=False)
    assert learner.validate(training, validation, progress=False) == pytest.approx(
        meta.evaluate(validation).mean(), rel=1e-6
    )


def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(tmp_path):
    for text in ("date,close\n2001-01-01,3", "date,close\n2001-01-01,3\n", '{"a": 1}\n'):
        file = tmp_path / "my.csv"
        file.write_text(text)
        with pytest.raises(InputError, match=r"my\.csv: another kind of file, and no study"):
            planned_tune(file, 1)
        assert file.read_text() == text
    with pytest.raises(InputError, match="cannot be kept there"):
        planned_tune(file / "study.log", 1)
    with pytest.raises(InputError, match="trials is 0"):
        planned_tune(tmp_path / "study.log", 0)


def test_half_a_line_at_the_end_is_cut(study):
    before = planned_tune(study, 3).table
    with study.open("a") as file:
        file.write('{"op_code":4,"worker')
    assert planned_tune(study, 3).table.equals(before)
    assert len(planned_tune(study, 4).table) == 4


def test_its_page_has_every_trial_and_setting(study, tmp_path):
    search = SEARCH | {"context": Range(20, 100)}
    found = tune(Planned(), None, None, trials=12, study=study, search=search, progress=False)
    page = write_tuning_page(found, tmp_path / "tune.html").read_text()
    assert page.count("plotly-graph-div") == 2
    assert found.finding.split(":")[0] in page
    assert page.count("<tr>") == 1 + 12
    points = [trace for trace in slices(found).data if trace.xaxis == "x2"]
    shown = sorted(x for trace in points[:2] for x in trace.x)
    assert shown == sorted(found.table[found.table["state"] != "failed"]["context"])
    assert points[2].x == (found.settings["context"],)
    best = history(found).data[0]
    assert best.y[-1] == found.score
    assert (np.diff(best.y) >= 0).all()
