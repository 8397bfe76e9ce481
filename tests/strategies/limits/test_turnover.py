import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies import EqualWeight, InverseVolatility, Momentum, TurnoverLimit


@given(seed=st.integers(0, 2**32 - 1), largest=st.floats(0.01, 0.5))
def test_targets_move_no_further_than_the_limit_but_for_what_leaves(seed, largest):
    bars = samples.gappy_bars(np.random.default_rng(seed), 60, 4)
    aim = TurnoverLimit(Momentum(7), largest).plan(bars).aim
    before = np.vstack([np.zeros(4), aim[:-1]]) * bars.listed
    assert (np.abs(aim - before).sum(axis=1) <= largest + 1e-12).all()


def test_it_gets_there_in_the_fewest_steps():
    bars = samples.regime_bars(30, 4, seed=1)
    gross = TurnoverLimit(EqualWeight(), 0.3).plan(bars).aim.sum(axis=1)
    np.testing.assert_allclose(gross[:4], [0.3, 0.6, 0.9, 1.0])
    np.testing.assert_allclose(gross[4:], 1)


def test_a_limit_that_does_not_bind_changes_nothing(bars):
    plan, wanted = TurnoverLimit(InverseVolatility(), 2.0).plan(bars), InverseVolatility().plan(bars)
    np.testing.assert_array_equal(plan.aim, wanted.aim)
    np.testing.assert_array_equal(plan.band, wanted.band)


def test_settings_are_checked():
    with pytest.raises(InputError, match="turnover limit: largest is 0"):
        TurnoverLimit(EqualWeight(), 0)


def test_regression_bars_before_the_first_close():
    bars = samples.regime_bars(60, 2, seed=1)
    close = bars.close.copy()
    close[:8] = np.nan
    bars = Bars.make(bars.index, bars.symbols, close)
    assert not TurnoverLimit(EqualWeight()).plan(bars[:5]).aim.any()


def test_regression_the_warm_up_counts_the_bars_in_which_the_book_is_built(bars):
    limit = TurnoverLimit(EqualWeight(), 0.02)
    assert limit.warmup == 50
    np.testing.assert_allclose(limit.plan(bars[100:160].without_past()).aim[49:].sum(axis=1), 1)
