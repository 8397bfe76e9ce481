import causal
import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies import EqualWeight, Frozen, InverseVolatility, MinimumVariance, Momentum, Stops


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(20, 58))
def test_a_row_is_the_same_whatever_comes_later(seed, t):
    causal.whatever_comes_later(Frozen(InverseVolatility(5), since="2020-01-20"), seed, t)


def test_from_then_on_it_is_the_plan_of_the_last_bar_before():
    bars = samples.regime_bars(200, 3, seed=1)
    since = str(bars.index[120].date())
    rule = MinimumVariance(60, "day")
    whole, found = rule.plan(bars), Frozen(rule, since).plan(bars)
    np.testing.assert_array_equal(found.aim[:120], whole.aim[:120])
    np.testing.assert_allclose(found.aim[120:], np.tile(whole.aim[119], (80, 1)), rtol=1e-12)
    assert np.abs(found.aim[150] - whole.aim[150]).max() > 0.01
    for first, last in ((100, 110), (100, 121), (119, 140), (120, 121), (150, 200)):
        causal.wherever_bars_begin(Frozen(rule, since), bars, first, last)


def test_all_parts_of_the_plan_are_held():
    bars = samples.regime_bars(60, 3, seed=1)
    inner = Stops(InverseVolatility(5), loss=0.1)
    plan = Frozen(inner, str(bars.index[30].date())).plan(bars)
    np.testing.assert_array_equal(plan.band, inner.plan(bars).band)
    np.testing.assert_array_equal(plan.stop_loss, np.full(bars.shape, 0.1))


def test_what_is_delisted_is_shared_by_the_others_and_what_is_new_is_not_held():
    bars = samples.regime_bars(60, 3, seed=1)
    close = bars.close.copy()
    close[40:, 0] = np.nan
    close[:35, 2] = np.nan
    changed = Bars.make(bars.index, bars.symbols, close, delisted={"S0": bars.index[40]})
    aim = Frozen(EqualWeight(), str(bars.index[30].date())).plan(changed).aim
    np.testing.assert_array_equal(aim[30:40], np.tile([0.5, 0.5, 0], (10, 1)))
    np.testing.assert_array_equal(aim[40:], np.tile([0, 1, 0], (20, 1)))


def test_times_are_checked(bars):
    with pytest.raises(InputError, match="frozen: since when"):
        Frozen(EqualWeight())
    with pytest.raises(InputError, match="since 'soon' is not a time"):
        Frozen(EqualWeight(), since="soon")
    with pytest.raises(InputError, match=r"momentum 9, frozen 1990: the bars begin at .*; give it bars from before"):
        Frozen(Momentum(9), since="1990").plan(bars)
