import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.sweeps.grid import Grid
from markets import InputError


def test_settings_are_all_combinations_that_are_allowed():
    grid = Grid.of({"fast": range(1, 4), "slow": [2, 3]}, lambda fast, slow: fast < slow)
    assert list(grid.settings) == [{"fast": 1, "slow": 2}, {"fast": 1, "slow": 3}, {"fast": 2, "slow": 3}]
    assert grid.index.names == ["fast", "slow"]
    assert grid.index.tolist() == [(1, 2), (1, 3), (2, 3)]
    assert Grid.of({"window": [5, 7]}).index.tolist() == [5, 7]


@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(1, 4)] * 3), kept=st.floats(0.2, 1))
def test_the_worst_neighbour_is_the_lowest_within_one_step(seed, shape, kept):
    rng = np.random.default_rng(seed)
    values = {name: [float(v) for v in rng.permutation(n)] for name, n in zip("abc", shape, strict=True)}
    allowed = {p for p in itertools.product(*values.values()) if rng.random() < kept} or {
        tuple(v[0] for v in values.values())
    }
    grid = Grid.of(values, lambda a, b, c: (a, b, c) in allowed)
    scores = rng.normal(size=len(grid))
    scores[rng.random(len(scores)) < 0.1] = np.nan
    at = [tuple(grid.values[name].index(value) for name, value in s.items()) for s in grid.settings]
    for i, found in enumerate(grid.worst_neighbour(scores)):
        near = [
            scores[j] for j, place in enumerate(at) if max(abs(x - y) for x, y in zip(at[i], place, strict=True)) <= 1
        ]
        assert found == (-np.inf if np.isnan(near).any() else min(near))


def test_regression_neighbours_of_numbers_are_those_next_in_size():
    """As given, 250 stood beside 20, so the plateau of window=250,20,60 compared settings that are far apart."""
    grid = Grid.of({"window": [250, 20, 60], "kind": ["b", "a"]})
    assert grid.values == {"window": (20, 60, 250), "kind": ("b", "a")}
    worst = Grid.of({"window": [250, 20, 60]}).worst_neighbour(np.array([0.1, 0.5, 0.9]))  # of 20, 60, 250
    np.testing.assert_array_equal(worst, [0.1, 0.1, 0.5])


def test_what_has_no_order_has_no_steps():
    grid = Grid.of({"kind": ["a", "b"], "flag": [False, True], "window": [1, 2]})
    worst = grid.worst_neighbour(np.arange(8.0))
    assert worst.tolist() == [0, 0, 2, 2, 4, 4, 6, 6]


@pytest.mark.parametrize(
    ("values", "where", "message"),
    [
        ({}, None, "the grid is empty"),
        ({"a": []}, None, "a has no values"),
        ({"a": [1, 2, 1]}, None, "a has 1 twice"),
        ({"a": [1]}, lambda a: a > 1, "leaves no setting"),
    ],
)
def test_a_grid_without_settings_is_refused(values, where, message):
    with pytest.raises(InputError, match=message):
        Grid.of(values, where)
