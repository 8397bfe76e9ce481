import causal
import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import coint

from markets import Bars, InputError
from strategies import Pairs
from strategies.rules.pairs import cointegration

SMALL = Pairs(12, 2, 1.0, 0.2, -1.5, every="week")
seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, t=st.integers(1, 58))
def test_a_row_is_the_same_whatever_comes_later(seed, t):
    causal.whatever_comes_later(SMALL, seed, t, symbols=4)


@given(seed=seeds)
def test_rows_without_trades_change_nothing(seed):
    causal.rows_without_trades_change_nothing(SMALL, seed, symbols=4)


def test_a_row_is_the_same_wherever_the_bars_begin(bars):
    causal.wherever_bars_begin(Pairs(60, critical=-2.0), bars, 203, 330)


@given(seed=seeds)
def test_no_more_than_the_equity_is_held_and_no_symbol_alone(seed):
    bars = samples.gappy_bars(np.random.default_rng(seed), 90, 4)
    aim = SMALL.plan(bars).aim
    assert (np.abs(aim).sum(axis=1) < 1 + 1e-9).all()
    assert not aim[~bars.listed].any()
    held = (aim != 0).sum(axis=1)
    assert set(np.unique(held)) <= {0, 2, 4}


@given(seed=seeds)
def test_the_statistics_are_those_of_statsmodels(seed):
    log_prices = np.random.default_rng(seed).normal(0, 0.02, (80, 3)).cumsum(axis=0)
    found = cointegration(log_prices)
    for i in range(3):
        assert found.t[i, i] == np.inf
        for j in set(range(3)) - {i}:
            t, _, _ = coint(log_prices[:, i], log_prices[:, j], trend="c", maxlag=0, autolag=None)
            assert found.t[i, j] == pytest.approx(t, rel=1e-7)
            slope, intercept = np.polyfit(log_prices[:, j], log_prices[:, i], 1)
            assert found.beta[i, j] == pytest.approx(slope, rel=1e-9, abs=1e-12)
            assert found.alpha[i, j] == pytest.approx(intercept, rel=1e-9, abs=1e-12)
            rest = log_prices[:, i] - intercept - slope * log_prices[:, j]
            assert found.std[i, j] == pytest.approx(rest.std(), rel=1e-7)


def test_a_critical_value_is_passed_by_five_of_a_hundred_walks():
    rng = np.random.default_rng(0)
    walks = [cointegration(rng.normal(0, 0.01, (252, 2)).cumsum(axis=0)).t[0, 1] for _ in range(4000)]
    assert np.mean(np.array(walks) < -3.34) == pytest.approx(0.05, abs=0.01)


def pair(days=800, seed=0, beta=0.5):
    """B is a walk, A is B to the power beta times a factor that comes back to 1, and C is a walk of its own."""
    rng = np.random.default_rng(seed)
    rest = np.zeros(days)
    for t in range(1, days):
        rest[t] = 0.9 * rest[t - 1] + rng.normal(0, 0.01)
    b, c = rng.normal(0, 0.01, (2, days)).cumsum(axis=1)
    close = 50 * np.exp(np.column_stack([beta * b + rest, b, c]))
    return Bars.make(pd.bdate_range("2001-01-01", periods=days), ["A", "B", "C"], close), rest


def test_what_is_dear_against_its_partner_is_sold():
    bars, rest = pair()
    aim = Pairs(252, 1).plan(bars).aim
    held = aim[:, 0] != 0
    assert 0.1 < held[252:].mean() < 0.9
    assert not aim[:250].any()
    assert not aim[held][:, 2].any()
    np.testing.assert_array_equal(np.sign(aim[held, 0]), -np.sign(aim[held, 1]))
    assert (np.sign(aim[held, 0]) == -np.sign(rest[held])).mean() > 0.9
    np.testing.assert_allclose(np.abs(aim[held]).sum(axis=1), 1)
    ratio = -aim[held, 1] / aim[held, 0]
    assert np.median(np.minimum(ratio, 1 / ratio)) == pytest.approx(0.5, abs=0.15)


def test_it_opens_beyond_the_entry_and_closes_within_the_exit():
    sides = Pairs(entry=2.0, exit=0.5)._sides(np.array([0, 1.9, 2.1, 1.0, 0.6, 0.4, -1, -2.5, -0.6, 3.0, 0.0]))
    assert sides.tolist() == [0, 0, -1, -1, -1, 0, 0, 1, 1, -1, 0]


def test_without_cointegration_or_a_partner_nothing_is_held():
    walk = samples.regime_bars(400, 1, seed=0)
    assert not Pairs(100).plan(walk).aim.any()
    apart = Bars.make(walk.index, ["A", "B"], np.column_stack([walk.close, 2500 / walk.close]))
    assert not Pairs(100).plan(apart).aim.any()  # a β of −1 is no hedge


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 5}, "window is 5"),
        ({"pairs": 0}, "pairs is 0"),
        ({"exit": 2.0}, "exit 2.0"),
        ({"critical": 1.0}, "critical 1.0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        Pairs(**settings)
