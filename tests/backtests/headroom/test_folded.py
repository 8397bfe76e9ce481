"""The interval of a size that cannot be negative."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.headroom import Range, folded


@given(st.integers(0, 1000), st.floats(0, 5))
def test_it_is_in_order_and_never_negative(seed, shift):
    rng = np.random.default_rng(seed)
    root = shift + rng.standard_normal(50)
    found = folded(np.array([shift**2]), root**2, np.where(root >= 0, 1.0, -1.0))
    assert 0 <= found.low <= found.value <= found.high


def test_draws_of_both_signs_hold_zero_and_others_do_not():
    size = np.linspace(1, 2, 100)
    both = folded(np.array([1.5]), size, np.tile([1.0, -1.0], 50))
    one = folded(np.array([1.5]), size, -np.ones(100))
    assert both.low == 0
    assert 0.0 in both
    assert 1.0 < one.low < one.value < one.high < 2.0
    assert 0.0 not in one
    assert folded(np.array([1.5, 1.9, 3.0]), size, np.ones(100)).high == 3.0


def test_it_covers_the_square_of_a_mean():
    """δ̂ ~ N(δ, 1), with draws of its posterior N(δ̂, 1) and the profile likelihood's end δ̂ ± 1.645."""
    rng = np.random.default_rng(0)
    for truth in (0.0, 0.7, 3.0):
        held = []
        for _ in range(400):
            centre = truth + rng.standard_normal()
            root = centre + rng.standard_normal(400)
            profile = np.array([centre**2, (abs(centre) + 1.645) ** 2])
            found = folded(profile, root**2, np.where(root >= 0, 1.0, -1.0))
            held.append(truth**2 in found)
        assert np.mean(held) >= 0.87


def test_the_estimate_is_that_of_the_mode_unless_the_interval_ends_before_it():
    size = np.linspace(1, 2, 101)
    assert folded(np.array([1.4]), size, np.ones(101)).value == 1.4
    assert folded(np.array([0.5]), size, np.ones(101)).value == pytest.approx(1.05)


def test_a_range_has_units():
    assert Range(1.0, 0.5, 2.0) * 252 == Range(252.0, 126.0, 504.0)
