import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies.long_short import VOLATILITY, ResidualMomentum, Reversal, windowed

SMALL = [Reversal((1, 3), 2), ResidualMomentum(8, 2, 2)]


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(40, 88))
def test_a_row_is_the_same_whatever_comes_later(rule, seed, t):
    rng = np.random.default_rng(seed)
    bars, later = samples.gappy_bars(rng, 90, 4), samples.gappy_bars(rng, 90, 4)
    scrambled, mask = later.close.copy(), later.tradable.copy()
    scrambled[: t + 1], mask[: t + 1] = bars.close[: t + 1], bars.tradable[: t + 1]
    other = Bars.make(bars.index, bars.symbols, scrambled, tradable=mask)
    expected = rule.plan(bars).aim[: t + 1]
    np.testing.assert_array_equal(rule.plan(bars[: t + 1]).aim, expected)
    np.testing.assert_array_equal(rule.plan(other).aim[: t + 1], expected)


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1))
def test_longs_are_worth_as_much_as_shorts_and_all_as_much_as_the_equity(rule, seed):
    bars = samples.gappy_bars(np.random.default_rng(seed), 90, 4)
    aim = rule.plan(bars).aim
    gross = np.abs(aim).sum(axis=1)
    np.testing.assert_allclose(aim.sum(axis=1), 0, atol=1e-9)
    assert ((np.abs(gross - 1) < 1e-9) | (gross == 0)).all()
    assert not aim[~bars.listed].any()


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
def test_a_row_is_the_same_wherever_the_bars_begin_to_show(rule, bars):
    whole = rule.plan(bars).aim
    assert np.abs(whole[200:]).sum(axis=1).min() > 0.99
    np.testing.assert_array_equal(rule.plan(bars[200:260]).aim, whole[200:260])
    np.testing.assert_array_equal(rule.plan(bars[100:].without_past(0)).aim[rule.warmup :], whole[100 + rule.warmup :])


def priced(returns):
    close = 50 * np.exp(np.cumsum(returns, axis=0))
    return Bars.make(pd.bdate_range("2001-01-01", periods=len(close)), [f"S{i}" for i in range(close.shape[1])], close)


def test_reversal_buys_what_fell():
    returns = np.random.default_rng(0).normal(0, 0.01, (200, 3))
    returns[-5:] = [[-0.02, 0.0, 0.02]] * 5
    aim = Reversal((5,), 1).plan(priced(returns)).aim[-1]
    assert aim[0] > 0.2
    assert aim[2] < -0.2


def test_residual_momentum_does_not_see_what_the_market_did():
    rng = np.random.default_rng(0)
    market, beta = rng.normal(0.002, 0.02, (400, 1)), np.array([0.5, 1.0, 1.5])
    returns = market * beta + rng.normal(0, 1e-4, (400, 3))
    returns[:, 1] += 3e-4  # only the middle one has a residual drift; the third rises most
    aim = ResidualMomentum(100, 0, 1).plan(priced(returns)).aim[-1]
    assert int(np.argmax(aim)) == 1


def test_a_window_is_a_sum_of_its_own_rows():
    values = np.random.default_rng(0).normal(size=(30, 2))
    np.testing.assert_allclose(windowed(values, 7), pd.DataFrame(values).rolling(7, min_periods=1).sum())
    assert not windowed(values, 0).any()


def test_without_prices_that_move_there_is_nothing_to_hold():
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=120), ["A", "B"], np.full((120, 2), 10.0))
    assert not Reversal().plan(bars).aim.any()
    assert not ResidualMomentum(20, 5).plan(bars).aim.any()
    assert Reversal().warmup >= VOLATILITY


def test_windows_are_checked():
    with pytest.raises(InputError, match="windows are"):
        Reversal(())
    with pytest.raises(InputError, match="skip is 300"):
        ResidualMomentum(252, 300)
    with pytest.raises(InputError, match="halflife is 0"):
        Reversal(halflife=0)
