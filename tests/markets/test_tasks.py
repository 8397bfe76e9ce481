import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import HiddenMarkovRegimes, InputError, RegimePath, TaskSet
from markets.tasks import stretches


@pytest.fixture(scope="module")
def detector(bars):
    return HiddenMarkovRegimes(2, restarts=3).fit(bars[:900])


def test_a_task_lies_in_one_stretch_and_its_parts_meet(bars, detector):
    found = TaskSet.from_regimes(bars, detector)
    names = [detector.names[k] for k in detector.filter(bars).labels]
    for task in found:
        assert task.start < task.cut < task.stop
        here = names[task.start : task.stop]
        assert here.count(task.regime) / len(here) > 0.5
        assert len(task.support) == task.cut - task.start
        assert task.query.index[0] > task.support.index[-1]
        assert len(task.support.with_past()) == task.cut  # nothing later is held


def test_no_bar_is_a_query_twice(bars, detector):
    seen = [row for task in TaskSet.from_regimes(bars, detector) for row in range(task.cut, task.stop)]
    assert len(seen) == len(set(seen))


@given(st.integers(400, 1300), st.integers(0, 30))
def test_no_training_bar_reaches_the_purge(bars, detector, edge, purge):
    everything = TaskSet.from_regimes(bars, detector)
    try:
        training, validation = everything.split(bars.index[edge], purge=purge)
    except InputError:
        return
    assert max(t.stop for t in training) <= edge - purge
    assert min(t.start for t in validation) >= edge


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 6))
def test_stretches_cover_everything_once(labels, shortest):
    path = RegimePath(np.arange(len(labels)), np.eye(3)[labels], ("a", "b", "c"))
    runs = stretches(path, shortest)
    assert runs[0][0] == 0
    assert runs[-1][1] == len(labels)
    assert all(a[1] == b[0] and a[2] != b[2] for a, b in itertools.pairwise(runs))
    assert all(last - first >= shortest for first, last, _ in runs[1:])


def test_a_split_without_a_side_says_so(bars, detector):
    everything = TaskSet.from_regimes(bars, detector)
    with pytest.raises(InputError, match="no training task is left"):
        everything.split("2001-02")
    with pytest.raises(InputError, match="no regime lasts"):
        TaskSet.from_regimes(bars[:250], detector)
