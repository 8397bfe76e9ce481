import numpy as np
import pandas as pd
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, HiddenMarkovRegimes, InputError
from markets.regimes import market_returns


@pytest.fixture(scope="module")
def detector(bars):
    return HiddenMarkovRegimes(2, restarts=3).fit(bars)


def slow_filter(returns, detector):
    """Bayes' rule, said plainly."""
    beliefs, prior = [], detector.start
    for x in returns:
        if beliefs:
            prior = beliefs[-1] @ detector.transition
        density = np.exp(-0.5 * ((x - detector.mean) / detector.volatility) ** 2) / detector.volatility
        posterior = prior if np.isnan(x) else prior * density
        beliefs.append(posterior / posterior.sum())
    return np.array(beliefs)


def test_the_filter_is_bayes_rule(bars, detector):
    expected = slow_filter(market_returns(bars) * 100, detector)
    np.testing.assert_allclose(detector.filter(bars).probabilities, expected, atol=1e-10)


def test_planted_regimes_are_found(bars, detector):
    wild = (np.arange(1500) // 110) % 3 == 2
    assert (detector.filter(bars).labels == wild).mean() > 0.9
    assert detector.volatility[0] < detector.volatility[1]


@given(st.integers(0, 2**32 - 1), st.integers(5, 59))
@settings(max_examples=30)
def test_a_row_is_the_same_whatever_comes_later(detector, seed, t):
    rng = np.random.default_rng(seed)
    bars = worlds.gappy_bars(rng, 60, 2)
    whole = detector.filter(bars).probabilities
    np.testing.assert_array_equal(detector.filter(bars[: t + 1]).probabilities, whole[: t + 1])
    scrambled = worlds.gappy_bars(rng, 60, 2).close.copy()
    scrambled[: t + 1] = bars.close[: t + 1]
    other = Bars.make(bars.index, bars.symbols, scrambled)
    np.testing.assert_array_equal(detector.filter(other).probabilities[: t + 1], whole[: t + 1])


def test_em_never_lowers_the_likelihood(bars):
    found = [
        HiddenMarkovRegimes(3, restarts=1, max_iterations=n, tolerance=-1).fit(bars).log_likelihood for n in (1, 5, 20)
    ]
    assert found == sorted(found)


def test_labels_mean_the_same_after_a_refit(bars):
    a, b = (HiddenMarkovRegimes(2, restarts=3, seed=s).fit(bars).filter(bars).labels for s in (1, 2))
    assert (a == b).mean() > 0.999


def test_save_and_load(tmp_path, bars, detector):
    detector.save(tmp_path / "r.json")
    again = HiddenMarkovRegimes.load(tmp_path / "r.json")
    np.testing.assert_array_equal(again.filter(bars).probabilities, detector.filter(bars).probabilities)
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(InputError, match="not a saved regime detector"):
        HiddenMarkovRegimes.load(tmp_path / "r.json")


def test_the_table_counts_every_bar(bars, detector):
    table = detector.filter(bars).table(bars)
    assert table["bars"].sum() == len(bars)
    assert table["share"].sum() == pytest.approx(1)
    assert list(table.index) == ["calm", "crisis"]


def test_what_cannot_be_fitted(bars):
    with pytest.raises(InputError, match="29 returns are too few for 2 regimes; give at least 40"):
        HiddenMarkovRegimes(2).fit(bars[:30])
    still = Bars.make(pd.date_range("2020", periods=100), ["A"], np.full((100, 1), 3.0))
    with pytest.raises(InputError, match="prices do not move"):
        HiddenMarkovRegimes(2).fit(still)
    with pytest.raises(InputError, match="not fitted"):
        HiddenMarkovRegimes(2).filter(bars)
    with pytest.raises(InputError, match="at least 1"):
        HiddenMarkovRegimes(0)


def test_regression_symbols_that_are_gone_do_not_calm_the_market():
    rng = np.random.default_rng(0)
    common = np.exp(rng.normal(0, 0.02, (600, 1)).cumsum(axis=0)) * np.ones((1, 4)) * 50
    common[300:, :3] = np.nan
    bars = Bars.make(pd.bdate_range("2010", periods=600), list("ABCD"), common)
    returns = market_returns(bars)
    assert np.nanstd(returns[340:]) == pytest.approx(np.nanstd(returns[:290]), rel=0.15)


def test_a_seed_below_zero_is_refused():
    with pytest.raises(InputError, match="seed is -1"):
        HiddenMarkovRegimes(2, seed=-1)
