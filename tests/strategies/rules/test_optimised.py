import warnings

import causal
import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import Bars, InputError, load
from strategies import MaximumSharpe, MinimumVariance, RiskParity
from strategies.rules import optimised

KINDS = [RiskParity, MaximumSharpe]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(20, 58))
def test_a_row_is_the_same_whatever_comes_later(kind, seed, t):
    causal.whatever_comes_later(kind(12), seed, t)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_without_trades_change_nothing(kind, seed):
    causal.rows_without_trades_change_nothing(kind(12), seed)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_long_and_add_up_to_one_of_what_is_listed(kind, seed):
    bars = samples.gappy_bars(np.random.default_rng(seed), 90, 4, delist=True)
    aim = kind(12).plan(bars).aim
    assert aim.min() >= 0
    assert not aim[~bars.listed].any()
    assert (aim.sum(axis=1) < 1 + 1e-9).all()
    starts = np.append(True, bars.index[1:].month != bars.index[:-1].month) & bars.listed.any(axis=1)
    np.testing.assert_allclose(aim[starts].sum(axis=1), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_wherever_the_bars_begin(kind, bars):
    causal.wherever_bars_begin(kind(60), bars, 203, 330)
    whole = kind(60).plan(bars[:330]).aim
    # a window is a fixed number of bars, so without the bars before it the row is the same too
    optimised._FOUND.clear()
    np.testing.assert_array_equal(kind(60).plan(bars[100:330].without_past()).aim[80:], whole[180:])


def test_without_correlation_risk_parity_of_two_is_by_inverse_variance():
    volatility = np.array([0.01, 0.02])
    aim = RiskParity(300, every="day").plan(samples.uncorrelated_bars(volatility)).aim[-1]
    np.testing.assert_allclose(aim, [0.8, 0.2], atol=1e-3)


def test_without_correlation_the_largest_sharpe_ratio_is_by_mean_over_variance():
    volatility, mean = np.array([0.01, 0.02, 0.01]), np.array([0.001, 0.002, -0.001])
    aim = MaximumSharpe(300, every="day").plan(samples.uncorrelated_bars(volatility, mean=mean)).aim[-1]
    expected = np.maximum(mean, 0) / volatility**2
    np.testing.assert_allclose(aim, expected / expected.sum(), atol=2e-3)


def test_where_no_mean_is_positive_the_portfolio_is_that_of_least_variance():
    bars = samples.uncorrelated_bars(np.array([0.01, 0.02]), mean=-0.001)
    np.testing.assert_allclose(
        MaximumSharpe(300, every="day").plan(bars).aim[-1],
        MinimumVariance(300, every="day").plan(bars).aim[-1],
        atol=1e-12,
    )


def test_before_there_is_enough_to_fit_weights_are_equal(bars):
    np.testing.assert_allclose(RiskParity(252).plan(bars[:200]).aim, 1 / 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fixed_to_another_price_is_not_held(kind):
    rng = np.random.default_rng(0)
    close = np.exp(np.cumsum(rng.normal(0, [0.01, 0.02, 0.00001], (200, 3)), axis=0))
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=200), ["A", "B", "pegged"], close)
    aim = kind(100).plan(bars).aim[-1]
    assert aim[2] == 0
    np.testing.assert_allclose(aim[:2], kind(100).plan(bars.select(["A", "B"])).aim[-1], atol=1e-9)
    np.testing.assert_allclose(kind(100).plan(bars.select(["A", "pegged"])).aim[-1], [1, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_one_symbol_and_two_alike(kind):
    bars = samples.regime_bars(120, 1, seed=3)
    np.testing.assert_allclose(kind(20).plan(bars).aim, 1)
    twins = Bars.make(bars.index, ["A", "B"], np.repeat(bars.close, 2, axis=1))
    aim = kind(20).plan(twins).aim
    np.testing.assert_allclose(aim.sum(axis=1), 1)


def test_a_fit_is_made_once(bars):
    calls = []
    rule = RiskParity(61)
    rule.weights = lambda returns: calls.append(1) or np.ones(returns.shape[1])
    rule.plan(bars[:300])
    first = len(calls)
    assert first > 8
    rule.plan(bars[:330])
    assert len(calls) <= first + 2
    optimised._FOUND.clear()  # these were no fits


def test_where_the_solver_finds_nothing_weights_are_equal(bars):
    from skfolio.exceptions import OptimizationError

    class Failing(RiskParity):
        name = "failing"

        def weights(self, returns):
            raise OptimizationError("no")

    np.testing.assert_allclose(Failing(60).plan(bars[:200]).aim, 1 / 3)


def test_what_skfolio_says_of_its_own_settings_is_not_our_users_matter(bars):
    optimised._FOUND.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS:
            kind(30).plan(bars[:60])


def test_settings_are_checked():
    with pytest.raises(InputError, match="risk parity: window is 1"):
        RiskParity(1)
    with pytest.raises(InputError, match="every is 'moon'"):
        RiskParity(every="moon")


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_skfolios_on_the_returns_of_the_window(kind):
    from skfolio.optimization import HierarchicalRiskParity, MeanRisk, ObjectiveFunction

    bars = load("stocks", symbols=["AAPL", "JPM", "KO", "PG", "XOM"])["2008":"2009"]
    held = pd.DataFrame(bars.with_past().close, bars.with_past().index)
    first = bars.index[bars.index >= "2009-06-01"][0]
    returns = held.pct_change()[:first].iloc[-252:]
    model = {
        "risk parity": HierarchicalRiskParity(),
        "maximum Sharpe": MeanRisk(objective_function=ObjectiveFunction.MAXIMIZE_RATIO),
    }[kind.name]
    assert kind.name != "maximum Sharpe" or (returns.mean() > 0).any()
    aim = kind(252).plan(bars).aim
    days = np.flatnonzero((bars.index >= first) & (bars.index < "2009-07-01"))
    assert len(days) > 20
    returns /= returns.std(ddof=0).median()  # at their own scale skfolio's are less exact
    np.testing.assert_allclose(aim[days], np.tile(model.fit(returns.to_numpy()).weights_, (len(days), 1)), atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.1, 0.01, 0.001])
def test_regression_weights_do_not_depend_on_the_length_of_the_bars(kind, scale):
    """Variances of minutes are below the solver's absolute tolerance: it stopped anywhere."""
    rng = np.random.default_rng(0)
    returns = rng.normal(0.0005, 0.01, (252, 10)) * np.linspace(0.5, 2, 10) + rng.normal(0, 0.008, (252, 1))
    close = np.vstack([np.ones(10), np.cumprod(1 + returns * scale, axis=0)])
    covariance, mean = np.cov(returns.T), returns.mean(axis=0)
    found = kind(252).held(close, close[-1:], np.ones((1, 10), dtype=bool))
    if kind is RiskParity:
        np.testing.assert_allclose(found, kind().weights(returns), atol=1e-6)
        return
    gradient = covariance @ found
    gradient = gradient / (found @ gradient) - mean / (found @ mean)
    # Karush, Kuhn and Tucker: 0 where something is held, and not below it elsewhere
    assert gradient.min() > -1e-3
    np.testing.assert_allclose(gradient[found > 1e-3], 0, atol=1e-3)
