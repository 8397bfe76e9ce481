import numpy as np
import pandas as pd
import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, Features, InputError

SMALL = Features(horizons=(1, 3, 10), volatility=8, short_volatility=3, averages=(5, 12))


def plainly(close: np.ndarray, features: Features) -> np.ndarray:
    """The formulas of the docstring, with pandas, for one symbol without gaps."""
    logs = pd.Series(np.log(close))
    squares = logs.diff() ** 2
    sigma = np.sqrt(squares.rolling(features.volatility).mean())
    short = np.sqrt(squares.rolling(features.short_volatility).mean())
    columns = [(logs - logs.shift(h)) / (sigma * np.sqrt(h)) for h in features.horizons]
    columns.append(np.log(short / sigma))
    columns += [(logs - logs.rolling(n).mean()) / (sigma * np.sqrt(n)) for n in features.averages]
    out = np.clip(np.column_stack(columns), -8, 8)
    out[: features.lookback] = np.nan
    return out


def test_the_formulas(bars):
    found = SMALL.compute(bars)
    assert found.shape == (1500, 3, len(SMALL.names))
    for a in range(3):
        np.testing.assert_allclose(found[:, a], plainly(bars.close[:, a], SMALL), rtol=1e-8, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(20, 59))
def test_a_row_is_the_same_whatever_comes_later(seed, t):
    rng = np.random.default_rng(seed)
    bars = worlds.gappy_bars(rng, 60, 2)
    whole = SMALL.compute(bars)
    np.testing.assert_array_equal(SMALL.compute(bars[: t + 1]), whole[: t + 1])
    scrambled = worlds.gappy_bars(rng, 60, 2).close.copy()
    scrambled[: t + 1] = bars.close[: t + 1]
    other = Bars.make(bars.index, bars.symbols, scrambled)
    np.testing.assert_array_equal(SMALL.compute(other)[: t + 1], whole[: t + 1])


def test_history_warms_up_what_is_visible(bars):
    np.testing.assert_array_equal(SMALL.compute(bars[100:]), SMALL.compute(bars)[100:])


def test_a_late_listing_is_unknown_for_its_own_lookback():
    close = np.exp(np.random.default_rng(0).normal(0, 0.01, (60, 2)).cumsum(axis=0))
    close[:20, 1] = np.nan
    known = np.isfinite(SMALL.compute(Bars.make(pd.date_range("2020", periods=60), ["A", "B"], close))).all(axis=-1)
    assert known[:, 0].argmax() == SMALL.lookback
    assert known[:, 1].argmax() == 20 + SMALL.lookback


def test_constant_and_exploding_prices_stay_finite():
    close = np.full((60, 2), 5.0)
    close[40:, 1] *= 1e6
    found = SMALL.compute(Bars.make(pd.date_range("2020", periods=60), ["A", "B"], close))
    assert np.isfinite(found[SMALL.lookback :]).all()
    assert np.abs(found[SMALL.lookback :]).max() <= 8


def test_too_few_bars_are_counted(bars):
    with pytest.raises(InputError, match="has 100 bars, but 255 are needed"):
        Features().require(bars[:100], more=2)
    with pytest.raises(InputError, match="at least 1 bar"):
        Features(volatility=0)
