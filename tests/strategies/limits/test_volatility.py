import numpy as np
import pandas as pd
import pytest
import samples

from markets import Bars, InputError, simulate
from strategies import BuyAndHold, EqualWeight, Momentum, VolatilityTarget


def test_the_factor_is_the_target_over_the_volatility_of_the_wanted_weights(bars):
    halflife, t = 10, 700
    aim = VolatilityTarget(EqualWeight(), 0.05, halflife).plan(bars).aim
    returns = (bars.close[1:] / bars.close[:-1] - 1).mean(axis=1)[t - 60 : t]  # the last one is that of bar t
    weights = 0.5 ** (np.arange(60)[::-1] / halflife)
    days = np.diff(bars.index[t - 60 : t + 1]) / pd.Timedelta("365.25D")
    volatility = np.sqrt((weights * returns**2).sum() / (weights * days).sum())
    np.testing.assert_allclose(aim[t], 0.05 / volatility / 3)


@pytest.mark.parametrize(("freq", "per_year"), [("1D", 365.25), ("1h", 24 * 365.25), ("7D", 365.25 / 7)])
def test_the_target_is_met_whatever_the_length_of_the_bars(freq, per_year):
    rng = np.random.default_rng(0)
    close = 50 * np.exp(rng.normal(0, 0.4 / np.sqrt(per_year), (3000, 2)).cumsum(axis=0))
    bars = Bars.make(pd.date_range("2001-01-01", periods=3000, freq=freq), ["A", "B"], close)
    paths = simulate(bars, VolatilityTarget(EqualWeight(), 0.1).plan(bars), costs="0")
    realised = np.diff(np.log(paths.equity[0][200:])).std() * np.sqrt(per_year)
    assert realised == pytest.approx(0.1, rel=0.05)


def test_it_scales_up_where_that_is_allowed_and_there_is_a_history():
    bars = samples.regime_bars(400, 3, seed=1)
    aim = VolatilityTarget(EqualWeight(), 1.0, 21, largest=2.0).plan(bars).aim.sum(axis=1)
    np.testing.assert_allclose(aim[30:], 2)
    np.testing.assert_allclose(aim[:21], 1)
    assert VolatilityTarget(EqualWeight(), 1.0).plan(bars).aim.sum(axis=1).max() == pytest.approx(1)
    half = VolatilityTarget(EqualWeight(), 1.0, largest=0.5).plan(bars).aim.sum(axis=1)
    np.testing.assert_allclose(half, 0.5)


def test_cash_and_prices_that_do_not_move_have_no_scale():
    flat = Bars.make(pd.bdate_range("2001-01-01", periods=50), ["A", "B"], np.full((50, 2), 10.0))
    np.testing.assert_allclose(VolatilityTarget(EqualWeight(), largest=3.0).plan(flat).aim, 0.5)
    assert not VolatilityTarget(Momentum(5)).plan(flat).aim.any()


def test_buy_and_hold_is_sold_where_the_target_binds(bars):
    plan = VolatilityTarget(BuyAndHold(), 0.05).plan(bars)
    binds = plan.aim.sum(axis=1) < 1
    assert binds.mean() > 0.5
    assert plan.band is not None
    assert not plan.band[binds].any()


@pytest.mark.parametrize("settings", [{"target": 0.0}, {"halflife": 0}, {"largest": np.inf}])
def test_settings_are_checked(settings):
    with pytest.raises(InputError, match="volatility target: target is"):
        VolatilityTarget(EqualWeight(), **settings)
