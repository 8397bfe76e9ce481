import causal
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import InputError
from strategies import Momentum, MomentumBlend


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 58))
def test_a_row_is_the_same_whatever_comes_later(seed, t):
    causal.whatever_comes_later(MomentumBlend((2, 5, 9)), seed, t)


@given(seed=st.integers(0, 2**32 - 1))
def test_rows_without_trades_change_nothing(seed):
    causal.rows_without_trades_change_nothing(MomentumBlend((2, 5, 9)), seed)


def test_a_blend_of_one_window_is_momentum(bars):
    np.testing.assert_array_equal(MomentumBlend((63,)).plan(bars).aim, Momentum(63).plan(bars).aim)


def test_weights_are_shares_of_the_windows(bars):
    found = np.unique(np.round(MomentumBlend().plan(bars).aim * 3 * 4, 9))  # three symbols, four windows
    assert found.tolist() == [0, 1, 2, 3, 4]
    assert MomentumBlend().warmup == 252


def test_windows_are_checked():
    with pytest.raises(InputError, match="windows are"):
        MomentumBlend(())
