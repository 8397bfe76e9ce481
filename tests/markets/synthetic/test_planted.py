"""`Planted`: real returns stay as they are, the planted part is as strong as stated, and nothing leaks from the future."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, Features, InputError, load, simulate
from markets.synthetic import Planted
from markets.synthetic.planted import cost_in_units, standardised

STOCKS = load("stocks")["1994":"1999"]


def walks(bars: int = 3000, symbols: int = 4, gaps: bool = False) -> Bars:
    """Gaussian random walks whose volatility is 1 % for the one half of the symbols and 3 % for the other."""
    rng = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(rng.normal(0, np.resize([0.01, 0.03], symbols), (bars, symbols)), axis=0))
    if gaps:
        close[rng.random(close.shape) < 0.1] = np.nan
        close[: bars // 4, 0] = np.nan
    return Bars.make(pd.date_range("1990-01-01", periods=bars), [f"W{i}" for i in range(symbols)], close)


def planted_part(sampled) -> np.ndarray:
    """What is planted, ``a m_{t+1} s_t``, shape (n, T)."""
    return sampled.hidden["mean"][:, None] * sampled.hidden["sign"][:, 1:] * sampled.signal[:, :-1, 0]


@pytest.mark.parametrize("sharpe", [0.5, 2.0, 4.0])
def test_the_planted_sharpe_ratio_is_that_of_who_knows_the_sign(sharpe):
    sampled = Planted(walks(), (sharpe,), length=500).sample(2000, 1)
    earned = sampled.returns[:, 1:, 0] * sampled.hidden["sign"][:, 1:] * sampled.signal[:, :-1, 0]
    # the volatility is estimated from 63 bars, so returns in its units are about 1 % too wild
    assert earned.mean() / earned.std() * np.sqrt(252) == pytest.approx(sharpe, abs=0.05 + 0.02 * sharpe)


def test_in_real_returns_it_is_within_a_tenth():
    sampled = Planted(STOCKS, (2.0,), length=500).sample(2000, 1)
    earned = sampled.returns[:, 1:, 0] * sampled.hidden["sign"][:, 1:] * sampled.signal[:, :-1, 0]
    assert earned.mean() / earned.std() * np.sqrt(252) == pytest.approx(2.0, rel=0.1)


def test_who_does_not_adapt_earns_nothing():
    sampled = Planted(STOCKS, (4.0,), length=500).sample(4000, 2)
    returns = sampled.returns[:, 1:, 0]
    for weights in (np.ones_like(returns), sampled.signal[:, :-1, 0]):
        each = (weights * returns).mean(axis=1)
        assert abs(each.mean()) < 4 * each.std() / np.sqrt(len(each))


def test_what_is_not_planted_is_a_stretch_of_real_returns_or_its_mirror_image():
    z = standardised(STOCKS)
    sampled = Planted(STOCKS, length=50).sample(40, 3)
    for stretch in sampled.returns[:, 1:, 0] - planted_part(sampled):
        most = int(np.abs(stretch).argmax())
        row, symbol = divmod(int(np.nanargmin(np.abs(np.abs(z) - abs(stretch[most])))), z.shape[1])
        found = z[row - most : row - most + 50, symbol]
        np.testing.assert_allclose(found * np.sign(found[most] * stretch[most]), stretch, atol=1e-9)


def test_advice_and_sign_change_as_often_as_they_should():
    sampled = Planted(walks(), stay=0.99, keep=0.9, length=1000).sample(200, 0)
    for path, q in ((sampled.hidden["sign"], 0.99), (sampled.signal[..., 0], 0.9)):
        assert set(np.unique(path)) == {-1.0, 1.0}
        assert (path[:, 1:] == path[:, :-1]).mean() == pytest.approx(q, abs=0.003)
        assert abs(path[:, 0].mean()) < 0.3


def test_planted_once_every_symbol_has_one_history():
    """Two episodes of the same bars of a symbol are the same; planted anew they are not."""
    for once in (True, False):
        family = Planted(walks(600, 2), (0.5, 4.0), length=500, once=once)
        sampled = family.sample(300, 5)
        start = {}
        for returns, advice in zip(sampled.returns[..., 0], sampled.signal[..., 0], strict=True):
            start.setdefault(round(abs(returns[0]), 9), []).append((returns, advice))
        twice = [found for found in start.values() if len(found) > 1]
        assert twice
        same = [np.array_equal(a, b) for found in twice for (a, _), (b, _) in pairwise(found)]
        assert all(same) if once else not any(same)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(200, 999), gaps=st.booleans())
def test_later_bars_change_nothing(cut, gaps):
    bars = walks(1000, 3, gaps)
    whole, part = standardised(bars), standardised(bars[:cut])
    np.testing.assert_array_equal(part, whole[:cut])
    # as the visible rows of a later span, with the bars before as history
    np.testing.assert_array_equal(standardised(bars[cut - 100 : cut]), whole[cut - 100 : cut])


def test_returns_are_in_units_of_the_volatility_before_them():
    bars = walks(200, 2, gaps=True)
    close = bars.close[:, 1][np.isfinite(bars.close[:, 1])]
    moves = np.diff(np.log(close))
    expected = [np.expm1(moves[t]) / np.sqrt(np.mean(moves[t - 63 : t] ** 2)) for t in range(63, len(moves))]
    found = standardised(bars)[:, 1]
    np.testing.assert_allclose(found[np.isfinite(found)], expected, rtol=1e-9)


def test_a_price_that_stands_still_has_no_unit_and_no_episodes():
    close = np.cumprod(1 + np.random.default_rng(0).normal(0, 0.01, (600, 2)), axis=0)
    close[100:300, 0] = close[99, 0]
    bars = Bars.make(pd.date_range("2000", periods=600), ["A", "B"], close)
    found = standardised(bars)
    assert np.isnan(found[163:301, 0]).all()
    assert np.isfinite(found[64:, 1]).all()
    z, symbol, first = Planted(bars, length=400).noise
    assert set(symbol[first]) == {1}
    assert np.isfinite(z[first[:, None] + np.arange(401)]).all()


def test_the_account_earns_the_reward():
    family = Planted(STOCKS, cost=0.05, length=100)
    sampled = family.sample(1, 4)
    weights = np.random.default_rng(0).uniform(-1, 1, (1, 100))
    bars = sampled.bars()[1:]
    aim = np.zeros(bars.shape)
    aim[:-1, 0] = weights[0]
    equity = simulate(bars, aim, costs=family.costs, execution=family.execution).equity[0]
    earned = (np.diff(equity) / equity[:-1]).sum() / family.scale
    assert earned == pytest.approx(family.reward(weights, sampled.returns[..., 0]).sum(), abs=0.05)


def test_a_policy_reads_the_return_the_advice_and_what_it_earned():
    family = Planted(STOCKS, length=100)
    sampled = family.sample(3, 4)
    found = family.features.compute(sampled.bars())[1:, 0].reshape(3, 101, 3)
    returns, advice = sampled.returns[..., 0], sampled.signal[..., 0]
    np.testing.assert_allclose(found[..., 0], returns.clip(-8, 8), atol=1e-7)
    np.testing.assert_allclose(found[..., 1], advice, atol=1e-12)
    np.testing.assert_allclose(found[:, 1:, 2], (returns[:, 1:] * advice[:, :-1]).clip(-8, 8), atol=1e-7)
    assert isinstance(family.features, Features)


def test_a_cost_in_units_of_volatility():
    assert cost_in_units(walks(), 1e-3) == pytest.approx(1e-3 / 0.02, rel=0.6)
    assert cost_in_units(walks(symbols=1), 1e-3) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Planted(STOCKS, ()), "sharpes must be at least 0"),
        (lambda: Planted(STOCKS, (-1.0,)), "sharpes must be at least 0"),
        (lambda: Planted(STOCKS, stay=1.0), r"stay must be in \[0.5, 1\)"),
        (lambda: Planted(STOCKS, keep=0.3), r"keep must be in \[0.5, 1\)"),
        (lambda: Planted(STOCKS, window=1), "window must be at least 2"),
        (lambda: Planted(STOCKS, length=5000).sample(1, 0), "no symbol has 5001 bars of known volatility"),
    ],
)
def test_what_cannot_be_planted(make, what):
    with pytest.raises(InputError, match=what):
        make()


def test_a_seed_is_a_sample():
    family = Planted(STOCKS, length=60)
    one, two, other = family.sample(5, 1), family.sample(5, 1), family.sample(5, 2)
    np.testing.assert_array_equal(one.returns, two.returns)
    assert not np.array_equal(one.returns, other.returns)
