import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies.rules.trend import Donchian, MovingAverageCross, MovingAverages

RULES = [MovingAverageCross(3, 7), Donchian(6)]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 38))
def test_a_row_is_the_same_whatever_comes_later(rule, seed, t):
    rng = np.random.default_rng(seed)
    bars, later = samples.gappy_bars(rng, 40, 3), samples.gappy_bars(rng, 40, 3)
    whole, part = rule.plan(bars).aim, rule.plan(bars[: t + 1]).aim
    joined = {
        field: np.vstack([getattr(bars, field)[: t + 1], getattr(later, field)[t + 1 :]])
        for field in ("open", "high", "low", "close", "tradable")
    }
    other = rule.plan(Bars.make(bars.index, bars.symbols, **joined)).aim
    np.testing.assert_array_equal(part, whole[: t + 1])
    np.testing.assert_array_equal(other[: t + 1], whole[: t + 1])


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_on_which_nothing_trades_change_no_weight(rule, seed):
    rng = np.random.default_rng(seed)
    bars = samples.gappy_bars(rng, 40, 3)
    more, at = samples.with_empty_rows(bars, rng)
    np.testing.assert_array_equal(rule.plan(more).aim[at], rule.plan(bars).aim)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_history_counts_as_much_as_what_is_visible(rule, bars):
    np.testing.assert_array_equal(rule.plan(bars[100:]).aim, rule.plan(bars).aim[100:])


def test_a_cross_is_decided_by_its_own_window_alone(bars):
    """Not even in the last bit does it matter where the history begins."""
    rule = MovingAverageCross(5, 20)
    late = rule.plan(bars[100:].without_past(keep=rule.warmup)).aim
    np.testing.assert_array_equal(late, rule.plan(bars).aim[100:])


def test_a_cross_is_that_of_pandas(bars):
    close = pd.DataFrame(bars.close)
    above = close.rolling(5).mean() > close.rolling(20).mean()
    np.testing.assert_allclose(MovingAverageCross(5, 20).plan(bars).aim, above.to_numpy() / 3)


def test_many_settings_at_once_are_each_of_them(bars):
    settings = [{"fast": fast, "slow": slow} for fast in (1, 5, 8) for slow in (9, 64, 100)]
    for setting, plan in zip(settings, MovingAverageCross.plans(bars, settings), strict=True):
        np.testing.assert_array_equal(plan.aim, MovingAverageCross(**setting).plan(bars).aim)


def test_a_price_that_stands_still_has_no_trend():
    bars = Bars.make(pd.date_range("2020", periods=400), ["x"], np.full((400, 1), 0.1))
    for plan in MovingAverageCross.plans(bars, [{"fast": f, "slow": f + 7} for f in range(1, 100)]):
        assert not plan.aim.any()


@given(seed=st.integers(0, 2**32 - 1), window=st.integers(1, 40), length=st.integers(1, 60))
def test_moving_averages_are_means_of_windows(seed, window, length):
    values = np.random.default_rng(seed).normal(size=(length, 2))
    found = MovingAverages(values)(window)
    np.testing.assert_allclose(found, pd.DataFrame(values).rolling(window).mean(), rtol=1e-9, atol=1e-12)


def test_means_that_are_not_kept_are_computed_again(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 2))
    expected = {window: MovingAverages(values)(window) for window in range(1, 9)}
    monkeypatch.setattr(MovingAverages, "_MEMORY", 0)
    means = MovingAverages(values)
    for window in (*range(1, 9), *range(8, 0, -1)):
        np.testing.assert_array_equal(means(window), expected[window])
    assert len(means._means) == 2


def test_donchian_bar_by_bar(bars):
    long = np.zeros(bars.shape)
    high, low = (bars.close if x is None else x for x in (bars.high, bars.low))
    for i in range(bars.shape[1]):
        held = 0.0
        for t in range(len(bars)):
            if t >= 10 and bars.close[t, i] > high[t - 10 : t, i].max():
                held = 1.0
            elif t >= 5 and bars.close[t, i] < low[t - 5 : t, i].min():
                held = 0.0
            long[t, i] = held
    np.testing.assert_allclose(Donchian(10).plan(bars).aim, long / 3)
    assert 0.1 < long.mean() < 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MovingAverageCross(20, 20), "fast is 20 and slow is 20"),
        (lambda: MovingAverageCross(0, 20), "at least 1"),
        (lambda: Donchian(0), "window is 0"),
    ],
)
def test_windows_out_of_range_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
