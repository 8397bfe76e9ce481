import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtests.significance import holm
from markets import InputError


def test_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert len(holm([])) == 0


def test_what_is_no_test_is_not_counted():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_it_finds_what_the_step_down_procedure_finds(p, alpha):
    """Reject the smallest while it is at most α / (hypotheses that are left)."""
    order = np.argsort(p, kind="stable")
    rejected = np.zeros(len(p), bool)
    for i, k in enumerate(order):
        if (len(p) - i) * p[k] > alpha:
            break
        rejected[k] = True
    assert ((holm(p) <= alpha) == rejected).all()


def test_peers_agree():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).random(20) ** 3
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])


def test_errors():
    with pytest.raises(InputError, match="each must be between 0 and 1"):
        holm([0.1, 1.5])
