import math
import warnings

import numpy as np
import pandas as pd
import pytest
import samples
from scipy import stats

from markets import Bars, HiddenMarkovRegimes, InputError, load, load_detector
from markets.regimes import hidden_markov
from markets.regimes.base import market_returns

# What statsmodels and hmmlearn fit: Gaussian states without a prior, to the last digit.
GAUSSIAN = {"degrees_of_freedom": math.inf, "persistence": 0.0, "tolerance": 1e-12}


@pytest.fixture(scope="module", params=[5.0, math.inf], ids=["t", "gaussian"])
def detector(bars, request):
    return HiddenMarkovRegimes(2, degrees_of_freedom=request.param, restarts=3).fit(bars)


def peer(bars, k):
    """The model of statsmodels on the same returns, in per cent."""
    switching = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    return switching.MarkovRegression(market_returns(bars)[1:] * 100, k_regimes=k, trend="c", switching_variance=True)


def peer_parameters(detector):
    """Parameters in the order of statsmodels: transitions to all regimes but the last, means, variances."""
    return np.concatenate([detector.transition[:, :-1].T.ravel(), detector.mean, detector.volatility**2])


def slow_filter(returns, detector):
    """The filter written out by Bayes' rule."""
    freedom = detector.degrees_of_freedom
    scale = detector.volatility * (1 if math.isinf(freedom) else np.sqrt(1 - 2 / freedom))
    state = stats.norm(detector.mean, scale) if math.isinf(freedom) else stats.t(freedom, detector.mean, scale)
    beliefs, started = [detector.start], False
    for x in returns:
        belief = beliefs[-1]
        if not np.isnan(x):
            belief = (belief @ detector.transition if started else belief) * state.pdf(x)
            started = True
        beliefs.append(belief / belief.sum())
    return np.array(beliefs[1:])


def test_the_filter_is_bayes_rule(bars, detector):
    expected = slow_filter(market_returns(bars) * 100, detector)
    np.testing.assert_allclose(detector.filter(bars).probabilities, expected, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*hardly differ")  # there are two
@pytest.mark.parametrize("k", [2, 3])
def test_filter_smoother_and_likelihood_are_those_of_statsmodels(bars, k):
    detector = HiddenMarkovRegimes(k, restarts=2, **GAUSSIAN).fit(bars)
    theirs = peer(bars, k).smooth(peer_parameters(detector), return_raw=True)
    detector.start = theirs.initial_probabilities  # statsmodels starts in the stationary distribution
    ours = detector.filter(bars).probabilities
    # the first bar has no return, so the chain starts at the second
    np.testing.assert_allclose(ours[1:], theirs.filtered_marginal_probabilities.T, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        detector.hindsight(bars).probabilities[1:], theirs.smoothed_marginal_probabilities.T, rtol=0, atol=1e-8
    )
    assert detector.score(bars) == pytest.approx(theirs.llf, abs=1e-8)


@pytest.mark.parametrize("seed", range(10))
def test_em_climbs_at_least_as_high_as_statsmodels(seed):
    bars = samples.regime_bars(400, 1, seed=seed)
    ours = HiddenMarkovRegimes(2, restarts=5, **GAUSSIAN).fit(bars)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns when it does not converge
        theirs = peer(bars, 2).fit(search_reps=5, rng=seed, disp=False)
    assert ours.log_likelihood >= theirs.llf


def test_score_of_the_fitted_bars_is_the_fitted_likelihood(bars, detector):
    assert detector.score(bars) == pytest.approx(detector.log_likelihood, abs=1e-8)


@pytest.mark.parametrize("freedom", [3.0, math.inf])
def test_em_never_lowers_the_objective(bars, freedom):
    returns = market_returns(bars)[1:] * 100
    workspace = hidden_markov._Workspace(returns, 3, freedom, 50.0)
    theta = workspace.random_start(np.random.default_rng(0))
    totals, out = [], np.empty_like(theta)
    for _ in range(200):
        totals.append(workspace.em(theta, out))
        theta[:] = out
    assert (np.diff(totals) > -1e-8).all()


def test_the_objective_is_the_likelihood_and_the_prior(bars):
    returns = market_returns(bars)[1:] * 100
    detector = HiddenMarkovRegimes(2, persistence=70, restarts=1, tolerance=1e-12).fit(bars)
    workspace = hidden_markov._Workspace(returns, 2, 5.0, 70.0)
    scale = detector.volatility * np.sqrt(3 / 5)
    theta = np.concatenate([detector.start, detector.transition.ravel(), detector.mean, scale**2])
    out = np.empty_like(theta)
    prior = 70 * np.log(np.diag(detector.transition)).sum()
    assert workspace.em(theta, out) == pytest.approx(detector.log_likelihood + prior, abs=1e-8)
    # a fixed point: the step of the module's docstring, written out with densities of scipy, leads back to it
    smooth, alpha = detector.hindsight(bars).probabilities[1:], detector.filter(bars).probabilities[1:]
    weight = smooth * 6 / (5 + ((returns[:, None] - detector.mean) / scale) ** 2)
    mean = (weight * returns[:, None]).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(mean, detector.mean, atol=1e-4)
    np.testing.assert_allclose(
        (weight * (returns[:, None] - mean) ** 2).sum(axis=0) / smooth.sum(axis=0), scale**2, rtol=1e-3
    )
    later = smooth[1:] / (alpha[:-1] @ detector.transition)
    moves = detector.transition * (alpha[:-1].T @ later) + 70 * np.eye(2)
    np.testing.assert_allclose(moves / moves.sum(axis=1, keepdims=True), detector.transition, atol=2e-3)


@pytest.mark.parametrize("freedom", [5.0, math.inf])
def test_acceleration_ends_where_plain_em_ends(bars, freedom):
    returns = market_returns(bars)[1:] * 100
    workspace = hidden_markov._Workspace(returns, 2, freedom, 20.0)
    theta = workspace.random_start(np.random.default_rng(0))
    plain, out = theta.copy(), np.empty_like(theta)
    for _ in range(500):
        total = workspace.em(plain, out)
        plain[:] = out
    assert workspace.climb(theta, 60, 1e-10) >= total - 1e-6


def test_labels_mean_the_same_after_a_refit(bars):
    a, b = (HiddenMarkovRegimes(2, restarts=3, seed=s).fit(bars).filter(bars).labels for s in (1, 2))
    assert (a == b).mean() > 0.999


def test_a_return_impossible_in_all_states_is_handled(bars, detector):
    close = bars.close.copy()
    close[700:] *= 1e6
    path = detector.filter(Bars.make(bars.index, bars.symbols, close))
    np.testing.assert_array_equal(path.probabilities[700], path.probabilities[699])  # a bad price
    close[701:] *= 1e6
    close[702:] *= 1e6
    path = detector.filter(Bars.make(bars.index, bars.symbols, close))
    assert np.isfinite(path.probabilities).all()
    assert path.labels[702] == 1  # three in a row are not


def test_one_regime_has_the_moments_of_the_market(bars):
    one = HiddenMarkovRegimes(1, degrees_of_freedom=math.inf).fit(bars)
    returns = market_returns(bars)[1:] * 100
    assert one.names == ("all",)
    assert one.volatility[0] == pytest.approx(returns.std())
    assert (one.filter(bars).probabilities == 1).all()


def test_heavy_tailed_states_have_the_volatility_of_their_returns():
    returns = np.random.default_rng(0).standard_t(5, 20_000) / np.sqrt(5 / 3)
    close = 100 * np.append(1.0, np.cumprod(1 + returns / 100))
    bars = Bars.make(pd.date_range("1950-01-01", periods=len(close)), ["A"], close[:, None])
    one = HiddenMarkovRegimes(1).fit(bars)
    assert one.volatility[0] == pytest.approx(1, rel=0.03)


def test_the_prior_makes_states_last(bars):
    stay = [np.diag(HiddenMarkovRegimes(2, persistence=k).fit(bars).transition).min() for k in (0, 100, 10_000)]
    assert stay[0] < stay[1] < stay[2]


# ---------------------------------------------------------------- data that were an outlier bin


def with_bad_ticks(bars, rows, factor):
    close = bars.close.copy()
    close[rows] *= factor
    return Bars.make(bars.index, bars.symbols, close, name="bad ticks")


def public_sets():
    """Sets that come with installed packages, by name: bars, and whether their history holds autumn 2008."""
    peers = pytest.importorskip("backtesting.test")
    return {
        "stocks": (load("stocks"), True),
        "sp500": (load("sp500"), True),
        "nasdaq": (load("nasdaq"), True),
        "GOOG": (closes(peers.GOOG), True),
        "EURUSD": (closes(peers.EURUSD), False),
    }


def closes(frame):
    return Bars.make(frame.index, ["A"], frame[["Close"]].to_numpy(), name="public")


@pytest.mark.parametrize("name", ["stocks", "sp500", "nasdaq", "GOOG", "EURUSD"])
def test_regression_the_crisis_is_a_regime_not_a_bin_of_outliers(name):
    bars, has_2008 = public_sets()[name]
    path = HiddenMarkovRegimes().fit(bars).filter(bars)
    row = path.table(bars).loc["crisis"]
    assert 0.02 <= row["share"] <= 0.25
    assert row["bars"] / row["episodes"] > 5
    if has_2008:
        autumn = (path.index >= "2008-09-15") & (path.index <= "2008-12-31")
        assert (path.labels[autumn] == 2).mean() > 0.8


@pytest.mark.parametrize("factor", [0.01, 0.5, 10.0, 1000.0])
@pytest.mark.parametrize("count", [1, 5])
def test_regression_bad_ticks_own_no_state(factor, count):
    bars = load("sp500")["1999":"2008"]
    clean = HiddenMarkovRegimes().fit(bars)
    rows = np.linspace(100, len(bars) - 100, count).astype(int)
    ticks = with_bad_ticks(bars, rows, factor)
    with pytest.warns(UserWarning, match=rf"{2 * count} returns beyond \d+.* % are left out as bad prices"):
        fitted = HiddenMarkovRegimes().fit(ticks)
    np.testing.assert_allclose(fitted.volatility, clean.volatility, rtol=0.1)
    labels, expected = fitted.filter(ticks).labels, clean.filter(bars).labels
    assert (labels == expected).mean() > 0.95


@pytest.mark.filterwarnings("ignore:.*left out as", "ignore:.*outliers make calm more volatile")
def test_regression_splits_are_no_crisis():
    bars = load("stocks")["1998":"2010"].select(["AAPL", "JPM", "XOM", "GE"])
    close = bars.close.copy()
    close[800:, 0] /= 7
    close[1500:, 1] /= 2
    close[2200:, 2] *= 10
    split = Bars.make(bars.index, bars.symbols, close, name="raw")
    path, expected = (HiddenMarkovRegimes().fit(b).filter(b) for b in (split, bars))
    assert (path.labels == expected.labels).mean() > 0.95
    assert (path.labels == 2).sum() > 100


def test_regression_a_state_of_outliers_is_told():
    bars = closes(pytest.importorskip("backtesting.test").GOOG)
    with pytest.warns(UserWarning, match=r"crisis is \d+ bars in \d+ episodes: outliers, not a regime") as caught:
        HiddenMarkovRegimes(**GAUSSIAN).fit(bars[:700])
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_regression_states_that_are_the_same_are_told():
    close = 100 * np.exp(np.random.default_rng(0).normal(0, 0.01, 1500).cumsum())
    bars = Bars.make(pd.bdate_range("2000", periods=1500), ["A"], close[:, None], name="noise")
    with pytest.warns(UserWarning, match="hardly differ|never seen live|outliers, not a regime") as caught:
        HiddenMarkovRegimes().fit(bars)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_night_and_day_are_no_regimes():
    rng = np.random.default_rng(0)
    index = pd.date_range("2020-01-01", periods=24 * 300, freq="h")
    wild = (index >= "2020-06-01") & (index < "2020-07-15")
    size = np.where(index.hour < 8, 0.0003, 0.0015) * np.where(wild, 3, 1)
    bars = Bars.make(index, ["A"], np.exp(np.cumsum(size * rng.standard_normal(len(index))))[:, None], name="hourly")
    detector = HiddenMarkovRegimes(2).fit(bars)
    assert ((detector.filter(bars).labels == 1) == wild).mean() > 0.98
    assert detector.season[3] == pytest.approx(detector.season[12] / 5, rel=0.15)


def test_regression_the_season_of_the_day_does_not_depend_on_the_zone():
    """A detector fitted in UTC gave other labels to 6 % of the same bars in Kolkata time."""
    index, rng = pd.date_range("2023-01-01", periods=24 * 100, freq="h", tz="UTC"), np.random.default_rng(0)
    size = np.where((index.hour >= 8) & (index.hour < 20), 0.006, 0.002) * np.repeat([1, 2.5, 1, 2.5], 600)
    bars = Bars.make(index, ["A"], 50 * np.exp(np.cumsum(rng.normal(0, size)))[:, None])
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars)
    assert detector.season[12] > 2 * detector.season[3]
    for zone in ("Asia/Kolkata", "America/New_York"):
        moved = bars.in_zone(zone)
        np.testing.assert_array_equal(detector.filter(moved).probabilities, detector.filter(bars).probabilities)
        np.testing.assert_array_equal(HiddenMarkovRegimes(2, restarts=2).fit(moved).season, detector.season)


def test_bars_without_trade_do_not_move_the_chain(bars):
    detector = HiddenMarkovRegimes(2, restarts=2).fit(bars)
    close = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 200)))
    index = pd.date_range("2020", periods=500, freq="D")
    holed = Bars.make(index, ["A"], np.insert(close, 100, np.full(300, np.nan))[:, None])
    dense = Bars.make(index[:200], ["A"], close[:, None])
    known = np.flatnonzero(np.isfinite(market_returns(holed)))
    whole = detector.filter(holed).probabilities
    np.testing.assert_array_equal(whole[130:400], np.broadcast_to(whole[129], (270, 2)))
    np.testing.assert_allclose(whole[known[:99]], detector.filter(dense).probabilities[1:100], atol=1e-12)


# ---------------------------------------------------------------- files


def test_files_from_before_heavy_tails_are_gaussian(tmp_path, bars):
    (tmp_path / "old.json").write_text(
        '{"format": 1, "detector": "HiddenMarkovRegimes", "parameters": {"n_regimes": 2, "restarts": 10, '
        '"max_iterations": 1000, "tolerance": 1e-12, "seed": 0}, "fitted": {"start": [0.5, 0.5], "transition": '
        '[[0.9, 0.1], [0.2, 0.8]], "mean": [0.1, -0.1], "volatility": [0.5, 2.0], "log_likelihood": -10.0}}'
    )
    detector = load_detector(tmp_path / "old.json")
    assert math.isinf(detector.degrees_of_freedom)
    assert detector.persistence == 0
    np.testing.assert_allclose(
        detector.filter(bars).probabilities, slow_filter(market_returns(bars) * 100, detector), atol=1e-10
    )
    detector.save(tmp_path / "new.json")
    assert math.isinf(load_detector(tmp_path / "new.json").degrees_of_freedom)
    assert "Infinity" not in (tmp_path / "new.json").read_text()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degrees_of_freedom": 2.0}, "degrees_of_freedom is 2.0; it must be above 2"),
        ({"degrees_of_freedom": math.nan}, "degrees_of_freedom is nan"),
        ({"persistence": -1}, "persistence is -1; it must be a number of bars of at least 0"),
        ({"persistence": math.inf}, "persistence is inf"),
    ],
)
def test_parameters_that_cannot_be(parameters, message):
    with pytest.raises(InputError, match=message):
        HiddenMarkovRegimes(**parameters)
