import pandas as pd
import pytest
import samples

from backtests.engine.task_cuts import RegimeTasks, WindowTasks, validation_start
from markets import HiddenMarkovRegimes, InputError, TaskSet


@pytest.fixture(scope="module")
def known():
    return samples.regime_bars(900, 2, seed=3)


def test_windows_are_those_of_task_sets(known):
    training, validation = WindowTasks(40, 20, 60, validation="1Y", purge=4)(known)
    start = known.index[known.index > known.index[-1] - pd.DateOffset(years=1)][0]
    expected = TaskSet.from_windows(known, support=40, query=20, warmup=60).split(start, purge=4, embargo=0)
    for ours, theirs in zip((training, validation), expected, strict=True):
        assert [t.times for t in ours] == [t.times for t in theirs]
    assert training[-1].times[2] < start <= validation[0].times[0]


def test_regimes_are_fitted_before_validation(known):
    detector = HiddenMarkovRegimes(2, restarts=2)
    training, validation = RegimeTasks(detector, warmup=60, validation=0.4)(known)
    since = validation_start(known, 0.4)
    fitted = HiddenMarkovRegimes(2, restarts=2).fit(known[:540])
    expected = TaskSet.from_regimes(known, fitted, warmup=60).split(since, purge=5, embargo=0)
    for ours, theirs in zip((training, validation), expected, strict=True):
        assert [(t.times, t.regime) for t in ours] == [(t.times, t.regime) for t in theirs]
    assert not hasattr(detector, "mean")  # the detector that was given stays as it was


def test_validation_is_a_share_or_a_time(known):
    assert validation_start(known, 0.25) == known.index[675]
    year_ends = samples.regime_bars(900, 2, seed=3)[:"2003"]
    assert validation_start(year_ends, "2Y") == year_ends.index[year_ends.index.searchsorted("2002-01-01")]
    for wrong in (0.0, 1.0, -1, 2):
        with pytest.raises(InputError, match=r"validation is .*; it must be a share between 0 and 1, or a time"):
            validation_start(known, wrong)
    with pytest.raises(InputError, match="validation on the last 9Y leaves no bars to train on"):
        validation_start(known, "9Y")
