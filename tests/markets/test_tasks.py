import itertools

import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import assume, given
from hypothesis import strategies as st

from markets import Bars, Features, HiddenMarkovRegimes, InputError, RegimePath, TaskSet
from markets.features import Return
from markets.tasks import stretches


@pytest.fixture(scope="module")
def detector(bars):
    return HiddenMarkovRegimes(2, restarts=3).fit(bars[:900])


def test_a_task_is_within_one_stretch_and_its_query_follows_its_support(bars, detector):
    found = TaskSet.from_regimes(bars, detector)
    names = [detector.names[k] for k in detector.filter(bars).labels]
    for task in found:
        assert task.start < task.cut < task.stop
        here = names[task.start : task.stop]
        assert here.count(task.regime) / len(here) > 0.5
        assert len(task.support) == task.cut - task.start
        assert task.query.index[0] > task.support.index[-1]
        assert len(task.support.with_past()) == task.cut  # no later bars are held


def test_no_bar_is_a_query_twice(bars, detector):
    seen = [row for task in TaskSet.from_regimes(bars, detector) for row in range(task.cut, task.stop)]
    assert len(seen) == len(set(seen))


@given(st.integers(400, 1300), st.integers(0, 30))
def test_no_training_bar_reaches_the_purge(bars, detector, edge, purge):
    every_task = TaskSet.from_regimes(bars, detector)
    try:
        training, validation = every_task.split(bars.index[edge], purge=purge)
    except InputError:
        return
    assert max(t.stop for t in training) <= edge - purge
    assert min(t.start for t in validation) >= edge


def rows(tasks):
    """Rows in the support or query of any of these tasks, with their symbols."""
    return {(row, symbol) for t in tasks for row in range(t.start, t.stop) for symbol in t.bars.symbols}


@given(
    st.integers(5, 60), st.integers(5, 60), st.integers(1, 90), st.integers(260, 1200), st.integers(30, 500),
    st.integers(0, 40), st.integers(0, 80), st.booleans(), st.booleans(),
)  # fmt: skip
def test_no_validation_bar_is_in_a_training_task(bars, support, query, step, edge, length, purge, embargo, span, split):
    every_task = TaskSet.from_windows(bars, support=support, query=query, step=step)
    last = min(edge + length, len(bars)) - 1
    times = (bars.index[edge], bars.index[last]) if span else bars.index[edge]
    try:
        training, validation = every_task.split(times, purge=purge, embargo=embargo, symbols=["S1"] if split else None)
    except InputError:
        assume(False)
    judged = {row for row, _ in rows(validation)}
    assert min(judged) >= edge
    assert not span or max(judged) <= last
    stop = last if span else len(bars) - 1
    for row, _ in rows(training):
        assert row < edge - purge or row > stop + embargo
        assert row not in judged
    if split:
        assert training.bars.symbols == ("S0", "S2")
        assert validation.bars.symbols == ("S1",)
        np.testing.assert_array_equal(
            validation[0].query.close[:, 0], bars.close[validation[0].cut : validation[0].stop, 1]
        )
    for task in training:  # an earlier task cannot use the validation span
        assert len(task.query.with_past()) == task.stop


def test_windows_roll(bars):
    found = TaskSet.from_windows(bars[:"2003"], support=30, query=20)
    assert [t.start for t in found][:3] == [253, 273, 293]
    assert all(len(t.support) == 30 and len(t.query) == 20 for t in found)
    assert found[-1].stop <= len(bars[:"2003"])
    queries = [row for t in found for row in range(t.cut, t.stop)]
    assert len(queries) == len(set(queries))
    assert [t.start for t in TaskSet.from_windows(bars[400:], support=30, query=20, step=100)][:2] == [400, 500]
    assert list(found.table().index) == ["window"]


def test_wrong_windows_and_splits_are_named(bars):
    with pytest.raises(InputError, match="hold no window of 30"):
        TaskSet.from_windows(bars[:300], support=30, query=20)
    with pytest.raises(InputError, match="step are 60, 60 and 0"):
        TaskSet.from_windows(bars, step=0)
    every_task = TaskSet.from_windows(bars)
    with pytest.raises(InputError, match="none is left to train"):
        every_task.split("2004", symbols=bars.symbols)
    with pytest.raises(InputError, match="none is left to validate"):
        every_task.split("2004", symbols=[])
    with pytest.raises(InputError, match="no symbol 'XYZ'"):
        every_task.split("2004", symbols=["XYZ"])
    with pytest.raises(InputError, match="neither can be negative"):
        every_task.split("2004", purge=-1)
    with pytest.raises(InputError, match="split at yesterday"):
        every_task.split("yesterday")


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 6))
def test_stretches_cover_everything_once(labels, shortest):
    path = RegimePath(np.arange(len(labels)), np.eye(3)[labels], ("a", "b", "c"))
    runs = stretches(path, shortest)
    assert runs[0][0] == 0
    assert runs[-1][1] == len(labels)
    assert all(a[1] == b[0] and a[2] != b[2] for a, b in itertools.pairwise(runs))
    assert all(last - first >= shortest for first, last, _ in runs[1:])


def test_a_split_with_an_empty_side_is_refused(bars, detector):
    every_task = TaskSet.from_regimes(bars, detector)
    with pytest.raises(InputError, match="no training task is left"):
        every_task.split("2001-02")
    with pytest.raises(InputError, match="no regime lasts"):
        TaskSet.from_regimes(bars[:250], detector)


def test_a_set_of_tasks_prints_on_one_line(tasks):
    """It printed every task with all its bars: several screens."""
    assert repr(tasks[0]).startswith(f"TaskSet({len(tasks[0])} tasks of synthetic, 200")
    assert "\n" not in repr(tasks[0])
    assert repr(TaskSet(())) == "TaskSet(no tasks)"


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_regression_a_split_at_a_timestamp_works_in_any_zone(zone):
    """A Timestamp without a zone was refused on bars that have one."""
    index = pd.bdate_range("2000-01-03", periods=900, tz=zone)
    close = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, (900, 2)), axis=0))
    tasks = TaskSet.from_windows(Bars.make(index, ["A", "B"], close), support=20, query=20, step=20)
    at = pd.Timestamp(index[500].date())
    training, validation = tasks.split(validation=at)
    assert training[-1].times[2] < index[500] <= validation[0].times[0]


def test_regression_tasks_begin_after_the_lookback_of_what_reads_them(bars):
    """They began after 253 bars whatever read them: with a longer lookback, windows held no known feature."""
    features = Features((Return(600),))
    known = np.isfinite(features.compute(bars)).all(axis=-1).any(axis=1)
    windows = TaskSet.from_windows(bars, support=30, query=20, features=features)
    assert windows[0].start == 601
    assert windows.lookback == 600
    regimes = HiddenMarkovRegimes(2, restarts=3).fit(bars[:900])
    for found in (windows, TaskSet.from_regimes(bars, regimes, features=features)):
        assert all(known[task.start : task.stop].all() for task in found)
    assert TaskSet.from_windows(bars)[0].start == Features().lookback + 1
    with pytest.raises(InputError, match="warmup is -1"):
        TaskSet.from_windows(bars, warmup=-1)


def test_rows_on_which_nothing_trades_are_in_no_task(bars):
    more, _ = samples.with_empty_rows(bars, np.random.default_rng(0))
    ours, others = (TaskSet.from_windows(some, warmup=100) for some in (bars, more))
    assert [task.times for task in ours] == [task.times for task in others]
    assert np.isfinite(others.bars.close).all()


def test_warm_up_counts_the_bars_of_a_symbol(bars):
    close = np.full((3000, 3), np.nan)
    close[::2, :2] = bars.close[:, :2]
    close[1::2, 2] = bars.close[:, 2]
    sparse = Bars.make(pd.date_range("2001", periods=3000, freq="12h"), bars.symbols, close)
    assert TaskSet.from_windows(sparse, warmup=100)[0].start == 199


def test_the_embargo_is_the_lookback_of_what_reads_the_tasks(bars):
    features = Features((Return(40, volatility=20),))
    found = TaskSet.from_windows(bars, support=20, query=20, features=features)
    span = bars.index[400], bars.index[500]
    training, _ = found.split(span)
    assert min(t.start for t in training if t.start > 500) >= 501 + 40
    assert training.lookback == 40
