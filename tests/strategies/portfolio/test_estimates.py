import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies.portfolio import Pool, estimate
from strategies.portfolio.estimates import _estimate

SMALL = Pool(volatilities=(3, 8), correlations=(5, 15), window=25, shortest=6)
ARRAYS = ("known", "variance", "correlation", "trend", "state", "variance_score", "correlation_score")


def same(found, expected):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_moments_are_weighted_sums_over_the_window():
    bars = samples.regime_bars(300, 3, seed=0)
    pool = Pool(volatilities=(5, 20), correlations=(10, 40), window=60, shortest=20)
    found = estimate(bars, pool)
    d = len(found) - 3
    row = found.rows[d]
    returns = (bars.close[1:] / bars.close[:-1] - 1)[row - 60 : row]
    years = np.diff(bars.index[row - 60 : row + 1]) / pd.Timedelta("365.25D")
    for k, halflife in enumerate((5, 20)):
        w = 0.5 ** (np.arange(60)[::-1] / halflife)
        np.testing.assert_allclose(found.variance[d, k], w @ returns**2 / (w @ years))
    for c, halflife in enumerate((10, 40)):
        x = returns * np.sqrt(0.5 ** (np.arange(60)[::-1] / halflife))[:, None]
        scale = np.sqrt((x**2).sum(axis=0))
        np.testing.assert_allclose(found.correlation[d, c], x.T @ x / np.outer(scale, scale))
    assert found.known.all()


def test_decisions_are_on_the_first_bar_of_each_week_once_there_are_enough():
    bars = samples.regime_bars(60, 2, seed=0)
    found = estimate(bars, SMALL)
    assert found.rows[0] == 5  # the sixth session
    assert (bars.index[found.rows].day_of_week == 0).all()
    assert found.before(4) == -1
    assert found.before(np.array([5, 9, 10])).tolist() == [0, 0, 1]
    assert len(estimate(bars[:5], SMALL)) == 0


def test_weeks_begin_in_the_time_zone_of_the_bars():
    bars = samples.regime_bars(60, 2, seed=0)
    late = Bars.make(bars.index.tz_localize("UTC") + pd.Timedelta(hours=22), bars.symbols, bars.close)
    for shown, day in ((late, 0), (late.in_zone("Asia/Tokyo"), 1)):  # where Monday's bar is of Tuesday morning
        assert (shown.index[estimate(shown, SMALL).rows[1:]].day_of_week == day).all()


@given(seed=st.integers(0, 2**32 - 1), row=st.integers(270, 399))
@settings(max_examples=15)
def test_a_row_is_the_same_wherever_the_bars_begin_and_end(seed, row):
    bars = samples.gappy_bars(np.random.default_rng(seed), 400, 4, delist=True)
    whole = _estimate(bars, SMALL, 0)
    shown = bars.rows(row, row + 1).without_past(keep=SMALL.lookback + 7)
    part = _estimate(shown.with_past(), SMALL, shown.past)
    at = whole.before(row)
    same(part[-1:], whole[int(at) : int(at) + 1])
    same(_estimate(bars.rows(0, row + 1), SMALL, 0), whole[: int(at) + 1])
    same(_estimate(bars, SMALL, row), whole[int(at) :])


def test_a_gap_is_no_news_and_its_return_comes_at_its_end():
    bars = samples.regime_bars(80, 3, seed=1)
    close = bars.close.copy()
    close[60, 1] = np.nan
    found = estimate(Bars.make(bars.index, bars.symbols, close), SMALL)
    d = int(found.before(79))
    returns = (close[1:] / close[:-1] - 1)[:, 1]
    returns[59:61] = 0.0, close[61, 1] / close[59, 1] - 1
    row = found.rows[d]
    w = 0.5 ** (np.arange(25)[::-1] / 8)
    years = np.diff(bars.index[row - 25 : row + 1]) / pd.Timedelta("365.25D")
    np.testing.assert_allclose(found.variance[d, 1, 1], w @ returns[row - 25 : row] ** 2 / (w @ years))


def test_what_moved_while_it_was_stale_is_no_trend():
    bars = samples.regime_bars(200, 2, seed=1)
    close = bars.close.copy()
    close[90:140, 1] = np.nan
    close[140:, 1] *= 5
    found = estimate(Bars.make(bars.index, bars.symbols, close), Pool((5,), (20,), window=100, shortest=15))
    d = int(found.before(165))
    assert found.known[d].all()
    assert found.trend[d, 0].all()  # over 21 sessions
    assert found.trend[d, 1, 1] == 0 != found.trend[d, 1, 0]  # over 63


def test_a_late_listing_is_correlated_over_the_time_since():
    bars = samples.regime_bars(100, 3, seed=2)
    close = bars.close.copy()
    close[:80, 2] = np.nan
    found = estimate(Bars.make(bars.index, bars.symbols, close), SMALL)
    assert not found.known[found.before(84), 2]  # it has one close then, and six a week later
    d = found.before(99)
    assert found.known[d].all()
    row = found.rows[d]
    returns = np.zeros((25, 3))
    returns[:] = (bars.close[1:] / bars.close[:-1] - 1)[row - 25 : row]
    since = np.arange(row - 24, row + 1) > 80
    w = 0.5 ** (np.arange(25)[::-1] / 15) * since
    expected = (w * returns[:, 0] * returns[:, 2]).sum() / np.sqrt(
        (w * returns[:, 0] ** 2).sum() * (w * returns[:, 2] ** 2).sum()
    )
    np.testing.assert_allclose(found.correlation[d, 1, 0, 2], expected)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_correlations_are_positive_semidefinite_with_ones_on_the_diagonal(seed):
    bars = samples.gappy_bars(np.random.default_rng(seed), 120, 6, delist=True)
    found = estimate(bars, SMALL)
    np.testing.assert_allclose(np.linalg.eigvalsh(found.correlation).min(initial=0.0), 0.0, atol=1e-12)
    np.testing.assert_array_equal(found.correlation.diagonal(axis1=2, axis2=3), 1.0)
    np.testing.assert_array_equal(found.correlation, found.correlation.swapaxes(2, 3))


def test_pegged_constant_and_delisted_symbols_take_no_part():
    bars = samples.regime_bars(120, 4, seed=3)
    close = bars.close.copy()
    close[:, 1] = 7.0
    close[:, 2] = 5 * np.exp(0.00001 * np.random.default_rng(0).standard_normal(120).cumsum())  # pegged
    close[100:, 3] = np.nan
    found = estimate(Bars.make(bars.index, bars.symbols, close, delisted={bars.symbols[3]: bars.index[100]}), SMALL)
    assert found.known[found.before(99)].tolist() == [True, False, False, True]
    assert found.known[found.before(119)].tolist() == [True, False, False, False]


def test_all_symbols_gapped_on_a_day_is_no_session():
    bars = samples.regime_bars(120, 3, seed=4)
    more, at = samples.with_empty_rows(bars, np.random.default_rng(0))
    closes = Bars.make(more.index, more.symbols, more.close, tradable=more.tradable)
    day = Pool(volatilities=(3, 8), correlations=(5, 15), window=25, shortest=6, every="day")
    found, whole = estimate(closes, day), estimate(bars, day)
    np.testing.assert_array_equal(at[whole.rows], found.rows)
    np.testing.assert_allclose(found.correlation, whole.correlation)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"volatilities": ()}, "volatilities are"),
        ({"correlations": (63, 21)}, "ascending"),
        ({"window": 50}, "shortest is 126 and window 50"),
        ({"every": "fortnight"}, "fortnight"),
        ({"pegged": 1.0}, "pegged is 1.0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        Pool(**settings)
