import json
from dataclasses import asdict

import numpy as np
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from markets import Features, InputError
from markets.features import Earned, Return

PARTS = (Return(3, 8), Earned(20, volatility=8), Earned(30, (2, 5), 8))


def expected(close, window, trend, volatility, t):
    """The formula, written out for one symbol without gaps."""
    move = np.diff(np.log(close), prepend=np.log(close[0]))
    total = 0.0
    for s in range(max(t - window + 1, volatility + 1), t + 1):
        sigma = np.sqrt(np.mean(move[s - volatility : s] ** 2))
        signs = [np.sign(close[s - 1] - close[s - 1 - h]) if s - 1 >= h else 0.0 for h in trend]
        total += (np.mean(signs) if trend else 1.0) * np.clip(move[s] / sigma, -8, 8)
    return total / np.sqrt(window)


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(9, 79))
def test_it_is_the_formula(seed, t):
    bars = samples.regime_bars(80, 2, seed=seed)
    found = Features(PARTS).compute(bars)[t]
    for i, close in enumerate(bars.close.T):
        assert found[i, 1] == pytest.approx(expected(close, 20, (), 8, t), abs=1e-9)
        assert found[i, 2] == pytest.approx(expected(close, 30, (2, 5), 8, t), abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1), t=st.integers(45, 88))
def test_it_reads_its_reach_and_nothing_later(seed, t):
    bars = samples.gappy_bars(np.random.default_rng(seed), 90, 3)
    features = Features(PARTS)
    whole = features.compute(bars)[: t + 1]
    np.testing.assert_array_equal(features.compute(bars[: t + 1]), whole)
    short = bars[: t + 1][-1:].without_past(keep=features.reach + 1)
    np.testing.assert_allclose(features.compute(short)[-1], whole[-1], atol=1e-9)


def test_a_gap_is_no_bar():
    bars = samples.gappy_bars(np.random.default_rng(0), 90, 3)
    found = Features(PARTS).compute(bars)
    for i in range(3):
        alone = bars.select([bars.symbols[i]])
        there = np.isfinite(alone.close[:, 0])
        dense = type(bars).make(bars.index[there], alone.symbols, alone.close[there])
        np.testing.assert_allclose(found[there, i], Features(PARTS).compute(dense)[:, 0], atol=1e-9)


def test_bar_by_bar_is_the_same():
    bars = samples.regime_bars(60, 2, seed=1)
    features = Features(PARTS)
    stream, whole = features.stream(bars[:40]), features.compute(bars)
    for t in range(40, 60):
        row = stream.push(None, None, None, bars.close[t], None, bars.index[t])
        np.testing.assert_array_equal(row, whole[t])


def test_what_remembers_is_left_out_without_memory():
    features = Features(PARTS)
    assert features.without_memory() == Features(PARTS[:1])
    assert (features.lookback, features.reach) == (8, 38)
    assert Features.from_dict(json.loads(json.dumps(asdict(features)))) == features
    assert features.names[1:] == ("earned_20_volatility_8", "earned_30_trend_2_5_volatility_8")


@pytest.mark.parametrize("options", [{"window": 0}, {"window": 5, "trend": (0,)}, {"window": 5, "volatility": 1}])
def test_windows_are_checked(options):
    with pytest.raises(InputError, match="at least 1 bar"):
        Earned(**options)
