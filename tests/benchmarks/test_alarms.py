import numpy as np
import pytest
from scipy.stats import ttest_1samp

from benchmarks.alarms import CHANGE, FEWEST, NEVER, Repeated, delays, shocks


def test_the_repeated_t_test_is_that_of_scipy():
    values = np.random.default_rng(0).standard_normal((100, 3)) + 0.1
    test = Repeated(np.zeros(3), np.zeros(3))
    found = np.array([test.add(row) for row in values])
    assert (found[: FEWEST - 1] == 0).all()
    for bars in (FEWEST, 57, 100):
        assert found[bars - 1] == pytest.approx(ttest_1samp(values[:bars], 0).statistic, rel=1e-9)


def test_delays_count_from_the_change_over_paths_without_an_alarm_before():
    assert delays(np.array([CHANGE - 1, CHANGE, CHANGE + 2, CHANGE + 8])) == (3, 0.25)
    assert delays(np.array([CHANGE, NEVER, NEVER])) == (np.inf, 0.0)


@pytest.mark.parametrize("kind", ["gaussian", "student", "garch", "garch_student", "stochastic", "skewed"])
def test_shocks_have_no_mean_and_variance_1(kind):
    found, volatility = shocks(kind, 200, 200, np.random.default_rng(1))
    assert found.mean() == pytest.approx(0, abs=0.02)
    assert found.var() == pytest.approx(1, abs=0.25)
    assert (volatility > 0).all()
