from itertools import combinations
from math import comb

import numpy as np
import pytest
import samples
import walkers

from backtests import walk_forward
from backtests.engine.combinatorial import CombinatorialPurged, median_path
from backtests.engine.jobs import _task_sets
from backtests.engine.task_cuts import WindowTasks
from markets import InputError
from metalearner import KnownAcross
from strategies import EqualWeight

TASKS = WindowTasks(20, 10, 20, validation=0.3, purge=2)


@pytest.fixture(scope="module")
def span():
    return samples.regime_bars(1300, 3, seed=1)[100:]


@pytest.fixture(scope="module")
def result(span):
    scheme = CombinatorialPurged(5, 2, purge=3, embargo=7)
    strategies = [walkers.MeanLearner(scale=2000), EqualWeight()]
    return walk_forward(strategies, span, scheme=scheme, tasks=TASKS, every=40, controls=True, progress=False)


@pytest.mark.parametrize(("n", "k"), [(5, 2), (6, 3), (4, 3)])
def test_every_choice_of_folds_is_tested_and_each_path_has_every_fold_once(span, n, k):
    splits, ids = CombinatorialPurged(n, k, purge=3, embargo=7).splits(span)
    folds = sorted({test for split in splits for test in split.tests})
    assert len(folds) == n
    assert [folds[0][0], folds[-1][1]] == [100, 1300]
    assert [split.tests for split in splits] == list(combinations(folds, k))
    assert ids.max() + 1 == comb(n - 1, k - 1)
    for path in range(ids.max() + 1):
        found = [
            t
            for split, row in zip(splits, ids, strict=True)
            for t, i in zip(split.tests, row, strict=True)
            if i == path
        ]
        assert sorted(found) == folds


def test_training_keeps_away_from_the_tests(span):
    splits, _ = CombinatorialPurged(5, 2, purge=3, embargo=7).splits(span)
    for split in splits:
        for first, last in split.train:
            for start, stop in split.tests:
                assert last <= start - 3 or first >= stop + 3 + 7
        trained = {row for first, last in split.train for row in range(first, last)}
        near = {row for start, stop in split.tests for row in range(start - 3, stop + 10)}
        assert trained | near >= set(range(100, 1300))


def test_tasks_across_universes_which_would_hold_the_tests_are_refused(span):
    split = CombinatorialPurged(5, 2).splits(span)[0][0]
    with pytest.raises(InputError, match="would be cut from the test folds too"):
        _task_sets(KnownAcross(TASKS, ((span, None, None),)), span, split)


def test_tasks_and_what_they_read_lie_within_one_stretch_of_training(span):
    seen = []

    class Looking(walkers.MeanLearner):
        def fit(self, tasks, validation, *, progress):
            seen.append((tasks, validation))
            return super().fit(tasks, validation, progress=progress)

    scheme = CombinatorialPurged(5, 2, purge=3, embargo=7)
    walk_forward([Looking()], span, scheme=scheme, tasks=TASKS, progress=False)
    splits, _ = scheme.splits(span)
    assert len(seen) == len(splits) == 10
    held = span.with_past()
    for split, sets in zip(splits, seen, strict=True):
        reached = set()
        for task in (task for tasks in sets for task in tasks):
            start, cut, last = held.index.get_indexer(task.times)
            inside = [s for s in split.train if s[0] <= start - TASKS.warmup and last < s[1]]
            assert len(inside) == 1
            reached |= set(inside)
            np.testing.assert_array_equal(task.query.close, held.close[cut : last + 1])
        assert reached == set(split.train)  # validation is at the end of each stretch


def test_regression_training_holds_no_bar_of_a_test_fold(span):
    """Tasks held the test folds before them as history, so features with a long memory brought them into training."""
    held, rng = span.with_past(), np.random.default_rng(0)
    split = CombinatorialPurged(5, 2, purge=3, embargo=7).splits(span)[0][2]
    close = held.close.copy()
    for first, last in split.tests:
        close[first:last] *= np.exp(rng.normal(0, 0.3, (last - first, len(held.symbols))))
    changed = held.with_values(close=close).rows(span.past, len(held))
    for one, other in zip(_task_sets(TASKS, span, split), _task_sets(TASKS, changed, split), strict=True):
        trained = np.concatenate([held.index[first:last] for first, last in split.train])
        assert set(one.bars.with_past().index) <= set(trained)
        assert (one.bars.hash, [t.times for t in one]) == (other.bars.hash, [t.times for t in other])


def test_paths_are_whole_accounts_and_the_middle_one_stands_in_the_table(result, span):
    assert [b.name for b in result] == ["mean", "mean, unadapted", "equal weight"]
    assert [len(result.paths[b.name]) for b in result] == [4, 4, 1]
    for name, paths in result.paths.by_name.items():
        assert len({b.equity[-1] for b in paths}) == len(paths)
        for b in paths:
            assert len(b.equity) == len(span)
            assert [b.folds[0].span[0], b.folds[-1].span[1]] == [span.index[0], span.index[-1]]
        sharpe = sorted(b.metrics["Sharpe"] for b in paths)
        assert result[name].metrics["Sharpe"] == sharpe[(len(paths) - 1) // 2]
    assert median_path(result.paths["mean"]) is result["mean"]
    learnt = result["mean"].folds
    assert any(fold.trained_until > fold.span[1] for fold in learnt)  # as the scheme says


def test_the_distribution_and_its_section(result):
    table = result.paths.table("Sharpe")
    values = [b.metrics["Sharpe"] for b in result.paths["mean"]]
    row = table.loc["mean"]
    assert row[["paths", "mean", "worst", "median", "best"]].tolist() == pytest.approx(
        [4, np.mean(values), min(values), np.median(values), max(values)]
    )
    assert row["std"] == pytest.approx(np.std(values, ddof=1))
    assert table.loc["equal weight", "std"] == 0
    section = result.paths.section("CAGR")
    assert section.table.loc["mean", "best"] == max(b.metrics["CAGR"] for b in result.paths["mean"])
    assert "4 paths" in section.finding
    assert "no confidence interval" in section.does_not_show
    figure = section.draw()
    assert [trace.name for trace in figure.data] == ["equal weight", "mean, unadapted", "mean"]
    assert sorted(figure.data[2].x) == sorted(b.metrics["CAGR"] for b in result.paths["mean"])


def test_what_cannot_be_cut(span):
    for scheme, text in (
        (CombinatorialPurged(2, 2), "n_folds"),
        (CombinatorialPurged(5, 5), "n_folds"),
        (CombinatorialPurged(5, 2, purge=-1), "purged_size"),
        (CombinatorialPurged(100, 2, purge=20), "purged_size"),
    ):
        with pytest.raises(InputError, match=f"CombinatorialPurged on 1,200 bars: .*{text}"):
            scheme.splits(span)
    with pytest.raises(InputError, match=r"no stretch between the test folds is long enough to train on: .*"):
        walk_forward(
            [walkers.MeanLearner()], span, scheme=CombinatorialPurged(), tasks=WindowTasks(300, 60), progress=False
        )
    with pytest.raises(InputError, match=r"write CombinatorialPurged\(purge="):
        walk_forward([walkers.MeanLearner()], span, scheme=CombinatorialPurged(), purge=3)
