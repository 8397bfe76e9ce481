import numpy as np
import pandas as pd
import pytest

from markets import Bars, InputError, JumpRegimes, load
from markets.regimes.base import market_returns

# the model of bull and bear markets, on bars whose regimes are of volatility
pytestmark = pytest.mark.filterwarnings("ignore:.*hardly differ")


@pytest.fixture(scope="module")
def detector(bars):
    return JumpRegimes(2, deviations=(10,), sortinos=(20, 60)).fit(bars[:1000])


def test_features_are_exponential_averages(bars, detector):
    returns = market_returns(bars)[1:] * 100
    series = pd.Series(returns)
    features = detector._features(returns)
    for f, half_life in enumerate(detector.deviations):
        below = np.sqrt((series.clip(upper=0) ** 2).ewm(halflife=half_life).mean())
        np.testing.assert_allclose(features[50:, f], np.log(below[50:]), rtol=1e-9)
    for f, half_life in enumerate(detector.sortinos, start=len(detector.deviations)):
        below = np.sqrt((series.clip(upper=0) ** 2).ewm(halflife=half_life).mean())
        np.testing.assert_allclose(features[50:, f], (series.ewm(halflife=half_life).mean() / below)[50:], rtol=1e-9)


def test_features_are_scaled_by_the_fitted_span_alone(bars, detector):
    returns = market_returns(bars)[1:1000] * 100
    features = detector._features(returns)[detector.warmup :]
    np.testing.assert_allclose(detector.location, features.mean(axis=0))
    np.testing.assert_allclose(detector.scale, features.std(axis=0))
    assert np.abs(detector._standardised(features * 100)).max() == 3


def test_online_labels_are_the_recursion_of_the_docstring(bars, detector):
    returns = market_returns(bars)[1:] * 100
    z = detector._standardised(detector._features(returns)[detector.warmup :])
    loss = 0.5 * ((z[:, None] - detector.centers) ** 2).sum(axis=2)
    value, labels = loss[0], []
    for t in range(len(z)):
        if t:
            value = loss[t] + np.minimum(value, value.min() + detector.penalty)
        labels.append(value.argmin())
    np.testing.assert_array_equal(detector.filter(bars).labels[detector.warmup + 1 :], labels)


def test_a_larger_penalty_means_fewer_jumps(bars):
    jumps = [
        (np.diff(JumpRegimes(2, penalty=penalty).fit(bars[:1000]).filter(bars).labels) != 0).sum()
        for penalty in (0.0, 3.0, 20.0)
    ]
    assert jumps[0] > jumps[1] > jumps[2] > 0


def test_the_global_random_state_is_left_alone(bars):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = (JumpRegimes(2).fit(bars[:600]) for _ in range(2))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(a.centers, b.centers)


def test_what_cannot_be(bars):
    with pytest.raises(InputError, match="penalty is -1"):
        JumpRegimes(penalty=-1)
    with pytest.raises(InputError, match="half-lives must be above 0, and at least one is needed"):
        JumpRegimes(deviations=(), sortinos=())
    with pytest.raises(InputError, match=r"only \d of 4 regimes have any bars; use fewer regimes"):
        JumpRegimes(4, penalty=1e9).fit(bars)


@pytest.mark.parametrize("penalty", [5.0, 20.0])
def test_regression_regimes_are_ordered_by_the_volatility_of_the_table(penalty):
    hourly = pytest.importorskip("backtesting.test").EURUSD["Close"]
    bars = Bars.make(hourly.index, ["EURUSD"], hourly.to_numpy()[:, None], name="EURUSD")
    for past in (bars[:1500], load("sp500")[:1500]):
        table = JumpRegimes(penalty=penalty, restarts=3).fit(past).filter(past).table(past)
        assert (np.diff(table["volatility"]) > 0).all()


def test_regression_a_single_regime_is_refused_in_a_line():
    """It was an IndexError of the library."""
    with pytest.raises(InputError, match="n_regimes is 1; a jump model needs at least 2"):
        JumpRegimes(1)
