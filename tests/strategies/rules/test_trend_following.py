import causal
import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from backtests.engine.lookahead import find_lookahead
from markets import Bars, InputError
from strategies import TrendFollowing
from strategies.rules.trend_following import decayed

SHORT = TrendFollowing((2, 5, 9), halflife=3, target=5.0, band=0.2)


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 58))
def test_a_row_is_the_same_whatever_comes_later(seed, t):
    causal.whatever_comes_later(SHORT, seed, t)


@given(seed=st.integers(0, 2**32 - 1))
def test_rows_on_which_all_symbols_have_gaps_change_nothing(seed):
    causal.rows_without_trades_change_nothing(SHORT, seed)


@given(seed=st.integers(0, 2**32 - 1), gross=st.sampled_from([0.5, 1.0, 3.0]))
def test_gross_weight_and_what_is_listed(seed, gross):
    bars = samples.gappy_bars(np.random.default_rng(seed), 90, 4, delist=True)
    plan = TrendFollowing((2, 5), halflife=3, target=5.0, gross=gross, band=0.2).plan(bars)
    assert np.abs(plan.aim).sum(axis=1).max() <= gross + 1e-12
    assert not plan.aim[~bars.listed].any()
    assert np.isfinite(plan.band).all()


def test_a_row_is_the_same_wherever_the_bars_begin(bars):
    rule = TrendFollowing((21, 63), halflife=10, band=0.1)
    causal.wherever_bars_begin(rule, bars, 203, 330)
    cut = rule.plan(bars[300 - rule.warmup : 301].without_past())
    np.testing.assert_array_equal(cut.aim[-1], rule.plan(bars).aim[300])


def test_it_does_not_look_ahead():
    bars = samples.gappy_bars(np.random.default_rng(1), 160, 4, volatility=0.02)
    assert find_lookahead(lambda: TrendFollowing((5, 20), 8), bars[-60:], cuts=3, progress=False) == []


def by_the_formula(close: np.ndarray, years: np.ndarray, windows, halflife, target):
    """The last row's aim without gaps, with the gross weight unbounded."""
    returns, elapsed = np.diff(np.log(close), axis=0), np.diff(years)
    length = min(6 * halflife, len(returns))
    weights = 0.5 ** (np.arange(length) / halflife)
    variance = (weights[:, None] * returns[::-1][:length] ** 2).sum(axis=0) / (weights * elapsed[::-1][:length]).sum()
    signal = np.mean([np.sign(close[-1] / close[-1 - window] - 1) for window in windows], axis=0)
    return signal * target / np.sqrt(variance) / close.shape[1]


def test_weights_are_those_of_the_formula():
    bars = samples.regime_bars(400, 5, seed=4)
    years = (bars.index - bars.index[0]).total_seconds().to_numpy() / (365.25 * 86400)
    rule = TrendFollowing((21, 63, 126), halflife=20, target=0.2, gross=100.0)
    expected = by_the_formula(bars.close, years, (21, 63, 126), 20, 0.2)
    assert (expected < 0).any()
    assert (expected > 0).any()
    np.testing.assert_allclose(rule.plan(bars).aim[-1], expected, rtol=1e-12)
    assert np.abs(expected).sum() > 0.3
    bounded = TrendFollowing((21, 63, 126), halflife=20, target=0.2, gross=0.3).plan(bars).aim[-1]
    np.testing.assert_allclose(bounded, expected * 0.3 / np.abs(expected).sum(), rtol=1e-12)


def test_a_symbol_of_twice_the_volatility_has_half_the_weight_and_what_falls_is_short():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (300, 1))
    returns = np.hstack([0.003 + noise, 2 * (0.003 + noise), -(0.003 + noise)])
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=300), list("ABC"), np.exp(np.cumsum(returns, axis=0)))
    aim = TrendFollowing((63,), halflife=21).plan(bars).aim[-1]
    np.testing.assert_allclose(aim, aim[0] * np.array([1, 0.5, -1]), rtol=1e-9)
    assert aim[0] > 0


def test_volatility_is_per_year_whatever_the_bars():
    """A symbol that trades every other day has the same weight as one with the same path that trades daily."""
    steps = np.where(np.arange(400) % 2, 0.02, -0.01)
    index = pd.date_range("2001-01-01", periods=400)
    daily = Bars.make(index, ["A"], np.exp(np.cumsum(steps))[:, None])
    aim = TrendFollowing((20,), 20, gross=10).plan(daily).aim[-1]
    hours = Bars.make(pd.date_range("2001-01-01", periods=400, freq="6h"), ["A"], daily.close)
    np.testing.assert_allclose(TrendFollowing((20,), 20, gross=10).plan(hours).aim[-1], aim / 2, rtol=1e-9)


def test_what_is_fixed_or_new_is_not_held_and_takes_no_share():
    bars = samples.regime_bars(300, 3, seed=6)
    rng = np.random.default_rng(1)
    close = np.column_stack([bars.close, np.exp(np.cumsum(rng.normal(0, 1e-6, 300))), np.ones(300), bars.close[:, 0]])
    close[:285, 5] = np.nan
    more = Bars.make(bars.index, [*bars.symbols, "pegged", "fixed", "new"], close)
    rule = TrendFollowing((20, 60), halflife=20)
    aim = rule.plan(more).aim[-1]
    assert not aim[3:].any()
    np.testing.assert_array_equal(aim[:3], rule.plan(bars).aim[-1])


def test_the_no_trade_zone_is_a_part_of_the_weight_of_a_full_signal():
    bars = samples.regime_bars(300, 3, seed=6)
    plan = TrendFollowing((20,), halflife=20, band=0.3).plan(bars)
    assert TrendFollowing((20,), halflife=20).plan(bars).band is None
    np.testing.assert_allclose(plan.band[100:], 0.3 * np.abs(plan.aim[100:]))


@given(length=st.integers(1, 70), halflife=st.floats(0.5, 50), rows=st.integers(1, 90), seed=st.integers(0, 2**32 - 1))
def test_sums_are_those_of_the_last_rows_alone(length, halflife, rows, seed):
    values = np.random.default_rng(seed).normal(size=(rows, 2))
    found = decayed(values, halflife, length)
    for t in {0, rows // 2, rows - 1}:
        last = values[max(t + 1 - length, 0) : t + 1][::-1]
        expected = (last * 0.5 ** (np.arange(len(last)) / halflife)[:, None]).sum(axis=0)
        np.testing.assert_allclose(found[t], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(decayed(values[max(t + 1 - length, 0) : t + 1], halflife, length)[-1], found[t])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windows": ()}, "give windows"),
        ({"windows": (0, 5)}, "give windows"),
        ({"halflife": 1}, "a halflife of at least 2"),
        ({"target": 0}, "target is 0"),
        ({"gross": -1}, "gross -1"),
        ({"band": -0.1}, "band -0.1"),
        ({"band": 1}, "band from 0 to below 1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        TrendFollowing(**settings)


def test_names():
    assert TrendFollowing().name == "trend following 21/63/126/252"
    assert TrendFollowing((252,)).name == "trend following 252"
    assert TrendFollowing((252,), halflife=20).warmup == 252
