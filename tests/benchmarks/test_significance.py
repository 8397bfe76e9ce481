"""Small versions of what the benchmark measures: a wrong formula fails them, chance seldom does."""

import numpy as np
import pytest

from backtests.significance import STATISTICS
from benchmarks.significance import BURN, clustered, coverage, coverage_of_pools, judged, null, paths, student, truth


@pytest.mark.parametrize("kind", ["iid", "garch"])
def test_intervals_hold_the_truth(kind):
    found = coverage(kind, 150, seed=3)
    assert all(0.9 <= value <= 0.99 for value in found.values()), found


def test_nothing_is_found_where_there_is_nothing():
    found = null(25, 1, long_only=True)
    assert found["null_long_only_spa_uniform_p"] > 0.01
    assert found["null_long_only_spa_rejected_5pc"] <= 0.2


def test_a_strategy_that_sees_the_next_return_is_found():
    found = judged(0, edge=0.06)
    assert found.table["p"].iloc[1] < 0.01
    assert found.sentences["random 1"].startswith("better than equal weight (SPA p ")


def test_markets_are_as_the_benchmark_says():
    returns = clustered(student(np.random.default_rng(0), 8, (BURN + 20_000, 10)))
    assert returns.var() == pytest.approx(1, rel=0.1)
    squares = returns[:, 0] ** 2
    assert np.corrcoef(squares[1:], squares[:-1])[0, 1] > 0.05


def test_pairs_are_as_the_benchmark_says():
    found = paths(60, np.random.default_rng(0))
    for kind, returns in found.items():
        np.testing.assert_allclose(returns.var(axis=(0, 2)), 1e-4, rtol=0.1, err_msg=kind)
        assert returns.mean() == pytest.approx(3e-4, abs=1e-4)
    shortfall, log_variance = STATISTICS["expected shortfall"], STATISTICS["log variance"]
    assert truth("alike", shortfall, found) == truth("managed", log_variance, found) == 0
    assert truth("managed", shortfall, found) < 0  # constant risk loses less on the worst days
    assert truth("managed", STATISTICS["volatility of volatility"], found) < -0.1


def test_pools_hold_the_truth():
    found = coverage_of_pools(40, seed=3)
    assert all(value >= 0.82 for value in found.values()), found
