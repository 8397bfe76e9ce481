import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError, simulate
from strategies import BuyAndHold, EqualWeight, InverseVolatility, Momentum

RULES = [EqualWeight(), BuyAndHold(), InverseVolatility(5), Momentum(7)]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 38))
def test_a_row_is_the_same_whatever_comes_later(rule, seed, t):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 40, 3)
    whole, part = rule.plan(bars), rule.plan(bars[: t + 1])
    later = samples.gappy_bars(rng, 40, 3)
    scrambled, mask = later.close.copy(), later.tradable.copy()
    scrambled[: t + 1], mask[: t + 1] = bars.close[: t + 1], bars.tradable[: t + 1]
    other = rule.plan(Bars.make(bars.index, bars.symbols, scrambled, tradable=mask))
    for field in ("aim", "band", "rate"):
        expected = getattr(whole, field)
        if expected is not None:
            np.testing.assert_array_equal(getattr(part, field), expected[: t + 1])
            np.testing.assert_array_equal(getattr(other, field)[: t + 1], expected[: t + 1])


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_long_and_never_more_than_there_is(rule, seed):
    aim = rule.plan(samples.gappy_bars(np.random.default_rng(seed), 40, 3)).aim
    assert (aim >= 0).all()
    assert (aim.sum(axis=1) <= 1 + 1e-12).all()


@pytest.mark.parametrize("rule", [EqualWeight(), InverseVolatility(5), Momentum(7)], ids=lambda r: r.name)
def test_history_counts_as_much_as_what_is_visible(rule, bars):
    np.testing.assert_allclose(rule.plan(bars[100:]).aim, rule.plan(bars).aim[100:], rtol=1e-9)


def test_buy_and_hold_trades_once(bars):
    plan = BuyAndHold().plan(bars)
    paths = simulate(bars, plan)
    assert np.flatnonzero(paths.traded[0]).tolist() == [1]


def test_momentum_holds_what_rose(bars):
    aim, close = Momentum(50).plan(bars).aim, bars.close
    expected = np.where(close[50:] > close[:-50], 1 / 3, 0)
    np.testing.assert_allclose(aim[50:], expected)
    assert not aim[:50].any()


def test_inverse_volatility_by_hand(bars):
    t, window = 300, 63
    squares = np.diff(np.log(bars.close[t - window : t + 1]), axis=0) ** 2
    weight = 1 / np.sqrt(squares.mean(axis=0))
    np.testing.assert_allclose(InverseVolatility().plan(bars).aim[t], weight / weight.sum(), rtol=1e-6)


def test_regression_a_price_that_stands_still_is_stale_not_safe():
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (60, 2)).cumsum(axis=0))
    close[20:, 1] = close[20, 1]
    import pandas as pd

    aim = InverseVolatility(10).plan(Bars.make(pd.date_range("2020", periods=60), ["A", "B"], close)).aim
    assert aim[-1].tolist() == [1.0, 0.0]


def test_windows_are_checked():
    with pytest.raises(InputError, match="window is 0"):
        Momentum(0)
    with pytest.raises(InputError, match="window is 1"):
        InverseVolatility(1)


def dying(first=200, length=400):
    """Four symbols, the first of which stops trading."""
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (length, 4)).cumsum(axis=0))
    close[first:, 0] = np.nan
    import pandas as pd

    return Bars.make(pd.date_range("2020", periods=length), list("ABCD"), close)


def test_regression_a_symbol_that_stopped_trading_takes_no_weight_from_the_living():
    bars = dying()
    aim = InverseVolatility().plan(bars).aim
    assert aim[200:, 0].max() < 0.35  # a stale price does not count as low volatility
    assert not aim[230:, 0].any()
    np.testing.assert_allclose(aim[230:].sum(axis=1), 1)
    np.testing.assert_allclose(EqualWeight().plan(bars).aim[300], [0, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(BuyAndHold().plan(bars[300:]).aim[0], [0, 1 / 3, 1 / 3, 1 / 3])


def test_regression_buy_and_hold_waits_for_a_symbol_that_did_not_trade_at_once():
    close = np.full((6, 2), 10.0)
    close[1, 0] = np.nan
    import pandas as pd

    bars = Bars.make(pd.date_range("2020", periods=6), ["A", "B"], close)
    plan = BuyAndHold().plan(bars)
    shares = simulate(bars, plan, costs="0bp").shares[0]
    assert shares[-1].tolist() == [5e4, 5e4]
