import math

import numpy as np
import pandas as pd
import pytest

from markets import Bars, HiddenMarkovRegimes, InputError, supported_regimes


def bars_of(returns):
    close = 100 * np.append(1.0, np.cumprod(1 + returns / 100))
    return Bars.make(pd.bdate_range("1980-01-01", periods=len(close)), ["A"], close[:, None], name="made")


def test_noise_is_one_regime_even_with_heavy_tails():
    assert supported_regimes(bars_of(np.random.default_rng(0).standard_t(5, 2000)), most=3).n_regimes == 1


@pytest.mark.parametrize("k", [2, 3])
def test_true_regimes_are_counted(k):
    rng = np.random.default_rng(1)
    states = np.repeat(rng.integers(0, k, 60), 80)
    found = supported_regimes(bars_of(np.array([0.5, 1.5, 4.0])[states] * rng.standard_normal(len(states))), most=4)
    assert found.n_regimes == k
    assert found.table["parameters"].tolist() == [2, 7, 14, 23]


def test_the_criterion_is_bic():
    bars = bars_of(np.random.default_rng(0).standard_normal(500))
    found = supported_regimes(bars, most=1, detector=HiddenMarkovRegimes(degrees_of_freedom=math.inf))
    fitted = HiddenMarkovRegimes(1, degrees_of_freedom=math.inf).fit(bars)
    assert found.table.loc[1, "BIC"] == pytest.approx(2 * np.log(500) - 2 * fitted.log_likelihood)


def test_few_bars_support_few_regimes_and_none_is_an_error():
    bars = bars_of(np.random.default_rng(0).standard_normal(50))
    assert list(supported_regimes(bars).table.index) == [1, 2]
    with pytest.raises(InputError, match="too few for 1 regime"):
        supported_regimes(bars[:10])
    with pytest.raises(InputError, match="most is 0"):
        supported_regimes(bars, most=0)
