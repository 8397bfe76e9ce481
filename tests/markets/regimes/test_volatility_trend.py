import numpy as np
import pandas as pd
import pytest

from markets import Bars, InputError, VolatilityTrendRegimes
from markets.regimes.base import market_returns


def test_windows_end_at_the_bar_and_edges_are_quantiles_of_the_fitted_span(bars):
    detector = VolatilityTrendRegimes(3, window=10, trend=0).fit(bars[:800])
    returns = pd.Series(market_returns(bars)[1:] * 100)
    realised = np.sqrt((returns**2).rolling(10).mean()).to_numpy()
    known = np.sort(realised[9:799])
    for edge, share in zip(detector.edges, (1 / 3, 2 / 3), strict=True):
        assert edge == pytest.approx(np.quantile(known, share), rel=0.01)
        assert (known < edge).mean() == pytest.approx(share, abs=1 / len(known))
    labels = detector.filter(bars).labels
    np.testing.assert_array_equal(labels[10:], np.searchsorted(detector.edges, realised[9:], side="right"))


@pytest.mark.filterwarnings("ignore:.*hardly differ")
def test_regression_no_label_hangs_on_the_last_bit_of_a_sum(bars):
    """The 2/3 quantile of 790 observations was one of them: its label changed with the processor's way to add."""
    for window in (5, 10, 21):
        for levels in (2, 3, 4):
            detector = VolatilityTrendRegimes(levels, window=window, trend=0).fit(bars[:800])
            returns = market_returns(bars[:800])[1:] * 100
            realised = np.sqrt(np.lib.stride_tricks.sliding_window_view(returns**2, window).mean(axis=1))
            nearest = np.abs(realised[:, None] / detector.edges - 1).min(axis=0)
            assert (nearest > 1e-9).all()  # a sum of 21 squares is rounded at 1e-15


@pytest.mark.filterwarnings("ignore:.*hardly differ")
def test_regression_a_trend_of_nothing_but_rounding_is_none():
    """Prices that return to where they were have a trend of 1e-17 one way or the other."""
    rng = np.random.default_rng(0)
    loop = rng.normal(0, 0.01, 20)
    loop[-1] = -loop[:-1].sum()
    close = 50 * np.exp(np.cumsum(np.tile(loop, 30)))
    walk = Bars.make(pd.bdate_range("2001", periods=600), ["A"], close[:, None])
    detector = VolatilityTrendRegimes(4, window=5, trend=20).fit(walk)
    assert (detector.filter(walk).labels[21:] % 2 == 0).all()


def test_the_trend_splits_each_level(bars):
    detector = VolatilityTrendRegimes(4, window=10, trend=20).fit(bars[:800])
    assert detector.names == ("calm rising", "calm falling", "crisis rising", "crisis falling")
    trend = pd.Series(np.log1p(market_returns(bars)[1:])).rolling(20).sum().to_numpy()
    falling = detector.filter(bars).labels % 2
    np.testing.assert_array_equal(falling[20:], (trend[19:] < 0).astype(int))


def test_before_the_windows_are_full_there_is_only_what_the_fitted_span_says(bars):
    detector = VolatilityTrendRegimes(2, window=10, trend=0).fit(bars[:800])
    rows = detector.filter(bars).probabilities[:10]
    assert (rows == detector.shares).all()
    assert detector.shares.sum() == pytest.approx(1)


def test_hindsight_centres_its_windows(bars):
    detector = VolatilityTrendRegimes(2, window=11, trend=0).fit(bars[:800])
    live, after = detector.filter(bars).labels, detector.hindsight(bars).labels
    np.testing.assert_array_equal(after[6:-5], live[11:])


def test_what_cannot_be(bars):
    with pytest.raises(InputError, match=r"with a trend it must be even.*give 4, or trend=0"):
        VolatilityTrendRegimes(3)
    with pytest.raises(InputError, match="window is 1; it must be at least 2"):
        VolatilityTrendRegimes(2, window=1)
    with pytest.raises(InputError, match=r"window is 2\.5; it must be a whole number"):
        VolatilityTrendRegimes(2, window=2.5)
    with pytest.raises(InputError, match="give at least 252"):
        VolatilityTrendRegimes().fit(bars[:200])
    rng = np.random.default_rng(0)
    stale = np.append(np.full(900, 50.0), 50 * np.exp(np.cumsum(rng.normal(0, 0.01, 100))))
    still = Bars.make(pd.bdate_range("2000", periods=1000), ["A"], stale[:, None])
    with pytest.raises(InputError, match="too few different values for 3 levels"):
        VolatilityTrendRegimes(3, trend=0).fit(still)


def test_regression_an_edge_never_lies_among_equal_volatilities():
    """Half of the returns were +1 % or -1 %: their volatility is 1 % up to rounding, and rounding divided them."""
    rng = np.random.default_rng(3)
    size = np.concatenate([np.full(500, 0.01), np.abs(rng.normal(0, 0.03, 500)) + 0.011])
    close = 100 * np.cumprod(1 + size * rng.choice([-1, 1], 1000))
    walk = Bars.make(pd.bdate_range("2001", periods=1000), ["A"], close[:, None])
    detector = VolatilityTrendRegimes(2, window=21, trend=0).fit(walk)
    labels = detector.filter(walk).labels
    assert detector.edges[0] > 1 + 1e-6
    assert (labels[22:490] == 0).all()
