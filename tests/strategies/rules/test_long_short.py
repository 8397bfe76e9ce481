import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError, simulate
from strategies.rules import long_short
from strategies.rules.long_short import VOLATILITY, ResidualMomentum, Reversal, windowed

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


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1), sparse=st.floats(0.05, 0.5))
def test_regression_a_row_is_the_same_wherever_bars_with_gaps_begin_to_show(rule, seed, sparse):
    """Scores of long ago were standardised across symbols whose windows were cut: rows differed by 2e-4."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(rng.normal(0, 0.02, (700, 5)).cumsum(axis=0))
    close[250:320, 0] = np.nan
    close[300:, 1][rng.random(400) > sparse] = np.nan
    close[200:500, 2][rng.random(300) > 0.7] = np.nan
    close[:260, 3] = np.nan
    close[600:, 4] = np.nan
    index = pd.bdate_range("2001-01-01", periods=700)
    bars = Bars.make(index, list("ABCDE"), close, delisted={"E": index[600]})
    whole = rule.plan(bars).aim
    for t in rng.integers(250, 700, 6):
        np.testing.assert_array_equal(rule.plan(bars[t : t + 1]).aim[0], whole[t])


def test_regression_the_same_risk_over_the_same_time_gets_positions_of_the_same_size():
    returns = np.random.default_rng(0).normal(0, 0.01, (2000, 4))
    close = priced(returns).close.copy()
    close[np.arange(2000) % 10 != 0, 3] = np.nan
    aim = Reversal().plan(Bars.make(pd.date_range("2001-01-01", periods=2000), list("ABCD"), close)).aim[1000:]
    size = np.abs(aim).mean(axis=0)
    assert size[3] == pytest.approx(size[:3].mean(), rel=0.15)  # it was a third


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


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_on_which_nothing_trades_change_no_weight(rule, seed):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 90, 4)
    more, at = samples.with_empty_rows(bars, rng)
    found = rule.plan(more).aim
    np.testing.assert_array_equal(found[at], rule.plan(bars).aim)
    for t in range(at[0] + 1, len(more)):
        if t not in at:
            np.testing.assert_array_equal(found[t], found[t - 1])


def test_regression_one_missing_close_is_no_signal():
    """`Reversal` covered at the gap and resold after it: turnover 150 times the money instead of 57."""
    close = priced(np.random.default_rng(0).normal(0, 0.01, (400, 6))).close.copy()
    index, names = pd.bdate_range("2001-01-01", periods=400), [f"S{i}" for i in range(6)]

    def traded(values, rule):
        bars = Bars.make(index, names, values)
        paths = simulate(bars, rule.plan(bars), costs="0bp")
        return paths.traded[0].sum() / paths.equity[0].mean()

    missing = close.copy()
    missing[100::7, 2] = np.nan
    for rule in (Reversal(), ResidualMomentum(60, 5, 5)):
        aim, whole = (rule.plan(Bars.make(index, names, values)).aim for values in (missing, close))
        at = np.arange(107, 400, 7)
        assert (np.sign(aim[at, 2]) == np.sign(aim[at - 1, 2])).mean() > 0.9
        assert np.abs(aim[at, 2] - aim[at - 1, 2]).mean() < 1.1 * np.abs(np.diff(whole[107:, 2])).mean()
        assert traded(missing, rule) < 1.05 * traded(close, rule)


def test_the_market_of_a_residual_is_over_the_same_time():
    """A symbol that misses a bar has a return over two, as has the market that it is compared with."""
    rng = np.random.default_rng(0)
    market = rng.normal(0, 0.02, 300)
    close = priced(market[:, None] + rng.normal(0, 1e-6, (300, 4))).close.copy()
    close[50::3, 0] = np.nan
    there = np.isfinite(close[:, 0])
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=300), list("ABCD"), close)
    expected = np.diff(market.cumsum()[there])
    np.testing.assert_allclose(long_short._market(bars)[1 : there.sum(), 0], expected, atol=1e-5)
    assert np.abs(ResidualMomentum(100, 0, 1).plan(bars).aim[-1]).sum() == pytest.approx(1)
