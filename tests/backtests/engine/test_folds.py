from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import samples

from backtests.engine.folds import fold_starts, period, rows_before, walk_forward_splits
from markets import InputError


@pytest.fixture(scope="module")
def span():
    return samples.regime_bars(400, 2, seed=0)[150:]


@pytest.mark.parametrize(("test", "train", "purge"), [(30, 150, 0), (30, 90, 3), (70, 40, 5), (250, 20, 0)])
@pytest.mark.parametrize("rolling", [True, False])
def test_folds_in_bars_are_skfolios(span, test, train, purge, rolling):
    from skfolio.model_selection import WalkForward

    theirs = WalkForward(
        test_size=test, train_size=train if rolling else span.past - purge, expand_train=not rolling, purged_size=purge,
        reduce_test=True,
    )  # fmt: skip
    held = np.zeros((span.past + len(span), 1))
    drop = span.past - purge - train if rolling else 0  # a rolling one of skfolio's begins with the first bar
    expected = [
        ((tr[0] + drop, tr[-1] + 1 + drop), (te[0] + drop, te[-1] + 1 + drop)) for tr, te in theirs.split(held[drop:])
    ]
    ours = walk_forward_splits(span, test, train, rolling, purge)
    assert [(*s.train, *s.tests) for s in ours] == expected


def test_folds_cover_the_span_once_and_training_ends_before_them(span):
    splits = walk_forward_splits(span, "2M", "3M", True, 4)
    edges = [split.tests[0] for split in splits]
    assert edges[0][0] == span.past
    assert edges[-1][1] == span.past + len(span)
    assert all(a[1] == b[0] for a, b in pairwise(edges))
    assert all(split.train[0][1] == split.tests[0][0] - 4 for split in splits)


def test_calendar_folds_begin_with_the_calendar():
    index = pd.bdate_range("2003-03-14", "2006-06-30")
    starts = index[fold_starts(index, "1Y")]
    assert [f"{s:%Y-%m-%d}" for s in starts] == ["2003-03-14", "2004-01-01", "2005-01-03", "2006-01-02"]
    assert [f"{s:%Y-%m-%d}" for s in index[fold_starts(index, "2Y")]] == ["2003-03-14", "2005-01-03"]
    assert index[fold_starts(index, "M")][1] == pd.Timestamp("2003-04-01")
    assert all(s.weekday() == 0 for s in index[fold_starts(index, "1W")][1:])
    assert fold_starts(index, None) == [0]
    aware = index.tz_localize("Europe/Paris")
    assert fold_starts(aware, "1Y") == fold_starts(index, "1Y")


def test_training_time_counts_back_from_the_last_bar_known():
    index = pd.bdate_range("2000-01-03", "2004-12-31")
    last = index.searchsorted("2003-01-01")
    assert index[rows_before(index, last, "2Y")] == pd.Timestamp("2001-01-01")
    assert rows_before(index, last, "3Y") == 0
    assert rows_before(index, last, "4Y") is None
    assert rows_before(index, last, 10) == last - 10


def test_what_cannot_be_read(span):
    for wrong in ("yearly", "0Y", "1.5Y", ""):
        with pytest.raises(InputError, match=r"train is .*; write a number of bars, or a time such as 1Y"):
            period(wrong, "train")
    with pytest.raises(InputError, match="retrain_every is 0"):
        fold_starts(span.index, 0)
    with pytest.raises(InputError, match=r"150 bars before .* are too few to train on 200"):
        walk_forward_splits(span, 50, 200, False, 0)
    with pytest.raises(InputError, match='scheme="rolling" needs the length'):
        walk_forward_splits(span, 50, None, True, 0)
    with pytest.raises(InputError, match="purge is -1"):
        walk_forward_splits(span, 50, None, False, -1)
    with pytest.raises(InputError, match="0 bars before"):
        walk_forward_splits(span.without_past(), 50, None, False, 0)
