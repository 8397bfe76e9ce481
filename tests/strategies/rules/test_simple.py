import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError, simulate
from strategies import (
    BuyAndHold,
    CrossSectionalMomentum,
    EqualWeight,
    InverseVolatility,
    MaximumSharpe,
    MinimumVariance,
    Momentum,
    MomentumBlend,
    Pairs,
    RiskParity,
)
from strategies.rules.long_short import ResidualMomentum, Reversal

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
def test_rows_on_which_nothing_trades_change_no_weight(rule, seed):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 40, 3)
    more, at = samples.with_empty_rows(bars, rng)
    whole, found = rule.plan(bars), rule.plan(more)
    for field in ("aim", "band"):
        if (expected := getattr(whole, field)) is not None:
            np.testing.assert_array_equal(getattr(found, field)[at], expected)
    for t in range(at[0] + 1, len(more)):
        if t not in at:
            np.testing.assert_array_equal(found.aim[t], found.aim[t - 1])


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
    bars = Bars.make(pd.date_range("2020", periods=6), ["A", "B"], close)
    plan = BuyAndHold().plan(bars)
    shares = simulate(bars, plan, costs="0bp").shares[0]
    assert shares[-1].tolist() == [5e4, 5e4]


def traded(bars, rule):
    """Money traded, as a multiple of the mean equity."""
    paths = simulate(bars, rule.plan(bars), costs="0bp")
    return paths.traded[0].sum() / paths.equity[0].mean()


def prices(length, symbols, volatility):
    return 100 * np.exp(np.random.default_rng(0).normal(0, volatility, (length, symbols)).cumsum(axis=0))


@pytest.mark.parametrize("rule", [EqualWeight(), BuyAndHold(), InverseVolatility(20)], ids=lambda r: r.name)
def test_regression_a_symbol_that_prints_every_half_hour_is_held_in_between(rule):
    """Equal weight traded 18 to 122 times the money in two days: the symbol was unlisted after 21 minutes."""
    close = prices(780, 3, 5e-4)
    index = pd.date_range("2024-01-02 09:30", periods=780, freq="min")
    dense = traded(Bars.make(index, list("ABC"), close), rule)
    close[np.arange(780) % 30 != 0, 2] = np.nan
    assert traded(Bars.make(index, list("ABC"), close), rule) < 1.1 * dense


def coin_and_stock():
    """Hourly bars of a coin and of a stock with nights, weekends and holidays; and which hours are the stock's."""
    index = pd.date_range("2023-01-02 14:00", periods=24 * 200, freq="h")
    hours = (index.day_of_week < 5) & (index.hour >= 14) & (index.hour < 21)
    hours &= ~index.normalize().isin(pd.to_datetime(["2023-02-20", "2023-04-07", "2023-05-29"]))
    close = prices(len(index), 2, 0.004)
    close[~hours, 1] = np.nan
    return Bars.make(index, ["coin", "stock"], close), hours


def test_regression_an_hourly_stock_is_held_over_the_weekend():
    """It was sold each Monday and rebought an hour later, and inverse volatility never wanted it."""
    bars, hours = coin_and_stock()
    in_hours = Bars.make(bars.index[hours], bars.symbols, bars.close[hours])
    weights = EqualWeight().plan(bars).aim
    np.testing.assert_array_equal(weights, 0.5)
    assert traded(bars, EqualWeight()) < 2 * traded(in_hours, EqualWeight())  # the coin moves at night, too
    aim = InverseVolatility().plan(bars).aim
    warm = int(np.flatnonzero(hours)[63])
    assert (aim[warm:, 1] > 0.1).all()
    assert traded(bars, InverseVolatility()) < 2 * traded(in_hours, InverseVolatility())
    orders = simulate(bars, InverseVolatility().plan(bars), orders=True).orders[0]
    assert not orders[~hours][:, 1].any()


@pytest.mark.parametrize("every", ["half hour of minutes", "open hour", "business day"])
def test_regression_the_same_risk_over_the_same_time_gets_the_same_weight(every):
    """Volatility per own bar gave .17, .33 and .47 to the symbol that trades less often."""
    freq = {"half hour of minutes": "min", "open hour": "h", "business day": "D"}[every]
    index = pd.date_range("2022-01-03", periods=24_000, freq=freq)
    close = prices(len(index), 2, 1e-3)
    there = {"min": index.minute % 30 == 0, "h": (index.day_of_week < 5) & (index.hour >= 14) & (index.hour < 21)}
    close[~there.get(freq, index.day_of_week < 5), 1] = np.nan
    bars = Bars.make(index, ["A", "B"], close)
    whole = InverseVolatility().plan(bars).aim
    np.testing.assert_allclose(whole[4000:].mean(axis=0), 0.5, atol=0.015)
    for t in (5000, 5007, 20_011):
        known = Bars.make(index[: t + 1], bars.symbols, close[: t + 1])
        np.testing.assert_array_equal(InverseVolatility().plan(known).aim[t], whole[t])
        kept = known[-1:].without_past(keep=64)
        np.testing.assert_allclose(InverseVolatility().plan(kept).aim[0], whole[t], rtol=1e-9)


def test_windows_are_of_the_symbols_own_bars():
    bars, hours = coin_and_stock()
    alone = Bars.make(bars.index[hours], ["stock"], bars.close[hours, 1:])
    rose = (Momentum(50).plan(alone).aim[:, 0] > 0)[hours.cumsum() - 1]
    np.testing.assert_array_equal(Momentum(50).plan(bars).aim[:, 1] > 0, rose)
    squares = np.diff(np.log(bars.close[hours, 1])) ** 2
    coin = np.diff(np.log(bars.close[:, 0])) ** 2
    reach = np.flatnonzero(hours)[[-64, -1]]  # volatility is per bar of the market
    weight = 1 / np.sqrt([coin[-63:].mean(), squares[-63:].sum() / (reach[1] - reach[0])])
    np.testing.assert_allclose(InverseVolatility().plan(bars).aim[-1], weight / weight.sum(), rtol=1e-6)


def test_stocks_on_calendar_days_get_the_weights_of_their_sessions(stocks):
    some = stocks["2015":].without_past()
    index = pd.date_range(some.index[0], some.index[-1])
    close = pd.DataFrame(some.close, index=some.index).reindex(index).to_numpy()
    daily = Bars.make(index, some.symbols, close)
    for rule in (EqualWeight(), InverseVolatility(), Momentum()):
        np.testing.assert_array_equal(rule.plan(daily).aim[daily.sessions], rule.plan(some).aim)


@pytest.mark.parametrize(
    "rule",
    [
        *RULES, Reversal((1, 3), 2), ResidualMomentum(8, 2, 2), MomentumBlend((3, 7)), CrossSectionalMomentum(8, 2),
        CrossSectionalMomentum(8, 2, losers=True), MinimumVariance(20), RiskParity(20), MaximumSharpe(20),
        Pairs(20, critical=-1.5, every="week"),
    ],
    ids=lambda r: r.name,
)  # fmt: skip
def test_regression_an_external_series_gets_no_weight(rule):
    """VIX as an untradable symbol got 20 % of equal weight."""
    close = prices(120, 5, 0.01)
    index = pd.bdate_range("2020-01-01", periods=120)
    tradable = np.tile([True, True, False, True, True], (120, 1))
    bars = Bars.make(index, ["A", "B", "VIX", "C", "D"], close, tradable=tradable)
    aim = rule.plan(bars).aim
    assert not aim[:, 2].any()
    others = bars.select(["A", "B", "C", "D"])
    np.testing.assert_allclose(aim[:, [0, 1, 3, 4]], rule.plan(others).aim, atol=1e-12)


def test_buy_and_hold_begins_with_the_first_row_that_has_a_symbol():
    close = np.full((6, 2), 10.0)
    close[0] = np.nan
    plan = BuyAndHold().plan(Bars.make(pd.date_range("2020", periods=6), ["A", "B"], close))
    assert plan.aim.tolist() == [[0, 0]] + [[0.5, 0.5]] * 5
