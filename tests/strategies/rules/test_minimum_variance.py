import causal
import numpy as np
import pandas as pd
import pytest
import samples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from backtests.engine.lookahead import find_lookahead
from markets import Bars, InputError, load
from strategies import (
    Covariance,
    ExpandingCovariance,
    ExponentialCovariance,
    LedoitWolfCovariance,
    MinimumVariance,
    PooledCovariance,
    RegimeAdjustedCovariance,
    SampleCovariance,
)
from strategies.rules.minimum_variance import least_variance

COVARIANCES = [
    SampleCovariance(),
    LedoitWolfCovariance(),
    ExponentialCovariance(4),
    ExpandingCovariance(),
    PooledCovariance((2, 4, 8), cut=30),
    RegimeAdjustedCovariance(3, 6),
]
each = pytest.mark.parametrize("covariance", COVARIANCES, ids=lambda covariance: covariance.name)


def conditions(covariance: np.ndarray, weights: np.ndarray) -> None:
    """Karush, Kuhn and Tucker: marginal risks are equal where something is held, and not below that elsewhere."""
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    marginal = covariance @ weights
    variance = weights @ marginal
    scale = np.sqrt(variance * np.diag(covariance))
    assert ((marginal - variance) / scale).min() > -1e-8
    np.testing.assert_allclose((marginal - variance)[weights > 0] / scale[weights > 0], 0, atol=1e-8)


@example(
    factors=np.array([[0.0, 1.0, -1.0]]), std=[1.0] * 7
)  # a ridge that was added to every correlation was seen here
@given(
    factors=arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 7)), elements=st.floats(-1, 1)),
    std=st.lists(st.floats(1e-6, 1e3), min_size=7, max_size=7),
)
def test_the_optimum_is_exact_for_any_covariance(factors, std):
    n = factors.shape[1]
    unit = factors.T @ factors + 1e-3 * np.eye(n)
    scale = np.array(std[:n])
    covariance = unit * np.outer(scale, scale)
    conditions(covariance, least_variance(covariance))


@pytest.mark.parametrize(("symbols", "length"), [(2, 60), (20, 252), (46, 252), (74, 300)])
def test_weights_are_cvxpys(symbols, length):
    import cvxpy as cp

    rng = np.random.default_rng(symbols)
    returns = rng.normal(size=(length, symbols)) * rng.uniform(0.2, 1, symbols) + rng.normal(0, 0.3, (length, 1))
    covariance = np.cov(returns.T)
    w = cp.Variable(symbols)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(np.linalg.cholesky(covariance).T @ w)), [w >= 0, cp.sum(w) == 1])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-14, tol_gap_rel=1e-14, tol_feas=1e-14)
    found = least_variance(covariance)
    conditions(covariance, found)
    np.testing.assert_allclose(found, w.value, atol=1e-6)


def test_of_more_symbols_than_returns_there_is_a_portfolio_and_it_is_not_worse_than_skfolios():
    from skfolio.optimization import MeanRisk

    rng = np.random.default_rng(0)
    returns = rng.normal(size=(30, 50)) + rng.normal(size=(30, 1))
    covariance = np.cov(returns.T)
    assert np.linalg.matrix_rank(covariance) < 50
    found = least_variance(covariance)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    with pytest.warns(UserWarning, match="not positive definite"):
        theirs = MeanRisk().fit(returns).weights_
    assert found @ covariance @ found <= theirs @ covariance @ theirs + 1e-8


def test_weights_are_skfolios_on_the_returns_of_the_window():
    from skfolio.optimization import MeanRisk

    bars = load("stocks", symbols=["AAPL", "JPM", "KO", "PG", "XOM"])["2006":"2007"]
    held = pd.DataFrame(bars.with_past().close, bars.with_past().index)
    first = bars.index[bars.index >= "2007-06-01"][0]
    returns = held.pct_change()[:first].iloc[-252:]
    aim = MinimumVariance(252).plan(bars).aim
    days = np.flatnonzero((bars.index >= first) & (bars.index < "2007-07-01"))
    assert len(days) > 20
    returns /= returns.std(ddof=0).median()  # at their scale skfolio's are less exact
    expected = MeanRisk().fit(returns.to_numpy()).weights_
    np.testing.assert_allclose(aim[days], np.tile(expected, (len(days), 1)), atol=1e-5)


@each
def test_weights_are_those_of_the_covariance_of_what_was_known(covariance):
    bars = samples.regime_bars(120, 5, seed=1)
    plan = MinimumVariance(40, every="day", covariance=covariance).plan(bars)
    returns = bars.close[1:] / bars.close[:-1] - 1
    for t in (60, 119):
        known = (
            returns[:t] if covariance == ExpandingCovariance() else returns[max(t - max(40, covariance.memory), 0) : t]
        )
        conditions(covariance.of(known), plan.aim[t])


def test_without_correlation_the_least_variance_is_by_inverse_variance():
    volatility = np.array([0.01, 0.02, 0.04])
    bars = samples.uncorrelated_bars(volatility)
    aim = MinimumVariance(300, every="day").plan(bars).aim[-1]
    np.testing.assert_allclose(aim, volatility**-2 / (volatility**-2).sum(), atol=1e-3)


@each
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(20, 58))
def test_a_row_is_the_same_whatever_comes_later(covariance, seed, t):
    causal.whatever_comes_later(MinimumVariance(12, "week", covariance), seed, t)


@each
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_rows_on_which_all_symbols_have_gaps_change_nothing(covariance, seed):
    causal.rows_without_trades_change_nothing(MinimumVariance(12, "month", covariance), seed)


@each
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_long_and_add_up_to_one_of_what_is_listed(covariance, seed):
    """With gaps, late listings and a delisted symbol."""
    bars = samples.gappy_bars(np.random.default_rng(seed), 90, 4, delist=True)
    aim = MinimumVariance(12, "day", covariance).plan(bars).aim
    assert aim.min() >= 0
    assert not aim[~bars.listed].any()
    traded = np.isfinite(bars.close).any(axis=1) & bars.listed.any(axis=1)
    np.testing.assert_allclose(aim.sum(axis=1)[traded], 1, atol=1e-9)


@each
def test_a_row_is_the_same_wherever_the_bars_begin(covariance, bars):
    rule = MinimumVariance(60, "month", covariance)
    causal.wherever_bars_begin(rule, bars, 203, 330)
    if covariance == ExpandingCovariance():
        return
    whole = rule.plan(bars[:330]).aim
    np.testing.assert_array_equal(rule.plan(bars[330 - rule.warmup - 30 : 330].without_past()).aim[-30:], whole[-30:])


@each
def test_none_looks_ahead(covariance):
    bars = samples.gappy_bars(np.random.default_rng(1), 160, 4, volatility=0.02)
    assert find_lookahead(lambda: MinimumVariance(30, "week", covariance), bars[-60:], cuts=3, progress=False) == []


@each
def test_before_there_is_enough_to_fit_weights_are_equal(covariance, bars):
    np.testing.assert_allclose(MinimumVariance(252, covariance=covariance).plan(bars[:200]).aim, 1 / 3)


@each
def test_one_symbol_and_two_alike(covariance):
    bars = samples.regime_bars(120, 1, seed=3)
    np.testing.assert_allclose(MinimumVariance(20, covariance=covariance).plan(bars).aim, 1)
    twins = Bars.make(bars.index, ["A", "B"], np.repeat(bars.close, 2, axis=1))
    aim = MinimumVariance(20, covariance=covariance).plan(twins).aim
    np.testing.assert_allclose(aim.sum(axis=1), 1)


@each
def test_what_stands_still_or_is_fixed_to_another_price_is_not_held(covariance):
    rng = np.random.default_rng(0)
    close = np.exp(np.cumsum(rng.normal(0, [0.01, 0.02, 1e-5, 0.01, 0], (200, 5)), axis=0))
    close[100:, 3] = close[99, 3]  # moved within the window, and stood still since
    bars = Bars.make(pd.bdate_range("2001-01-01", periods=200), ["A", "B", "pegged", "stopped", "fixed"], close)
    rule = MinimumVariance(120, "day", covariance)
    aim = rule.plan(bars).aim[-1]
    # a covariance of the window, or of all, has seen the third one move
    stopped = covariance.memory <= 120 and covariance.memory > 0
    assert not aim[[2, 4]].any()
    assert (aim[3] == 0) == stopped
    assert aim.sum() == pytest.approx(1)
    still = Bars.make(bars.index, bars.symbols, np.ones(bars.shape))
    np.testing.assert_allclose(rule.plan(still).aim[-1], 1 / 5)


@each
def test_a_symbol_is_held_from_a_window_after_its_listing(covariance):
    bars = samples.regime_bars(200, 3, seed=2)
    close = bars.close.copy()
    close[:80, 2] = np.nan
    late = Bars.make(bars.index, bars.symbols, close)
    aim = MinimumVariance(40, "day", covariance).plan(late).aim
    assert not aim[80:120, 2].any()
    assert aim[121:, 2].mean() > 0.05  # the three are alike
    np.testing.assert_allclose(aim.sum(axis=1), 1)


@each
def test_there_may_be_more_symbols_than_sessions(covariance):
    bars = samples.regime_bars(40, 30, seed=2)
    aim = MinimumVariance(8, "week", covariance).plan(bars).aim
    assert aim.min() >= 0
    np.testing.assert_allclose(aim.sum(axis=1), 1, atol=1e-9)
    assert 1 < (aim[-1] > 1e-6).sum() < 30


@each
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_weights_do_not_depend_on_the_length_of_the_bars(covariance, scale):
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 1e-3, (100, 6)) * np.linspace(0.5, 2, 6)
    close = np.vstack([np.ones(6), np.cumprod(1 + returns, axis=0)])
    small = np.vstack([np.ones(6), np.cumprod(1 + returns * scale, axis=0)])
    live = np.ones((1, 6), dtype=bool)
    rule = MinimumVariance(100, covariance=covariance)
    np.testing.assert_allclose(rule.held(small, small[-1:], live), rule.held(close, close[-1:], live), atol=1e-6)


def test_a_no_trade_zone_is_a_part_of_the_equal_weight(bars):
    plan = MinimumVariance(60, band=0.3).plan(bars[:200])
    np.testing.assert_allclose(plan.band, 0.1, rtol=1e-12)
    np.testing.assert_array_equal(plan.aim, MinimumVariance(60).plan(bars[:200]).aim)
    assert MinimumVariance(60).plan(bars[:200]).band is None


def test_names_and_settings():
    assert MinimumVariance().name == "minimum variance"
    assert MinimumVariance(covariance=ExponentialCovariance(42)).name == "minimum variance, ewma 42"
    assert MinimumVariance(100, "week", ExponentialCovariance(42)).warmup == 6 * 42 + 7
    assert MinimumVariance(100, "week", ExpandingCovariance()).warmup == 107
    with pytest.raises(InputError, match="minimum variance: window is 1"):
        MinimumVariance(1)
    with pytest.raises(InputError, match="every is 'moon'"):
        MinimumVariance(every="moon")
    with pytest.raises(InputError, match="minimum variance: band is -1"):
        MinimumVariance(band=-1)
    with pytest.raises(InputError, match="covariance is 63; give an estimator"):
        MinimumVariance(covariance=63)


class Wrong(Covariance):
    name = "wrong"

    def of(self, returns):
        return np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_a_covariance_of_a_users_that_is_none_is_refused(bars):
    with pytest.raises(InputError, match="3 symbols has negative eigenvalues"):
        MinimumVariance(60, covariance=Wrong()).plan(bars[:100])
