import causal
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import Bars, InputError
from strategies import CrossSectionalMomentum

SMALL = [CrossSectionalMomentum(8, 2, 0.4, every="week"), CrossSectionalMomentum(8, 2, 0.4, losers=True, every="week")]
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=seeds, t=st.integers(1, 58))
def test_a_row_is_the_same_whatever_comes_later(rule, seed, t):
    causal.whatever_comes_later(rule, seed, t)


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
@given(seed=seeds)
def test_rows_without_trades_change_nothing(rule, seed):
    causal.rows_without_trades_change_nothing(rule, seed)


@pytest.mark.parametrize("rule", SMALL, ids=lambda r: r.name)
def test_a_row_is_the_same_wherever_the_bars_begin(rule, bars):
    causal.wherever_bars_begin(rule, bars, 203, 260)


def trending(rates, days=400):
    close = 50 * np.exp(np.arange(days)[:, None] * np.array(rates))
    return Bars.make(pd.bdate_range("2001-01-01", periods=days), [f"S{i}" for i in range(len(rates))], close)


def test_winners_share_the_money_and_losers_are_sold():
    bars = trending([0.001, -0.001, 0.003, 0.002, -0.003])
    assert CrossSectionalMomentum(100, 20, 0.4).plan(bars).aim[-1].tolist() == [0, 0, 0.5, 0.5, 0]
    aim = CrossSectionalMomentum(100, 20, 0.4, losers=True).plan(bars).aim
    assert aim[-1].tolist() == [0, -0.25, 0.25, 0.25, -0.25]
    assert not aim[:100].any()


def test_the_last_month_is_left_out():
    close = trending([0.001, 0.0]).close.copy()
    close[-21:, 0] *= np.exp(-0.1 * np.arange(21))  # the crash of the last month is not ranked
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=400), ["A", "B"], close)
    assert CrossSectionalMomentum(100, 21, every="day").plan(bars).aim[-1].tolist() == [1, 0]
    assert CrossSectionalMomentum(100, 0, every="day").plan(bars).aim[-1].tolist() == [0, 1]


def test_what_is_chosen_is_held_for_the_month():
    bars = trending(np.random.default_rng(0).normal(0, 1e-3, 6))
    noisy = bars.with_values(close=bars.close * np.exp(np.random.default_rng(1).normal(0, 0.1, bars.shape)))
    aim = CrossSectionalMomentum(100, 20).plan(noisy).aim
    changes = np.flatnonzero((np.diff(aim, axis=0) != 0).any(axis=1)) + 1
    assert len(changes) > 5
    assert (bars.index[changes].month != bars.index[changes - 1].month).all()


def test_a_single_symbol_has_no_rank():
    assert not CrossSectionalMomentum(100, 20).plan(trending([0.001])).aim.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"skip": 252}, "skip is 252"), ({"fraction": 0.6}, "fraction is 0.6"), ({"every": "moon"}, "every is 'moon'")],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        CrossSectionalMomentum(**settings)


@pytest.mark.parametrize("symbols", [3, 7])
def test_regression_half_of_an_odd_number_of_symbols_puts_none_on_both_sides(symbols):
    rule = CrossSectionalMomentum(60, 5, fraction=0.5, losers=True)
    last = rule.plan(trending(np.linspace(-0.002, 0.002, symbols))).aim[-1]
    each = 0.5 / (symbols // 2)
    half = [each] * (symbols // 2)
    np.testing.assert_allclose(last, [*(-np.array(half)), 0, *half])


def test_regression_fewer_bars_than_the_window_but_more_than_the_skip():
    assert not CrossSectionalMomentum(10, 9).plan(trending([0.001, 0.002], days=8)).aim.any()
