import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from markets.bars.traded import TradedBars

CLOSE = np.array([[1.0, np.nan], [np.nan, 5.0], [3.0, np.nan], [4.0, 6.0]])


def test_by_hand():
    traded, nan = TradedBars(CLOSE), np.nan
    packed = traded.packed(CLOSE)
    np.testing.assert_array_equal(packed, [[1, 5], [3, 6], [4, nan], [nan, nan]])
    np.testing.assert_array_equal(traded.unpacked(packed), [[1, nan], [1, 5], [3, 5], [4, 6]])


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 4), st.floats(0, 1))
def test_what_was_packed_comes_back_and_is_repeated_in_gaps(seed, length, symbols, gaps):
    rng = np.random.default_rng(seed)
    close = np.where(rng.random((length, symbols)) < gaps, np.nan, rng.uniform(1, 2, (length, symbols)))
    traded = TradedBars(close)
    back = traded.unpacked(traded.packed(close))
    there = np.isfinite(close)
    np.testing.assert_array_equal(back[there], close[there])
    for t in range(1, length):
        np.testing.assert_array_equal(back[t][~there[t]], back[t - 1][~there[t]])


def test_without_gaps_nothing_is_copied():
    close = np.ones((5, 2))
    traded = TradedBars(close)
    assert traded.packed(close) is close
    assert traded.unpacked(close) is close
