import numpy as np
import pytest
from policies import random_strategy

from backtests.explain import occlude
from markets import Bars
from strategies import EqualWeight, InverseVolatility, Momentum


def test_the_return_of_a_bar_is_left_out_and_all_others_stay(bars):
    """Inverse volatility by hand, without one return of each symbol."""
    found = occlude(InverseVolatility(20), bars, most=5)
    returns = np.diff(np.log(bars.close), axis=0)
    assert found.times.equals(bars.index[-5:])
    for k in range(5):
        other = returns.copy()
        other[len(other) - 5 + k] = 0
        close = bars.close[-1] * np.exp(np.concatenate([np.cumsum(other[::-1], axis=0)[::-1] * -1, np.zeros((1, 3))]))
        without = InverseVolatility(20).plan(Bars.make(bars.index, bars.symbols, close)[-1:]).aim[0]
        np.testing.assert_allclose(found.changes[k], found.decision - without, rtol=0, atol=1e-12)


def test_a_jump_is_what_turned_momentum(bars):
    """Momentum is in the market for one bar's return, and is out of it without."""
    close = np.full((60, 1), 100.0) * np.cumprod(np.full((60, 1), 0.999), axis=0)
    close[50:] *= 1.1
    jumped = Bars.make(bars.index[:60], ["S"], close)
    found = occlude(Momentum(20), jumped)
    assert found.decision[0] == 1
    assert found.changes[:, 0].tolist() == [float(time == jumped.index[50]) for time in found.times]


def test_bars_that_are_not_read_change_nothing(bars):
    assert not occlude(EqualWeight(), bars).changes.any()
    assert len(occlude(InverseVolatility(20), bars).times) <= 22
    gappy = bars.close.copy()
    gappy[-4, 1] = np.nan
    found = occlude(random_strategy(1, context=3), Bars.make(bars.index, bars.symbols, gappy), most=8)
    assert np.isfinite(found.changes).all()
    assert found.changes.any()


def test_opens_and_volumes_come_along(bars):
    close = bars.close[:100]
    fields = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "volume": np.ones(close.shape)}
    whole = Bars.make(bars.index[:100], bars.symbols, close, **fields)
    found = occlude(InverseVolatility(10), whole, most=3)
    np.testing.assert_allclose(found.changes, occlude(InverseVolatility(10), bars[:100], most=3).changes, atol=1e-12)
    assert found.symbols == bars.symbols
    with pytest.raises(AttributeError):
        found.decision = None
